"""What the orchestrator's own steps do: triage, reports, postures."""
