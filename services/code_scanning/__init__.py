"""Scanners of code behind one port, and what the suite knows of their rules."""
