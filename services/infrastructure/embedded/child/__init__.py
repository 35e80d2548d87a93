"""What runs in a program's own interpreter; it needs nothing of this package but the one file."""
