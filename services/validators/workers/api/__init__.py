"""What the api worker is made of: uses of names, and what is installed to look them up in."""
