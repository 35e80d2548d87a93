"""Workflows on DBOS: durable on SQLite and on PostgreSQL. Importing this package does not import DBOS."""
