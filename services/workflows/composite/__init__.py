"""Composite workflows: workflows written as data (YAML), checked, drawn and run."""
