"""Density: values that are far from every value there has been."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from quantum_suite.services.anomalies.detectors.interface import Sign
from quantum_suite.services.anomalies.detectors.nearest import NearestValue
from quantum_suite.services.anomalies.detectors.spread import SETTLED, spread_of
from quantum_suite.services.anomalies.features import Features
from quantum_suite.services.anomalies.interface import DetectorName
from quantum_suite.services.anomalies.memory import Memory

REMEMBERED = 4096
_PAIRS = 2048


class DensityDetector:
    """Distance to the nearest remembered value: of the point, of the mean of four, and of the point together with
    the mean of twelve.

    The mean finds what creeps between known values, the point what leaps beyond them, the pair a known value at a
    level it does not belong to.
    """

    name: ClassVar[DetectorName] = "density"

    def __init__(
        self,
        values: Memory | None = None,
        means: Memory | None = None,
        levels: Memory | None = None,
        spreads: tuple[float, float] | None = None,
    ) -> None:
        self._values = NearestValue(values or Memory(REMEMBERED))
        self._means = NearestValue(means or Memory(REMEMBERED))
        self._levels = levels or Memory(_PAIRS)
        self._spreads = spreads

    def measure(self, point: Features) -> list[Sign]:
        """Return its three signs, and remember the point."""
        if self._spreads is None and len(self._levels) == SETTLED:
            self._spreads = spread_of(self._values.remembered), spread_of(self._levels.values)
        pair = self._from_pairs(point)
        self._levels.add(point.middle_mean)
        return [
            Sign(self._values.distance(point.value), "a value far from all there were"),
            Sign(self._means.distance(point.short_mean), "a mean of four points far from all there were"),
            Sign(pair, "a value that did not occur at this level"),
        ]

    def _from_pairs(self, point: Features) -> float:
        if self._spreads is None:
            return 0.0
        values, levels = self._values.remembered[-len(self._levels) :], self._levels.values
        apart = np.abs(values - point.value) / self._spreads[0]
        apart += np.abs(levels - point.middle_mean) / self._spreads[1]
        return float(apart.min())

    def gap(self) -> None:
        """Nothing follows from one point to the next here."""

    def state(self) -> dict[str, Any]:
        """Return JSON that `restored` makes the same of."""
        return {
            "values": self._values.state(),
            "means": self._means.state(),
            "levels": self._levels.state(),
            "spreads": self._spreads,
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> "DensityDetector":
        """Return the detector that `state` was taken of."""
        spreads = state["spreads"]
        return cls(
            Memory.restored(state["values"]),
            Memory.restored(state["means"]),
            Memory.restored(state["levels"]),
            None if spreads is None else (float(spreads[0]), float(spreads[1])),
        )
