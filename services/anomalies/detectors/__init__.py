"""The detectors: each measures how far a new point is from what its series has done so far."""
