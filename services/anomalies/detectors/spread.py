"""The unit that differences are measured in, where differences of several kinds are added."""

import numpy as np

from quantum_suite.services.anomalies.memory import Floats

SETTLED = 100
"""Points that the unit is taken from."""
_LEAST = 1e-3
"""Of the largest value: what the spread of a series without one is taken to be."""


def spread_of(values: Floats) -> float:
    """Return the distance between the 10th and the 90th percentile; more than 0."""
    low, high = np.percentile(values, [10, 90])
    return float(max(high - low, _LEAST * float(np.abs(values).max()), 1e-12))
