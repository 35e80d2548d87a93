"""Checks keys without asking the store each time."""

import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import anyio
import anyio.to_thread

from quantum_suite.core.errors import Unauthenticated, Unavailable
from quantum_suite.core.principals import Principal
from quantum_suite.hub.access.keys import KeyRecord, KeyStore, token_hash

_HINT = "`quantum keys create` makes a key."


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class _Verified:
    principal: Principal
    until: float
    generation: int


class KeyVerifier:
    """Says whose key a token is.

    A good answer is kept for `keep_seconds`, under the token's hash: for so long a revocation by another process
    may go unseen. One through the same store object, and the key's own expiry, count at once. Wrong keys are
    never kept. Lookups run in a thread, one at a time for each token.
    """

    def __init__(
        self,
        store: KeyStore,
        *,
        keep_seconds: float = 5.0,
        max_kept: int = 4096,
        touch_seconds: float = 60.0,
        now: Callable[[], datetime] = _utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._keep_seconds = keep_seconds
        self._max_kept = max_kept
        self._touch_after = timedelta(seconds=touch_seconds)
        self._now = now
        self._monotonic = monotonic
        self._kept: OrderedDict[bytes, _Verified] = OrderedDict()
        self._looking_up: dict[bytes, anyio.Event] = {}

    async def verify(self, token: str) -> Principal:
        """Return the holder of `token`; raises Unauthenticated, or Unavailable when the store is out of reach."""
        digest = token_hash(token)
        while True:
            kept = self._kept.get(digest)
            if kept is not None and kept.generation == self._store.generation and self._monotonic() < kept.until:
                return kept.principal
            if (other := self._looking_up.get(digest)) is None:
                break
            await other.wait()
        done = self._looking_up[digest] = anyio.Event()
        try:
            return await self._look_up(token, digest)
        finally:
            del self._looking_up[digest]
            done.set()

    async def _look_up(self, token: str, digest: bytes) -> Principal:
        self._kept.pop(digest, None)
        generation = self._store.generation  # read first: a revocation during the lookup makes its answer old
        record = await anyio.to_thread.run_sync(self._find, token)
        now = self._now()
        if record is None:
            raise Unauthenticated("The API key is not valid.", _HINT)
        if record.revoked_at is not None:
            raise Unauthenticated(f"The API key '{record.name}' was revoked.", _HINT)
        if record.expired(now):
            raise Unauthenticated(f"The API key '{record.name}' has expired.", _HINT)
        seconds = self._keep_seconds
        if record.expires_at is not None:
            seconds = min(seconds, (record.expires_at - now).total_seconds())
        principal = record.principal
        self._kept[digest] = _Verified(principal, self._monotonic() + seconds, generation)
        if len(self._kept) > self._max_kept:
            self._kept.popitem(last=False)
        return principal

    def _find(self, token: str) -> KeyRecord | None:
        record = self._store.find(token)
        if record is None:
            return None
        now = self._now()
        active = record.revoked_at is None and not record.expired(now)
        if active and (record.last_used_at is None or now - record.last_used_at >= self._touch_after):
            with suppress(Unavailable):  # a full disk or a busy writer must not lock out a good key's holder
                self._store.touch(record.id, now)
        return record
