"""How far a point is from the nearest one that was: a density estimate that needs no bins and no bandwidth."""

import bisect
import math
from typing import Any

from quantum_suite.services.anomalies.memory import Floats, Memory


class NearestValue:
    """Distance of a number to the nearest of the remembered ones."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._sorted: list[float] = sorted(memory.values.tolist())

    @property
    def remembered(self) -> Floats:
        """Return the remembered numbers, oldest first: a view that the next one may change."""
        return self._memory.values

    def distance(self, value: float) -> float:
        """Return the distance, and remember the number."""
        place = bisect.bisect_left(self._sorted, value)
        below = value - self._sorted[place - 1] if place > 0 else math.inf
        above = self._sorted[place] - value if place < len(self._sorted) else math.inf
        nearest = min(below, above)
        self._sorted.insert(place, value)
        oldest = float(self._memory.values[0]) if len(self._memory) else value
        full = len(self._memory) == self._memory.length
        self._memory.add(value)
        if full:
            del self._sorted[bisect.bisect_left(self._sorted, oldest)]
        return nearest if math.isfinite(nearest) else 0.0

    def state(self) -> dict[str, Any]:
        """Return what the same object is made of."""
        return self._memory.state()
