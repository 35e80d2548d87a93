"""Security scanning: engines behind one port, and the capabilities built on them."""
