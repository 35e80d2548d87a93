"""Programs that check code in a process of their own, by the interpreter that they are to speak for.

`start.py` is run by path, in the sandbox, with the name of a worker: a module of this folder that has a `main`.
What workers are made of lies in the folders beside them. They use the standard library (3.9 on) and nothing else
of the suite. Their names are lent only while they are imported: a project may bring a package of the same name.
"""
