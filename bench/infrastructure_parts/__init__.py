"""Parts of bench/infrastructure.py."""
