"""Disaster recovery of PostgreSQL: what reaches the objectives, and drills that prove it."""
