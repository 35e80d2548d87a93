"""What runs inside the project's own interpreter (3.10 or later): the standard library and pytest, nothing else.

`start.py` is run by path. It lends these modules their names for as long as they are imported, then takes the
names back, so that a project may bring a package of the same name.
"""
