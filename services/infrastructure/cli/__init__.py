"""Pulumi's own command behind the `Engine` port, for machines that have it."""
