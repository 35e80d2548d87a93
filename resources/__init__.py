"""What the servers' resources show."""
