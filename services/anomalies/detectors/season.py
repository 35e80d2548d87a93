"""Season: a value unlike those at the same place of the earlier seasons, or at the same time of day."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from quantum_suite.services.anomalies.detectors.interface import Sign
from quantum_suite.services.anomalies.detectors.spread import SETTLED, spread_of
from quantum_suite.services.anomalies.features import Features
from quantum_suite.services.anomalies.interface import DetectorName
from quantum_suite.services.anomalies.memory import Floats, Memory
from quantum_suite.services.anomalies.periods import find_period

REMEMBERED = 4096
DAY = 86_400.0
_LOOK_FIRST = 200
_LOOK_AGAIN = 1.3
"""The season is looked for when there are so many times the points of the last time, or a memory full more."""
_SEASONS = 4
"""Earlier seasons that a point is compared with, each with the points before and after its place as well."""
_DAY_REMEMBERED = 2048
_DAY_WEIGHT = 4.0
"""Spreads of the series that half a day of difference weighs twice."""


class SeasonDetector:
    """Distances to the same place of earlier seasons (the median of four), and to values at a like time of day.

    The season is found in the data. Where there is none, the first is the distance to the mean of the last four.
    """

    name: ClassVar[DetectorName] = "season"

    def __init__(self, values: Memory | None = None, times: Memory | None = None) -> None:
        self._values = values or Memory(REMEMBERED)
        self._times = times or Memory(REMEMBERED)
        self._points = 0
        self._look_at = _LOOK_FIRST
        self._last_mean: float | None = None
        self._spread: float | None = None
        self.period: int | None = None
        """In points."""

    @property
    def period_seconds(self) -> float | None:
        """Return the season that was found, by the usual distance of points."""
        if self.period is None or len(self._times) < 2:
            return None
        return self.period * float(np.median(np.diff(self._times.values)))

    def measure(self, point: Features) -> list[Sign]:
        """Return its two signs, and remember the point."""
        if self._points == self._look_at:
            self.period = find_period(self._values.values)
            self._look_at = self._points + min(int(self._points * (_LOOK_AGAIN - 1)), REMEMBERED)
        if self._points == SETTLED:
            self._spread = spread_of(self._values.values)
        signs = [
            Sign(self._from_season(point.value), "a value unlike those at this place of the season"),
            Sign(self._from_day(point), "a value unlike those at this time of day"),
        ]
        self._values.add(point.value)
        self._times.add(point.time)
        self._last_mean = point.short_mean
        self._points += 1
        return signs

    def expected_of_last(self, otherwise: int) -> Floats:
        """Return what was at the newest point's place of the season; without a season, the values before it."""
        values = self._values.values[:-1]
        if self.period is not None and len(values) >= 2 * self.period:
            return np.concatenate(_like(values, self.period))
        return values[-otherwise:]

    def _from_season(self, value: float) -> float:
        values = self._values.values
        if self.period is not None and len(values) >= 2 * self.period:
            distances = sorted(float(np.abs(place - value).min()) for place in _like(values, self.period))
            return distances[0] if len(distances) < 3 else distances[1]
        return abs(value - self._last_mean) if self._last_mean is not None else 0.0

    def _from_day(self, point: Features) -> float:
        if self._spread is None:
            return 0.0
        values, times = self._values.values[-_DAY_REMEMBERED:], self._times.values[-_DAY_REMEMBERED:]
        apart = np.abs((times - point.time) % DAY) / DAY
        distances = np.abs(values - point.value) / self._spread + _DAY_WEIGHT * np.minimum(apart, 1 - apart)
        return float(distances.min())

    def gap(self) -> None:
        """Places of the season are counted in points: after a gap it is found anew."""
        self._last_mean = None

    def state(self) -> dict[str, Any]:
        """Return JSON that `restored` makes the same of."""
        return {
            "values": self._values.state(),
            "times": self._times.state(),
            "points": self._points,
            "look_at": self._look_at,
            "last_mean": self._last_mean,
            "spread": self._spread,
            "period": self.period,
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> "SeasonDetector":
        """Return the detector that `state` was taken of."""
        detector = cls(Memory.restored(state["values"]), Memory.restored(state["times"]))
        detector._points = int(state["points"])
        detector._look_at = int(state["look_at"])
        detector._last_mean = None if state["last_mean"] is None else float(state["last_mean"])
        detector._spread = None if state["spread"] is None else float(state["spread"])
        detector.period = None if state["period"] is None else int(state["period"])
        return detector


def _like(values: Floats, period: int) -> list[Floats]:
    """Return what stands around the place of the next point in earlier seasons."""
    following = len(values)
    seasons = range(1, min(_SEASONS, following // period) + 1)
    return [values[max(0, following - period * k - 1) : following - period * k + 2] for k in seasons]
