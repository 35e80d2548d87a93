"""What the orchestrator's resources show."""
