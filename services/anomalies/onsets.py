"""Few alarms: one for an anomaly, and less for what keeps coming back."""

import math
from collections import deque
from collections.abc import Sequence
from typing import Any

QUIET_POINTS = 125
"""An onset is a point stranger than all of so many before it."""
_DISCOUNT = 0.4
_LIKE = 0.8
"""An earlier onset counts as a like one from this share of the strength."""
_REMEMBERED = 512


class Onsets:
    """Turns strengths into onsets: the first and strongest points of anomalies, discounted by how often there were
    like ones before."""

    def __init__(
        self, points: int = 0, rising: Sequence[tuple[int, float]] = (), earlier: Sequence[float] = ()
    ) -> None:
        self._points = points
        # Falling strengths of the newest points: the first is their largest.
        self._rising: deque[tuple[int, float]] = deque((int(at), float(strength)) for at, strength in rising)
        self._earlier: deque[float] = deque(earlier, maxlen=_REMEMBERED)

    def take(self, strength: float, *, learning: bool) -> float:
        """Return the strength of the onset that this point is; 0 where it is none."""
        while self._rising and self._rising[0][0] < self._points - QUIET_POINTS:
            self._rising.popleft()
        highest = self._rising[0][1] if self._rising else 0.0
        while self._rising and self._rising[-1][1] <= strength:
            self._rising.pop()
        self._rising.append((self._points, strength))
        self._points += 1
        if strength <= highest or learning:
            return 0.0
        like = sum(1 for one in self._earlier if one >= _LIKE * strength)
        self._earlier.append(strength)
        return strength / (1 + _DISCOUNT * math.log1p(like))

    def state(self) -> dict[str, Any]:
        """Return what the constructor makes the same of."""
        return {"points": self._points, "rising": list(self._rising), "earlier": list(self._earlier)}
