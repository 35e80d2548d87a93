"""The port to rate limits."""

import math
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Budget:
    """A token bucket: `per_minute` on average, `burst` at once. Raises ValueError unless both are above 0."""

    per_minute: float
    burst: float

    def __post_init__(self) -> None:
        if not (0 < self.per_minute < math.inf and 0 < self.burst < math.inf):
            raise ValueError(f"{self} grants nothing or everything.")

    @property
    def per_second(self) -> float:
        """How fast the bucket fills."""
        return self.per_minute / 60


class RateLimiter(Protocol):
    """Counts what callers take, for all processes that share the limiter together.

    A limiter that is away counts within this process alone and says so in the log once: a broken cache server
    neither stops the suite nor opens it wide.
    """

    async def take(self, key: str, budget: Budget, cost: float = 1) -> float:
        """Take `cost` tokens of `key`; returns 0, or the seconds until there are enough (then none is taken).

        Raises ValueError for a cost that is not above 0 or that the budget's burst can never cover.
        """
        ...


def check_cost(budget: Budget, cost: float) -> None:
    """Raise ValueError for a cost that can never be granted."""
    if not 0 < cost <= budget.burst:
        raise ValueError(f"A cost of {cost} is never granted by a burst of {budget.burst}.")
