"""Who spent what on models, and what may still be spent."""
