"""Notifications: people and programs outside are told of events."""
