"""Private copies of a workspace, to change and to run things in."""
