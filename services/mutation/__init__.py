"""Mutation testing for Python: small changes to the code that the tests ought to notice."""
