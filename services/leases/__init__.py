"""Leases: one holder at a time, with a token that only grows."""
