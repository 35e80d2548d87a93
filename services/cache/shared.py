"""What caches that several processes share have in common: how they behave while they are away."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection
from typing import Any, TypeVar

from quantum_suite.core.errors import SuiteError
from quantum_suite.services.cache.interface import Stamp
from quantum_suite.services.outage import REST_SECONDS, Outage

T = TypeVar("T")

MAX_TTL_SECONDS = 7 * 24 * 3600.0
_MAX_OWED = 10_000

EVERYTHING = hashlib.sha256(b"").digest()
"""A tag every value carries, for when more tags were invalidated during an outage than are remembered."""


class SharedCache(ABC):
    """Answers as an empty cache while the engine below is away, and owes it the invalidations it missed.

    Keys and tags reach the engine as SHA-256: of one size, whatever they hold, and not to be read there. Other
    processes that still reach an engine this one does not may see what this one invalidated, until it is back or
    the value expires.
    """

    def __init__(self, what: str, *, max_value_bytes: int, rest_seconds: float = REST_SECONDS) -> None:
        self._max_value_bytes = max_value_bytes
        self._outage = Outage(what, "the cache counts as empty", rest_seconds=rest_seconds)
        self._owed: dict[bytes, int] = {}
        self._invalidations = 0

    async def get(self, key: str) -> bytes | None:
        name = named(key)
        return await self._ask(lambda: self._get(name), None)

    async def stamp(self, *tags: str) -> Stamp:
        names = tag_names(tags)
        return Stamp(tags, await self._ask(lambda: self._stamp(names), ()))

    async def holds(self, stamp: Stamp) -> bool:
        if not stamp.state:
            return False
        names = tag_names(stamp.tags)
        return await self._ask(lambda: self._holds(names, stamp.state), False)

    async def set(self, key: str, value: bytes, ttl_seconds: float, stamp: Stamp) -> None:
        if not ttl_seconds > 0 or len(value) > self._max_value_bytes:
            await self.delete(key)
        elif stamp.state:
            name, names, ttl = named(key), tag_names(stamp.tags), min(ttl_seconds, MAX_TTL_SECONDS)
            await self._ask(lambda: self._set(name, value, ttl, names, stamp.state), None)

    async def delete(self, key: str) -> None:
        name = named(key)
        await self._ask(lambda: self._delete(name), None)

    async def invalidate(self, tag: str) -> None:
        self._invalidations += 1
        self._owed[named(tag)] = self._invalidations
        if len(self._owed) > _MAX_OWED:
            self._owed = {EVERYTHING: self._invalidations}
        await self._ask(_nothing, None)

    async def _ask(self, work: Callable[[], Awaitable[T]], otherwise: T) -> T:
        if not self._outage.may_ask():
            return otherwise
        try:
            if self._owed:
                await self._settle()
            answer = await work()
        except SuiteError as error:
            self._outage.failed(error)
            return otherwise
        self._outage.answered()
        return answer

    async def _settle(self) -> None:
        owed = dict(self._owed)
        await self._invalidate(owed.keys())
        for tag, when in owed.items():
            if self._owed.get(tag) == when:
                del self._owed[tag]

    @abstractmethod
    async def _get(self, name: bytes) -> bytes | None:
        """Return the value if all its tags stand as they did when it was set."""

    @abstractmethod
    async def _stamp(self, tags: Collection[bytes]) -> tuple[Any, ...]:
        """Return how the tags stand."""

    @abstractmethod
    async def _holds(self, tags: Collection[bytes], state: tuple[Any, ...]) -> bool:
        """Compare."""

    @abstractmethod
    async def _set(
        self, name: bytes, value: bytes, ttl_seconds: float, tags: Collection[bytes], state: tuple[Any, ...]
    ) -> None:
        """Compare and keep, in one step."""

    @abstractmethod
    async def _delete(self, name: bytes) -> None:
        """Drop one value."""

    @abstractmethod
    async def _invalidate(self, tags: Collection[bytes]) -> None:
        """Have every value and stamp with one of the tags count no longer."""


def named(text: str) -> bytes:
    """Return the name an engine knows a key or tag by."""
    return hashlib.sha256(b"#" + text.encode("utf-8", "surrogatepass")).digest()


def tag_names(tags: Collection[str]) -> tuple[bytes, ...]:
    """Return the names of a value's tags, EVERYTHING first."""
    return (EVERYTHING, *map(named, tags))


async def _nothing() -> None:
    """Ask nothing: what is owed is settled on the way."""
