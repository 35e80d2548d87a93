"""What replicas of the hub tell each other about reads: public answers, and which answers count no longer."""

import json
import time
from collections.abc import Callable
from typing import Any

import anyio
import orjson

from quantum_suite.hub.call import Json
from quantum_suite.services.cache.interface import Cache, Stamp


class SharedReads:
    """Reads kept in a cache that the replicas share.

    An invalidation is owed to the cache from the moment it is announced: it is passed on before anything else is
    asked of the cache, or as soon as `run` comes to it.
    """

    def __init__(self, cache: Cache, *, wall_clock: Callable[[], float] = time.time) -> None:
        self._cache = cache
        self._wall_clock = wall_clock
        self._owed: dict[str, int] = {}
        self._announced = 0
        self._news = anyio.Event()

    async def run(self) -> None:
        """Pass invalidations on as they come; for a task of its own."""
        while True:
            await self._settle()
            self._news = anyio.Event()
            await self._news.wait()

    def invalidate(self, upstream: str, uri: str | None) -> None:
        """Announce that what was read of `uri`, or of everything of `upstream`, counts no longer."""
        self._announced += 1
        self._owed[_tag(upstream, uri)] = self._announced
        self._news.set()

    async def stamp(self, upstream: str, uri: str) -> Stamp:
        """Return how the resource stands, before it is read."""
        await self._settle()
        return await self._cache.stamp(_tag(upstream, None), _tag(upstream, uri))

    async def holds(self, stamp: Stamp) -> bool:
        """Say whether no replica has announced a change since."""
        await self._settle()
        return await self._cache.holds(stamp)

    async def find(self, upstream: str, uri: str, protocol_version: str) -> tuple[Json, int] | None:
        """Return a public result and the milliseconds it stays fresh."""
        await self._settle()
        kept = await self._cache.get(_key(upstream, uri, protocol_version))
        if kept is None:
            return None
        value: dict[str, Any] = orjson.loads(kept)
        # Replicas' clocks differ: whatever they say, a result is no fresher than when it was made.
        left_ms = min(int(value["fresh_until_ms"] - self._wall_clock() * 1000), value["ttl_ms"])
        return (value["result"], left_ms) if left_ms > 0 else None

    async def keep(
        self, upstream: str, uri: str, protocol_version: str, result: bytes, ttl_ms: int, stamp: Stamp
    ) -> None:
        """Keep a public result, encoded, that was read after `stamp` was taken."""
        fresh_until_ms = int(self._wall_clock() * 1000) + ttl_ms
        value = b'{"ttl_ms":%d,"fresh_until_ms":%d,"result":%b}' % (ttl_ms, fresh_until_ms, result)
        await self._settle()
        await self._cache.set(_key(upstream, uri, protocol_version), value, ttl_ms / 1000, stamp)

    async def _settle(self) -> None:
        while self._owed:
            tag, announced = next(iter(self._owed.items()))
            await self._cache.invalidate(tag)
            if self._owed.get(tag) == announced:
                del self._owed[tag]


def _tag(upstream: str, uri: str | None) -> str:
    return json.dumps(["reads", upstream, uri])


def _key(upstream: str, uri: str, protocol_version: str) -> str:
    # The number is that of the value's form: releases that write another do not read each other's.
    return json.dumps(["read", 1, upstream, uri, protocol_version])
