"""What the imports worker is made of: imports, the files and the installed modules they lead to, circles."""
