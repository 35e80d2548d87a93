"""The cache: values that may be lost at any time."""
