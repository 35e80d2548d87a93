"""Incidents: what went wrong, what is known of it and what was done, as a record of events."""
