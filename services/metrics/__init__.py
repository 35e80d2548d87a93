"""Metrics: where they are asked for, how a question is checked, and what an answer may cost."""
