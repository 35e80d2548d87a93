"""What the knowledge resources show: lines of source."""
