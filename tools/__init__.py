"""What the servers' tools do, one capability a file."""
