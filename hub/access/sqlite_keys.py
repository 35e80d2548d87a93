"""Keys in a SQLite file."""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from quantum_suite.core.errors import ConfigurationError, NotFound, Unavailable
from quantum_suite.core.principals import Role
from quantum_suite.hub.access.keys import KeyRecord, key_id_of, name_in_use, new_key, same_hash, token_hash
from quantum_suite.services.databases.sqlite import make_private

_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    hash BLOB NOT NULL,
    roles TEXT NOT NULL,
    workspaces TEXT,
    created_at REAL NOT NULL,
    expires_at REAL,
    revoked_at REAL,
    last_used_at REAL
);
CREATE UNIQUE INDEX IF NOT EXISTS active_names ON keys (name) WHERE revoked_at IS NULL;
"""
_COLUMNS = "id, name, roles, workspaces, created_at, expires_at, revoked_at, last_used_at"


def _utc_now() -> datetime:
    return datetime.now(UTC)


class SqliteKeyStore:
    """Keys in `path`, mode 0600, for as many processes as there are.

    Written through a write-ahead log with synchronous=FULL: a key that was shown, or a revocation that was
    confirmed, is not lost with the power. One connection, one thread at a time.
    """

    def __init__(self, path: Path, *, busy_seconds: float = 5.0, now: Callable[[], datetime] = _utc_now) -> None:
        """Open or make the file; raises ConfigurationError when it is none of this suite's."""
        self._path = path
        self._now = now
        self._lock = threading.Lock()
        self._generation = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not path.exists():
                make_private(path)
            path.chmod(0o600)
            self._connection = sqlite3.connect(
                path, timeout=busy_seconds, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(
                f"The keys in {path} cannot be opened: {error}.", "Check who owns the file and its folder."
            ) from error
        try:
            self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def generation(self) -> int:
        """Grows with each key created or revoked through this object."""
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
        with self._transaction() as connection:
            taken = connection.execute(
                "SELECT 1 FROM keys WHERE id = ?1 OR (name = ?1 AND revoked_at IS NULL)", (name,)
            ).fetchone()
            if taken:
                raise name_in_use(name)
            connection.execute(
                "INSERT INTO keys (id, name, hash, roles, workspaces, created_at, expires_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    record.id,
                    record.name,
                    token_hash(token),
                    " ".join(sorted(record.roles)),
                    None if record.workspaces is None else json.dumps(record.workspaces),
                    record.created_at.timestamp(),
                    record.expires_at.timestamp() if record.expires_at else None,
                ),
            )
        self._generation += 1
        return record, token

    def list(self) -> list[KeyRecord]:
        """Return all keys, the oldest first."""
        with self._reading() as connection:
            return [_record(row) for row in connection.execute(f"SELECT {_COLUMNS} FROM keys ORDER BY rowid")]  # noqa: S608 - a constant of this file

    def revoke(self, name_or_id: str) -> KeyRecord:
        """End a key by its id or name."""
        with self._transaction() as connection:
            row = connection.execute(
                f"SELECT {_COLUMNS} FROM keys WHERE id = ?1 OR (name = ?1 AND revoked_at IS NULL)",  # noqa: S608 - a constant of this file
                (name_or_id,),
            ).fetchone()
            if row is None:
                raise NotFound(f"There is no key '{name_or_id}' to revoke.", "`quantum keys list` shows them.")
            found = _record(row)
            if found.revoked_at is not None:
                return found
            connection.execute("UPDATE keys SET revoked_at = ? WHERE id = ?", (self._now().timestamp(), found.id))
            row = connection.execute(f"SELECT {_COLUMNS} FROM keys WHERE id = ?", (found.id,)).fetchone()  # noqa: S608 - a constant of this file
        self._generation += 1
        return _record(row)

    def find(self, token: str) -> KeyRecord | None:
        """Return the key that `token` is, or None."""
        key_id = key_id_of(token)
        if key_id is None:
            return None
        with self._reading() as connection:
            row = connection.execute(f"SELECT {_COLUMNS}, hash FROM keys WHERE id = ?", (key_id,)).fetchone()  # noqa: S608 - a constant of this file
        return _record(row[:-1]) if row and same_hash(row[-1], token_hash(token)) else None

    def touch(self, key_id: str, used_at: datetime) -> None:
        """Note that a key was used."""
        with self._reading() as connection:
            connection.execute("UPDATE keys SET last_used_at = ? WHERE id = ?", (used_at.timestamp(), key_id))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _prepare(self) -> None:
        try:
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if version > _VERSION:
                raise ConfigurationError(
                    f"The keys in {self._path} were written by a newer release (layout {version}).",
                    "Use that release, or another data directory.",
                )
            with self._transaction() as connection:
                for statement in _SCHEMA.split(";\n"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {_VERSION}")
        except (sqlite3.Error, Unavailable) as error:
            raise ConfigurationError(
                f"{self._path} does not hold keys of this suite: {error}.", "Move the file away, then try again."
            ) from error

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Hold the connection; each statement is a transaction of its own."""
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                raise Unavailable(f"The keys in {self._path} are out of reach: {error}.") from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the connection and the file's write lock: what is read here stays true until the end."""
        with self._reading() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")


def _record(row: tuple[Any, ...]) -> KeyRecord:
    key_id, name, roles, workspaces, created_at, expires_at, revoked_at, last_used_at = row
    return KeyRecord(
        id=key_id,
        name=name,
        roles=frozenset(Role(role) for role in roles.split()),
        workspaces=None if workspaces is None else tuple(json.loads(workspaces)),
        created_at=datetime.fromtimestamp(created_at, UTC),
        expires_at=_time(expires_at),
        revoked_at=_time(revoked_at),
        last_used_at=_time(last_used_at),
    )


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
