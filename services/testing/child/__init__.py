"""Programs that run in the project's own interpreter: standard library alone, any Python from 3.9 on.

They are started by path, and import nothing of the suite: a project need not have it installed.
"""
