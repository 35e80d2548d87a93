"""Projections and consumers: what is derived from events."""
