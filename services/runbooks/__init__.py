"""Runbooks: what to do about an incident, as steps that are approved, verified and undone."""
