"""The port of the detectors."""

from dataclasses import dataclass
from typing import Any, Protocol

from quantum_suite.services.anomalies.features import Features
from quantum_suite.services.anomalies.interface import DetectorName


@dataclass(frozen=True, slots=True)
class Sign:
    """One measure of strangeness."""

    distance: float
    """How far the point is from the nearest of the past; not below 0."""
    seen: str
    """What is new about a point for which this is large, in words."""


class Detector(Protocol):
    """Measures each point of one series against those before it. Bounded in memory and in work for a point."""

    @property
    def name(self) -> DetectorName:
        """Return what it is called."""
        ...

    def measure(self, point: Features) -> list[Sign]:
        """Return its signs, always as many and in the same order, and remember the point."""
        ...

    def gap(self) -> None:
        """Be told that the next point does not follow on the last one."""
        ...

    def state(self) -> dict[str, Any]:
        """Return JSON that its class's `restored` makes the same detector of."""
        ...
