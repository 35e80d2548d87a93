"""Answers reads from memory for as long as their owner said it may be done."""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from quantum_suite.hub.call import Call, Handler, Json

_DAY_MS = 24 * 60 * 60 * 1000

_Key = tuple[str, str, str | None, str]
"""Upstream, URI, principal (None when shared), protocol version."""


@dataclass(frozen=True, slots=True)
class _Entry:
    result: Json
    size: int
    stored_at: float
    ttl_ms: int


class CacheStage:
    """Keeps results of `resources/read` that carry a positive `ttlMs` (2026-07-28, server/utilities/caching).

    A result is served to others only when its `cacheScope` is `public`; every other one to the principal it was
    made for alone. Rounds of a call that carry `inputResponses` or `requestState`, and reads with parameters
    unknown here, are neither served nor kept. What is served says how long it stays fresh from now on. The least
    recently used entries make room when there are more than `max_entries` or `max_bytes` of them.
    """

    def __init__(
        self,
        *,
        max_entries: int = 2000,
        max_bytes: int = 32 * 1024 * 1024,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._monotonic = monotonic
        self._entries: OrderedDict[_Key, _Entry] = OrderedDict()
        self._bytes = 0
        self._changes: Counter[str] = Counter()

    async def __call__(self, call: Call, handler: Handler) -> Json:
        """Answer from memory, or call on and remember."""
        target = call.target
        if call.method != "resources/read" or target is None or call.principal is None:
            return await handler(call)
        uri = call.params.get("uri")
        if not isinstance(uri, str) or not call.params.keys() <= {"uri", "_meta"}:
            return await handler(call)
        own: _Key = (target.upstream, uri, call.principal.id, call.protocol_version)
        shared: _Key = (target.upstream, uri, None, call.protocol_version)
        for key in (own, shared):
            if (found := self._fresh(key)) is not None:
                return found
        changes = self._changes[target.upstream]
        result = await handler(call)
        ttl_ms = _time_to_live(result)
        # A change announced while the read was under way may or may not be in what was read.
        if ttl_ms > 0 and changes == self._changes[target.upstream]:
            self._keep(shared if result.get("cacheScope") == "public" else own, result, ttl_ms)
        return result

    def invalidate(self, upstream: str, uri: str | None = None) -> None:
        """Forget what was read of `uri`, or of everything of `upstream`, and what is being read just now."""
        self._changes[upstream] += 1
        stale = [key for key in self._entries if key[0] == upstream and uri in (None, key[1])]
        for key in stale:
            self._forget(key)

    def _fresh(self, key: _Key) -> Json | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        left_ms = entry.ttl_ms - int((self._monotonic() - entry.stored_at) * 1000)
        if left_ms <= 0:
            self._forget(key)
            return None
        self._entries.move_to_end(key)
        return _served(entry.result, left_ms)

    def _keep(self, key: _Key, result: Json, ttl_ms: int) -> None:
        self._forget(key)
        try:
            size = len(orjson.dumps(result))
        except TypeError:
            return  # an integer beyond 64 bits or the like, from a server in this process
        if size > self._max_bytes:
            return
        self._entries[key] = _Entry(_served(result, ttl_ms), size, self._monotonic(), ttl_ms)
        self._bytes += size
        while self._bytes > self._max_bytes or len(self._entries) > self._max_entries:
            self._forget(next(iter(self._entries)))

    def _forget(self, key: _Key) -> None:
        if (entry := self._entries.pop(key, None)) is not None:
            self._bytes -= entry.size


def _time_to_live(result: Json) -> int:
    """Milliseconds a result may be kept: 0 for none; a day at most, against absurd numbers."""
    ttl: Any = result.get("ttlMs")
    if isinstance(ttl, bool) or not isinstance(ttl, int | float) or not ttl > 0:
        return 0
    if result.get("resultType", "complete") != "complete":
        return 0
    return int(min(ttl, _DAY_MS))


def _served(result: Json, ttl_ms: int) -> Json:
    """Copy what those above may edit: the result object itself and its `_meta`."""
    copy = {**result, "ttlMs": ttl_ms}
    if isinstance(meta := result.get("_meta"), dict):
        copy["_meta"] = dict(meta)
    return copy
