"""What limiters that several processes share have in common: how they count while they are away."""

import hashlib
from abc import ABC, abstractmethod

from quantum_suite.core.errors import SuiteError
from quantum_suite.services.limits.interface import Budget, check_cost
from quantum_suite.services.limits.memory import MemoryRateLimiter
from quantum_suite.services.outage import REST_SECONDS, Outage


class SharedRateLimiter(ABC):
    """Counts in this process alone while the engine below is away: each process then grants the whole budget.

    What an engine that hung gave no answer to may count there all the same.
    """

    def __init__(self, what: str, *, rest_seconds: float = REST_SECONDS) -> None:
        self._outage = Outage(what, "each process counts its own calls", rest_seconds=rest_seconds)
        self._alone = MemoryRateLimiter()

    async def take(self, key: str, budget: Budget, cost: float = 1) -> float:
        check_cost(budget, cost)
        if not self._outage.may_ask():
            return await self._alone.take(key, budget, cost)
        try:
            wait = await self._take(_named(key), budget, cost)
        except SuiteError as error:
            self._outage.failed(error)
            return await self._alone.take(key, budget, cost)
        self._outage.answered()
        return wait

    @abstractmethod
    async def _take(self, name: bytes, budget: Budget, cost: float) -> float:
        """Take tokens where all processes do."""


def _named(key: str) -> bytes:
    """Return the name an engine knows a key by: of one size, whatever it holds."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
