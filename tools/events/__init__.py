"""What the events server's tools do."""
