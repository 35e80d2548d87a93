"""Sagas: processes that react to events, start workflows, and take back what was done when they fail."""
