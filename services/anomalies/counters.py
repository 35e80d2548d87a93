"""Counters: series that only grow, but for restarts. What is judged of them is their rate."""

from collections.abc import Sequence
from itertools import pairwise

_LEAST_GROWING = 0.5
_RESTARTED_BELOW = 0.1
_MOST_RESTARTS = 0.05


def is_counter(values: Sequence[float]) -> bool:
    """Whether values look like a counter's: none below 0, half the steps or more upward, every fall a restart.

    A restart falls below a tenth of the value before it; there is at most one in twenty steps.
    """
    if len(values) < 2 or min(values) < 0:
        return False
    steps = list(pairwise(values))
    falls = [(before, after) for before, after in steps if after < before]
    if any(not is_restart(before, after) for before, after in falls) or len(falls) > _MOST_RESTARTS * len(steps):
        return False
    return sum(after > before for before, after in steps) >= _LEAST_GROWING * len(steps)


def is_restart(before: float, after: float) -> bool:
    """Whether a fall looks like a restart of a counter."""
    return 0 <= after < _RESTARTED_BELOW * before


def rate(before: tuple[float, float], after: tuple[float, float]) -> float:
    """Return the rate a second between two points (time, value); after a restart, what was counted since."""
    grown = after[1] - before[1] if after[1] >= before[1] else after[1]
    return grown / (after[0] - before[0])
