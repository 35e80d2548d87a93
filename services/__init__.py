"""Shared services, each behind a port."""
