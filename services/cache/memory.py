"""The cache in this process's memory."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from quantum_suite.services.cache.interface import Stamp

_MAX_TAGS = 100_000


@dataclass(frozen=True, slots=True)
class _Entry:
    value: bytes
    tags: tuple[str, ...]
    size: int
    expires_at: float


class MemoryCache:
    """Keeps at most `max_entries` and `max_bytes`; the least recently used make room. For one event loop."""

    def __init__(
        self,
        *,
        max_entries: int = 10_000,
        max_bytes: int = 64 * 1024 * 1024,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._monotonic = monotonic
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._tagged: dict[str, set[str]] = {}
        self._bytes = 0
        self._sequence = 0
        self._invalidated: OrderedDict[str, int] = OrderedDict()
        self._floor = 0
        """Stamps from before are not trusted: of what was invalidated then, nothing is known any longer."""

    async def get(self, key: str) -> bytes | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires_at <= self._monotonic():
            self._forget(key)
            return None
        self._entries.move_to_end(key)
        return entry.value

    async def stamp(self, *tags: str) -> Stamp:
        return Stamp(tags, (self._sequence,))

    async def holds(self, stamp: Stamp) -> bool:
        return self._holds(stamp)

    async def set(self, key: str, value: bytes, ttl_seconds: float, stamp: Stamp) -> None:
        size = len(value) + len(key)
        if not ttl_seconds > 0 or size > self._max_bytes:
            self._forget(key)
            return
        if not self._holds(stamp):
            return
        self._forget(key)
        expires_at = self._monotonic() + ttl_seconds
        self._entries[key] = _Entry(value, stamp.tags, size, expires_at)
        for tag in stamp.tags:
            self._tagged.setdefault(tag, set()).add(key)
        self._bytes += size
        while self._bytes > self._max_bytes or len(self._entries) > self._max_entries:
            self._forget(next(iter(self._entries)))

    async def delete(self, key: str) -> None:
        self._forget(key)

    async def invalidate(self, tag: str) -> None:
        self._sequence += 1
        self._invalidated[tag] = self._sequence
        self._invalidated.move_to_end(tag)
        if len(self._invalidated) > _MAX_TAGS:
            self._floor = self._invalidated.popitem(last=False)[1]
        for key in list(self._tagged.get(tag, ())):
            self._forget(key)

    def _holds(self, stamp: Stamp) -> bool:
        if not stamp.state or stamp.state[0] < self._floor:
            return False
        return all(self._invalidated.get(tag, 0) <= stamp.state[0] for tag in stamp.tags)

    def _forget(self, key: str) -> None:
        if (entry := self._entries.pop(key, None)) is None:
            return
        self._bytes -= entry.size
        for tag in entry.tags:
            keys = self._tagged.get(tag)
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del self._tagged[tag]
