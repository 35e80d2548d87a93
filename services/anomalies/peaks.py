"""How strange a distance is beside the strangest ones there have been."""

import bisect
import math
from collections.abc import Sequence
from typing import Any

RANKS = (3, 10, 30)
"""Compared is with the third, tenth and thirtieth largest: neither one outlier nor the bulk sets the measure."""
_LARGEST = 4.0
_SMALLEST = -2.0
_FADED_EVERY = 256
HALF_LIFE = 20_000.0
"""Points in which what was strange once counts for half."""


class PeakMemory:
    """Weighs a number against the largest ones of the past.

    The measure is the logarithm of its ratio to them: it has no unit and needs no distribution, and in a series of
    heavy bursts only a burst beyond the others stands out.
    """

    def __init__(self, peaks: Sequence[float] = (), points: int = 0) -> None:
        self._peaks = sorted(peaks)
        self._points = points
        # The mean logarithm of the ranked peaks, until they or the floor change.
        self._measure: float | None = None
        self._floor = 0.0

    def weigh(self, distance: float, floor: float) -> float:
        """Return how far `distance` is beyond past peaks, within -2 and 4, and remember it.

        `floor` is the least distance that means anything: what rounding alone makes. Where there is nothing to
        compare with yet, and up to `floor`, everything is as usual.
        """
        weight = _SMALLEST
        if len(self._peaks) == RANKS[-1] and distance > floor:
            if self._measure is None or self._floor != floor:
                logarithms = [math.log(max(self._peaks[-rank], floor)) for rank in RANKS]
                self._measure, self._floor = math.fsum(logarithms) / len(RANKS), floor
            weight = math.log(max(distance, floor)) - self._measure
        self._remember(distance)
        return min(_LARGEST, max(_SMALLEST, weight))

    def _remember(self, distance: float) -> None:
        self._points += 1
        if self._points % _FADED_EVERY == 0:
            fade = 0.5 ** (_FADED_EVERY / HALF_LIFE)
            self._peaks = [peak * fade for peak in self._peaks]
            self._measure = None
        if len(self._peaks) < RANKS[-1]:
            bisect.insort(self._peaks, distance)
            self._measure = None
        elif distance > self._peaks[0]:
            del self._peaks[0]
            bisect.insort(self._peaks, distance)
            self._measure = None

    def state(self) -> dict[str, Any]:
        """Return what the constructor makes the same memory of."""
        return {"peaks": list(self._peaks), "points": self._points}
