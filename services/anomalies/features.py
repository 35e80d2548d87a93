"""What is looked at in a point beside its value: its short past, smoothed in several ways."""

import math
from collections import deque
from dataclasses import dataclass
from typing import Any

SHORT, MIDDLE, LONG = 4, 12, 32
"""Points that the means and the spread are taken over."""


@dataclass(frozen=True, slots=True)
class Features:
    """One point and its short past."""

    time: float
    """Unix seconds."""
    value: float
    before: float
    """The value before it; its own where there is none."""
    short_mean: float
    middle_mean: float
    spread: float
    """Standard deviation of the newest `LONG` values."""


class ShortPast:
    """The newest `LONG` values, without gaps."""

    def __init__(self, values: list[float] | None = None) -> None:
        self._values: deque[float] = deque(values or (), maxlen=LONG)

    def clear(self) -> None:
        """Forget: what comes next does not follow on what was."""
        self._values.clear()

    def add(self, time: float, value: float) -> Features:
        """Take a point in."""
        before = self._values[-1] if self._values else value
        self._values.append(value)
        values = list(self._values)
        mean = _mean(values)
        spread = math.dist(values, [mean] * len(values)) / math.sqrt(len(values))
        return Features(time, value, before, _mean(values[-SHORT:]), _mean(values[-MIDDLE:]), spread)

    def state(self) -> dict[str, Any]:
        """Return what the constructor makes the same of."""
        return {"values": list(self._values)}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
