"""Durable workflows: work that survives the process it began in."""
