"""Answers reads from memory for as long as their owner said it may be done."""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from quantum_suite.hub.call import Call, Handler, Json
from quantum_suite.hub.pipeline.shared_reads import SharedReads
from quantum_suite.services.cache.interface import Cache, Stamp

CONFIRM_SECONDS = 1.0
"""How long what another replica invalidated may still be answered from memory here."""

_DAY_MS = 24 * 60 * 60 * 1000

_Key = tuple[str, str, str | None, str]
"""Upstream, URI, principal (None when shared), protocol version."""


@dataclass(slots=True)
class _Entry:
    result: Json
    size: int
    stored_at: float
    ttl_ms: int
    stamp: Stamp | None
    confirmed_at: float
    """When it was last known that no replica had announced a change."""


class CacheStage:
    """Keeps results of `resources/read` that carry a positive `ttlMs` (2026-07-28, server/utilities/caching).

    A result is served to others only when its `cacheScope` is `public`; every other one to the principal it was
    made for alone. Rounds of a call that carry `inputResponses` or `requestState`, and reads with parameters
    unknown here, are neither served nor kept. What is served says how long it stays fresh from now on. The least
    recently used entries make room when there are more than `max_entries` or `max_bytes` of them.

    With a `shared` cache, what one replica invalidates is no longer served by any of them a `confirm_seconds`
    later, and public results read by one serve the others; private ones never leave this process. While it is
    away, nothing is answered from memory for longer than `confirm_seconds` after it was last confirmed.
    """

    def __init__(
        self,
        *,
        shared: Cache | None = None,
        max_entries: int = 2000,
        max_bytes: int = 32 * 1024 * 1024,
        confirm_seconds: float = CONFIRM_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shared = None if shared is None else SharedReads(shared)
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._confirm_seconds = confirm_seconds
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
        public: _Key = (target.upstream, uri, None, call.protocol_version)
        for key in (own, public):
            if (found := self._fresh(key)) is not None or (found := await self._confirmed(key)) is not None:
                return found
        return await self._read(call, handler, own, public)

    def invalidate(self, upstream: str, uri: str | None = None) -> None:
        """Forget what was read of `uri`, or of everything of `upstream`, and what is being read just now."""
        self._changes[upstream] += 1
        stale = [key for key in self._entries if key[0] == upstream and uri in (None, key[1])]
        for key in stale:
            self._forget(key)
        if self._shared is not None:
            self._shared.invalidate(upstream, uri)

    async def run(self) -> None:
        """Tell the other replicas what was invalidated here, as it comes; for a task of its own."""
        if self._shared is not None:
            await self._shared.run()

    async def _read(self, call: Call, handler: Handler, own: _Key, public: _Key) -> Json:
        upstream, uri, _, version = public
        changes = self._changes[upstream]
        stamp = None
        asked_at = self._monotonic()
        if self._shared is not None:
            stamp = await self._shared.stamp(upstream, uri)
            found = await self._shared.find(upstream, uri, version)
            if found is not None and changes == self._changes[upstream]:
                self._keep(public, *found, stamp, asked_at)
                return _served(*found)
        result = await handler(call)
        ttl_ms = _time_to_live(result)
        # A change announced while the read was under way may or may not be in what was read.
        if ttl_ms > 0 and changes == self._changes[upstream]:
            key = public if result.get("cacheScope") == "public" else own
            encoded = self._keep(key, result, ttl_ms, stamp, asked_at)
            if self._shared is not None and stamp is not None and encoded is not None and key is public:
                await self._shared.keep(upstream, uri, version, encoded, ttl_ms, stamp)
        return result

    def _fresh(self, key: _Key) -> Json | None:
        """Return what may be served without asking anybody."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if self._shared is not None and self._monotonic() - entry.confirmed_at >= self._confirm_seconds:
            return None
        return self._serve(key, entry)

    async def _confirmed(self, key: _Key) -> Json | None:
        """Return what may be served once the other replicas were asked."""
        entry = self._entries.get(key)
        if self._shared is None or entry is None or entry.stamp is None:
            return None
        asked_at = self._monotonic()
        holds = await self._shared.holds(entry.stamp)
        if self._entries.get(key) is not entry:
            return None
        if not holds:
            self._forget(key)
            return None
        entry.confirmed_at = asked_at
        return self._serve(key, entry)

    def _serve(self, key: _Key, entry: _Entry) -> Json | None:
        left_ms = entry.ttl_ms - int((self._monotonic() - entry.stored_at) * 1000)
        if left_ms <= 0:
            self._forget(key)
            return None
        self._entries.move_to_end(key)
        return _served(entry.result, left_ms)

    def _keep(self, key: _Key, result: Json, ttl_ms: int, stamp: Stamp | None, asked_at: float) -> bytes | None:
        """Keep a result, and return it encoded; None when that cannot be done or it is too large."""
        self._forget(key)
        try:
            encoded = orjson.dumps(result)
        except TypeError:
            return None  # an integer beyond 64 bits or the like, from a server in this process
        size = len(encoded)
        if size > self._max_bytes:
            return None
        now = self._monotonic()
        self._entries[key] = _Entry(_served(result, ttl_ms), size, now, ttl_ms, stamp, asked_at)
        self._bytes += size
        while self._bytes > self._max_bytes or len(self._entries) > self._max_entries:
            self._forget(next(iter(self._entries)))
        return encoded

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
