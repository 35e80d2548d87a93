"""What strengths mean: how rare they are on ordinary data, and from which on there is an alarm.

Both were measured by `bench/anomalies.py` on the tuning half of NAB's files, and nowhere else.
"""

import math
from collections.abc import Mapping

from quantum_suite.services.anomalies.interface import Sensitivity

THRESHOLDS: Mapping[Sensitivity, float] = {"low": 0.405, "normal": 0.351, "high": 0.3}
"""The least strength of an onset that is an alarm: the steady best of NAB's profile of few false alarms, of its
standard and of its profile of few missed anomalies, which is the same, so that `high` lies a little lower."""

RARITY: tuple[tuple[float, float], ...] = (
    (0.135, 0.5),
    (0.144, 0.75),
    (0.161, 1.0),
    (0.181, 1.25),
    (0.199, 1.5),
    (0.224, 1.75),
    (0.257, 2.0),
    (0.311, 2.25),
    (0.394, 2.5),
    (0.533, 2.75),
    (0.834, 3.0),
    (2.261, 3.25),
    (10.784, 3.5),
    (13.472, 3.75),
    (13.700, 4.0),
    (14.212, 4.25),
)
"""Strengths, and the decimal logarithm of how many ordinary points there are to one as strong."""

_RAREST = 5.0


def score_of(strength: float) -> float:
    """Return the score of a strength, within 0 and 1: a score of `s` comes once in about 10 ** (5 * s) points."""
    if strength <= 0:
        return 0.0
    below = (0.0, 0.0)
    for above in RARITY:
        if strength < above[0]:
            share = (strength - below[0]) / (above[0] - below[0])
            return (below[1] + share * (above[1] - below[1])) / _RAREST
        below = above
    # Beyond all that was measured: a decade rarer with each tenfold strength.
    return min(1.0, (below[1] + math.log10(strength / below[0])) / _RAREST)
