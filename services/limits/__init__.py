"""Rate limits that hold for every process together."""
