"""Leases in an SQLite file, between the processes of one machine.

Time is that since the machine started: setting its clock moves nothing. An end that is further away than its
lease is long was written before the machine was started anew; it is moved to where it can be at the latest, so
that no lease outlives its holder by more than its own length.
"""

import sqlite3
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from quantum_suite.services.databases.sqlite import SqliteDatabase
from quantum_suite.services.leases.interface import Lease
from quantum_suite.services.leases.terms import Clock, boot_clock, check_terms, nanoseconds, next_token

_MIGRATIONS = (
    """
CREATE TABLE leases (
    name TEXT PRIMARY KEY, holder TEXT NOT NULL, token INTEGER NOT NULL,
    ttl INTEGER NOT NULL, ends_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
""",
)
_BUSY_SECONDS = 5.0


class SqliteLeaseStore:
    """Keeps leases in the file at `path`, which is made on first use. Close it, or use it in a `with`.

    A row stays after its lease: it holds the last token of the name.
    """

    def __init__(self, path: Path, *, clock: Clock = boot_clock, wall_clock: Clock = time.time_ns) -> None:
        self._database = SqliteDatabase(path, _MIGRATIONS, busy_seconds=_BUSY_SECONDS)
        self._clock = clock
        self._wall_clock = wall_clock

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; later calls raise Unavailable. Leases stay as they are."""
        self._database.close()

    async def acquire(self, name: str, holder: str, ttl_seconds: float) -> Lease | None:
        check_terms(name, holder, ttl_seconds)
        ttl = nanoseconds(ttl_seconds)

        def work(db: sqlite3.Connection) -> Lease | None:
            now = self._clock()
            db.execute("UPDATE leases SET ends_at = ?1 + ttl WHERE name = ?2 AND ends_at > ?1 + ttl", (now, name))
            row = db.execute("SELECT holder, token, ends_at FROM leases WHERE name = ?", (name,)).fetchone()
            held_by, last, ends_at = row or ("", 0, 0)
            if ends_at > now and held_by != holder:
                return None
            token = next_token(last, self._wall_clock())
            db.execute(
                "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?)", (name, holder, token, ttl, now + ttl)
            )
            return Lease(name, holder, token, ttl_seconds)

        return await self._database.write(work)

    async def renew(self, lease: Lease) -> bool:
        def work(db: sqlite3.Connection) -> bool:
            now = self._clock()
            changed = db.execute(
                "UPDATE leases SET ends_at = ? + ttl WHERE name = ? AND token = ? AND ends_at > ?",
                (now, lease.name, lease.token, now),
            )
            return changed.rowcount == 1

        return await self._database.write(work)

    async def release(self, lease: Lease) -> None:
        def work(db: sqlite3.Connection) -> None:
            db.execute("UPDATE leases SET ends_at = 0 WHERE name = ? AND token = ?", (lease.name, lease.token))

        await self._database.write(work)

    async def holders(self, prefix: str) -> dict[str, str]:
        def work(db: sqlite3.Connection) -> dict[str, str]:
            rows = db.execute(
                "SELECT name, holder FROM leases WHERE substr(name, 1, length(?1)) = ?1 AND ends_at > ?2",
                (prefix, self._clock()),
            )
            return dict(rows.fetchall())

        return await self._database.read(work)
