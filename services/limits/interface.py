"""The port to rate limits."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Budget:
    """A token bucket: `per_minute` on average, `burst` at once."""

    per_minute: float
    burst: float


class RateLimiter(Protocol):
    """Counts what callers take, for all processes that share the limiter together.

    A limiter that is away counts within this process alone and says so in the log once: a broken cache server
    neither stops the suite nor opens it wide.
    """

    async def take(self, key: str, budget: Budget, cost: float = 1) -> float:
        """Take `cost` tokens of `key`; returns 0, or the seconds until there are enough (then none is taken)."""
        ...
