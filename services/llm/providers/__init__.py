"""The wires models are reached by; one adapter a protocol."""
