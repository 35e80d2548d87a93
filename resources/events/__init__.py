"""What the events server shows."""
