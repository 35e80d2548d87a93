"""The audit log: who called what, when, and how it ended. Append-only."""
