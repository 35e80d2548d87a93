"""Holds each principal to its budget of calls."""

import time
from collections.abc import Callable

from quantum_suite.core.errors import ConfigurationError, RateLimited
from quantum_suite.hub.call import Call, Handler, Json
from quantum_suite.services.limits.interface import Budget, RateLimiter
from quantum_suite.services.limits.memory import MemoryRateLimiter


class RateLimitStage:
    """A token bucket a principal: `calls_per_minute` on average, a sixth of that at once.

    Every request counts once; notifications are not calls, and a subscription counts when it is opened. Counted by
    `limiter` for all replicas together; without one, in memory, for at most `max_buckets` principals.
    """

    def __init__(
        self,
        calls_per_minute: int,
        *,
        limiter: RateLimiter | None = None,
        max_buckets: int = 10_000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if calls_per_minute < 1:
            raise ConfigurationError(
                f"limits.calls_per_minute is {calls_per_minute}.",
                "It must be at least 1.",
            )
        self._calls_per_minute = calls_per_minute
        self._budget = Budget(per_minute=calls_per_minute, burst=max(1.0, calls_per_minute / 6))
        self._limiter = limiter or MemoryRateLimiter(max_buckets=max_buckets, monotonic=monotonic)

    async def __call__(self, call: Call, handler: Handler) -> Json:
        """Take a token, then call on; raises RateLimited when there is none."""
        principal_id = "" if call.principal is None else call.principal.id
        if wait := await self._limiter.take(f"calls:{principal_id}", self._budget):
            raise RateLimited(
                f"{principal_id} has made its {self._calls_per_minute} calls a minute.",
                f"Try again in {wait:.1f} seconds.",
                retry_after_seconds=round(wait, 3),
            )
        return await handler(call)
