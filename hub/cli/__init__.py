"""The quantum command."""
