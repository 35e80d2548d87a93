"""Programs that check code in a process of their own.

Each is one file, run in the sandbox by the interpreter it is to speak for: it uses the standard library (3.9 on)
and nothing of the suite.
"""
