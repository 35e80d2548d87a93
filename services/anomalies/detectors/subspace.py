"""Subspace: a stretch whose shape is far from every earlier one (a discord, in one direction of time)."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from quantum_suite.services.anomalies.detectors.interface import Sign
from quantum_suite.services.anomalies.features import SHORT, Features
from quantum_suite.services.anomalies.interface import DetectorName
from quantum_suite.services.anomalies.memory import Floats, Memory

REMEMBERED = 2048
_PLACES = 4
"""Numbers that describe a stretch."""


class SubspaceDetector:
    """Euclidean distance of the last 4 and the last 16 points to the nearest earlier stretch of that length.

    The longer stretch is described by four means of four points. Stretches that overlap the last one do not count.
    """

    name: ClassVar[DetectorName] = "subspace"

    def __init__(self, values: Memory | None = None, means: Memory | None = None, since_gap: int = 0) -> None:
        self._values = values or Memory(REMEMBERED)
        self._means = means or Memory(REMEMBERED)
        self._since_gap = since_gap

    def measure(self, point: Features) -> list[Sign]:
        """Return its two signs, and remember the point."""
        self._values.add(point.value)
        self._means.add(point.short_mean)
        self._since_gap += 1
        short = long = 0.0
        if self._since_gap >= _PLACES:
            short = _nearest_stretch(self._values.values, 1)
        if self._since_gap >= _PLACES * SHORT:
            long = _nearest_stretch(self._means.values, SHORT)
        return [
            Sign(short, "a course of 4 points unlike any there was"),
            Sign(long, "a course of 16 points unlike any there was"),
        ]

    def gap(self) -> None:
        """Begin a new stretch: one across a gap has no shape."""
        self._since_gap = 0

    def state(self) -> dict[str, Any]:
        """Return JSON that `restored` makes the same of."""
        return {"values": self._values.state(), "means": self._means.state(), "since_gap": self._since_gap}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> "SubspaceDetector":
        """Return the detector that `state` was taken of."""
        return cls(Memory.restored(state["values"]), Memory.restored(state["means"]), int(state["since_gap"]))


def _nearest_stretch(values: Floats, apart: int) -> float:
    """Return the distance of the newest stretch, `_PLACES` numbers `apart`, to the nearest that ends before it."""
    reach = (_PLACES - 1) * apart
    last = len(values) - 1
    count = last - reach - _PLACES * apart + 1
    if count < 1:
        return 0.0
    total = np.zeros(count)
    for place in range(_PLACES):
        begin = reach - place * apart
        difference = values[begin : begin + count] - values[last - place * apart]
        total += difference * difference
    return math.sqrt(float(total.min()))
