"""Workflow definitions that users keep."""
