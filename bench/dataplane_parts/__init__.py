"""What `bench/dataplane.py` measures, part by part."""
