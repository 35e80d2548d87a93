"""Parts of bench/drift.py."""
