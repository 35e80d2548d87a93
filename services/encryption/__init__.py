"""Encryption at rest: keys, their rotation, and the keys of data subjects."""
