"""Keys that end with the process."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from quantum_suite.core.errors import NotFound
from quantum_suite.core.principals import Role
from quantum_suite.hub.access.keys import KeyRecord, key_id_of, name_in_use, new_key, same_hash, token_hash


def _utc_now() -> datetime:
    return datetime.now(UTC)


class MemoryKeyStore:
    """The twin of the SQLite store: same contract, nothing kept."""

    def __init__(self, *, now: Callable[[], datetime] = _utc_now) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._keys: dict[str, tuple[KeyRecord, bytes]] = {}
        self._generation = 0

    @property
    def generation(self) -> int:
        """Grows with each key created or revoked."""
        return self._generation

    def create(
        self,
        name: str,
        roles: Iterable[Role | str],
        *,
        workspaces: Iterable[str | Path] | None = None,
        expires_in_seconds: float | None = None,
    ) -> tuple[KeyRecord, str]:
        """Make a key and return it with its token."""
        record, token = new_key(name, roles, workspaces, expires_in_seconds, self._now())
        with self._lock:
            if name in self._keys or self._active(name):
                raise name_in_use(name)
            self._keys[record.id] = (record, token_hash(token))
            self._generation += 1
        return record, token

    def list(self) -> list[KeyRecord]:
        """Return all keys, the oldest first."""
        with self._lock:
            return [record for record, _ in self._keys.values()]

    def revoke(self, name_or_id: str) -> KeyRecord:
        """End a key by its id or name."""
        with self._lock:
            known = self._keys.get(name_or_id)
            record = known[0] if known else self._active(name_or_id)
            if record is None:
                raise NotFound(f"There is no key '{name_or_id}' to revoke.", "`quantum keys list` shows them.")
            if record.revoked_at is None:
                record = replace(record, revoked_at=self._now())
                self._keys[record.id] = (record, self._keys[record.id][1])
                self._generation += 1
            return record

    def find(self, token: str) -> KeyRecord | None:
        """Return the key that `token` is, or None."""
        key_id = key_id_of(token)
        with self._lock:
            known = self._keys.get(key_id) if key_id else None
        return known[0] if known and same_hash(known[1], token_hash(token)) else None

    def touch(self, key_id: str, used_at: datetime) -> None:
        """Note that a key was used."""
        with self._lock:
            if known := self._keys.get(key_id):
                self._keys[key_id] = (replace(known[0], last_used_at=used_at), known[1])

    def close(self) -> None:
        """Nothing to release."""

    def _active(self, name: str) -> KeyRecord | None:
        found = (record for record, _ in self._keys.values() if record.name == name and record.revoked_at is None)
        return next(found, None)
