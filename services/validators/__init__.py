"""Checks a change has to pass: syntax, format, lint, types, imports, the APIs it calls, tests, security."""
