"""Infrastructure as code: one plan model over engines, and the engines."""
