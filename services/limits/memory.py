"""Rate limits counted in this process."""

import time
from collections import OrderedDict
from collections.abc import Callable

from quantum_suite.services.limits.interface import Budget, check_cost


class _Bucket:
    __slots__ = ("filled_at", "tokens")

    def __init__(self, tokens: float, filled_at: float) -> None:
        self.tokens = tokens
        self.filled_at = filled_at


class MemoryRateLimiter:
    """Holds at most `max_buckets`: the one unused for longest makes room, and is full again on return."""

    def __init__(self, *, max_buckets: int = 10_000, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._max_buckets = max_buckets
        self._monotonic = monotonic
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    async def take(self, key: str, budget: Budget, cost: float = 1) -> float:
        check_cost(budget, cost)
        now = self._monotonic()
        per_second = budget.per_second
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(budget.burst, now)
            if len(self._buckets) > self._max_buckets:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
            bucket.tokens = min(budget.burst, bucket.tokens + (now - bucket.filled_at) * per_second)
            bucket.filled_at = now
        if bucket.tokens < cost:
            return (cost - bucket.tokens) / per_second
        bucket.tokens -= cost
        return 0.0
