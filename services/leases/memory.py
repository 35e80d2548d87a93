"""Leases within one process: tests, and a hub that keeps nothing."""

import time
from dataclasses import dataclass

from quantum_suite.services.leases.interface import Lease
from quantum_suite.services.leases.terms import Clock, check_terms, nanoseconds, next_token


@dataclass(slots=True)
class _Record:
    holder: str
    token: int
    ends_at: int


class MemoryLeaseStore:
    """Knows of this process alone."""

    def __init__(self, *, clock: Clock = time.monotonic_ns, wall_clock: Clock = time.time_ns) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self._records: dict[str, _Record] = {}

    async def acquire(self, name: str, holder: str, ttl_seconds: float) -> Lease | None:
        check_terms(name, holder, ttl_seconds)
        now = self._clock()
        last = self._records.get(name)
        if last is not None and last.ends_at > now and last.holder != holder:
            return None
        token = next_token(last.token if last else 0, self._wall_clock())
        self._records[name] = _Record(holder, token, now + nanoseconds(ttl_seconds))
        return Lease(name, holder, token, ttl_seconds)

    async def renew(self, lease: Lease) -> bool:
        record = self._held(lease)
        if record is None:
            return False
        record.ends_at = self._clock() + nanoseconds(lease.ttl_seconds)
        return True

    async def release(self, lease: Lease) -> None:
        record = self._held(lease)
        if record is not None:
            record.ends_at = self._clock()

    async def holders(self, prefix: str) -> dict[str, str]:
        now = self._clock()
        return {
            name: record.holder
            for name, record in self._records.items()
            if name.startswith(prefix) and record.ends_at > now
        }

    def _held(self, lease: Lease) -> _Record | None:
        record = self._records.get(lease.name)
        if record is None or record.token != lease.token or record.ends_at <= self._clock():
            return None
        return record
