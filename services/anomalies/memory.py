"""The newest values of a series, bounded."""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Memory:
    """Keeps the newest `length` numbers as one contiguous array; adding one costs the same whatever it holds."""

    def __init__(self, length: int, values: Sequence[float] | Floats = ()) -> None:
        self._room = np.empty(2 * length)
        self._length = length
        self._begin = self._end = 0
        for value in values:
            self.add(float(value))

    def add(self, value: float) -> None:
        """Remember a number; the oldest is forgotten where there are too many."""
        if self._end == len(self._room):
            kept = self._end - self._begin
            self._room[:kept] = self._room[self._begin : self._end]
            self._begin, self._end = 0, kept
        self._room[self._end] = value
        self._end += 1
        if self._end - self._begin > self._length:
            self._begin += 1

    def __len__(self) -> int:
        """Return how many are remembered."""
        return self._end - self._begin

    @property
    def length(self) -> int:
        """Return how many it keeps at most."""
        return self._length

    @property
    def values(self) -> Floats:
        """Return what is remembered, oldest first: a view that the next `add` may change."""
        return self._room[self._begin : self._end]

    def state(self) -> dict[str, Any]:
        """Return what `restored` makes the same memory of."""
        return {"length": self._length, "values": base64.b64encode(self.values.tobytes()).decode("ascii")}

    @classmethod
    def restored(cls, state: dict[str, Any]) -> "Memory":
        """Return the memory that `state` was taken of; raises KeyError, TypeError or ValueError."""
        values = np.frombuffer(base64.b64decode(state["values"], validate=True))
        memory = cls(int(state["length"]))
        kept = values[-memory._length :]
        memory._room[: len(kept)] = kept
        memory._end = len(kept)
        return memory
