"""Holds each principal to its budget of calls."""

import time
from collections import OrderedDict
from collections.abc import Callable

from quantum_suite.core.errors import ConfigurationError, RateLimited
from quantum_suite.hub.call import Call, Handler, Json


class _Bucket:
    __slots__ = ("filled_at", "tokens")

    def __init__(self, tokens: float, filled_at: float) -> None:
        self.tokens = tokens
        self.filled_at = filled_at


class RateLimitStage:
    """A token bucket a principal: `calls_per_minute` on average, a sixth of that at once.

    Every request counts once; notifications are not calls, and a subscription counts when it is opened. Buckets
    live in memory, at most `max_buckets`: the one unused for longest makes room, and is full again on return.
    """

    def __init__(
        self,
        calls_per_minute: int,
        *,
        max_buckets: int = 10_000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if calls_per_minute < 1:
            raise ConfigurationError(
                f"limits.calls_per_minute is {calls_per_minute}.",
                "It must be at least 1.",
            )
        self._calls_per_minute = calls_per_minute
        self._per_second = calls_per_minute / 60
        self._burst = max(1.0, calls_per_minute / 6)
        self._max_buckets = max_buckets
        self._monotonic = monotonic
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    async def __call__(self, call: Call, handler: Handler) -> Json:
        """Take a token, then call on; raises RateLimited when there is none."""
        self._take("" if call.principal is None else call.principal.id)
        return await handler(call)

    def _take(self, principal_id: str) -> None:
        now = self._monotonic()
        bucket = self._buckets.get(principal_id)
        if bucket is None:
            bucket = self._buckets[principal_id] = _Bucket(self._burst, now)
            if len(self._buckets) > self._max_buckets:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(principal_id)
            refilled = bucket.tokens + (now - bucket.filled_at) * self._per_second
            bucket.tokens = min(self._burst, refilled)
            bucket.filled_at = now
        if bucket.tokens < 1:
            wait = (1 - bucket.tokens) / self._per_second
            raise RateLimited(
                f"{principal_id} has made its {self._calls_per_minute} calls a minute.",
                f"Try again in {wait:.1f} seconds.",
                retry_after_seconds=round(wait, 3),
            )
        bucket.tokens -= 1
