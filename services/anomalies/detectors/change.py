"""Change: a level, or a spread, that the series has not had before."""

from collections.abc import Mapping
from typing import Any, ClassVar

from quantum_suite.services.anomalies.detectors.interface import Sign
from quantum_suite.services.anomalies.detectors.nearest import NearestValue
from quantum_suite.services.anomalies.features import Features
from quantum_suite.services.anomalies.interface import DetectorName
from quantum_suite.services.anomalies.memory import Memory

REMEMBERED = 4096


class ChangeDetector:
    """Distance of the mean of twelve points, and of the spread of 32, to the nearest there has been.

    A level shift moves the first while every single value may be known; a series that falls silent, or grows
    noisy, moves the second.
    """

    name: ClassVar[DetectorName] = "change"

    def __init__(self, levels: Memory | None = None, spreads: Memory | None = None) -> None:
        self._levels = NearestValue(levels or Memory(REMEMBERED))
        self._spreads = NearestValue(spreads or Memory(REMEMBERED))

    def measure(self, point: Features) -> list[Sign]:
        """Return its two signs, and remember the point."""
        return [
            Sign(self._levels.distance(point.middle_mean), "a level the series has not had"),
            Sign(self._spreads.distance(point.spread), "a spread the series has not had"),
        ]

    def gap(self) -> None:
        """A level may be compared over a gap."""

    def state(self) -> dict[str, Any]:
        """Return JSON that `restored` makes the same of."""
        return {"levels": self._levels.state(), "spreads": self._spreads.state()}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> "ChangeDetector":
        """Return the detector that `state` was taken of."""
        return cls(Memory.restored(state["levels"]), Memory.restored(state["spreads"]))
