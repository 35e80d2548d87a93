"""Consumers' progress in a SQLite file."""

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from quantum_suite.core.events import Fence, Position
from quantum_suite.services.databases.fences import SQLITE_FENCES, check_sqlite_fence
from quantum_suite.services.databases.sqlite import SqliteDatabase
from quantum_suite.services.projections.interface import INBOX_SIZE, ParkedEvent

_MIGRATIONS = (
    f"""
{SQLITE_FENCES};
CREATE TABLE progress (consumer TEXT PRIMARY KEY, position TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE inbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    consumer TEXT NOT NULL,
    event_id TEXT NOT NULL,
    UNIQUE (consumer, event_id)
) STRICT;
CREATE INDEX inbox_by_age ON inbox (consumer, number);
CREATE TABLE parked (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    consumer TEXT NOT NULL,
    position TEXT NOT NULL,
    event_id TEXT NOT NULL,
    event_type TEXT NOT NULL,
    stream TEXT NOT NULL,
    version INTEGER NOT NULL,
    problem TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    parked_at TEXT NOT NULL,
    UNIQUE (consumer, position)
) STRICT;
""",
)

_PRUNE = """
DELETE FROM inbox WHERE consumer = :consumer AND number <= (
    SELECT number FROM inbox WHERE consumer = :consumer ORDER BY number DESC LIMIT 1 OFFSET :kept
)
"""

_PARK = """
INSERT INTO parked (consumer, position, event_id, event_type, stream, version, problem, attempts, parked_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (consumer, position) DO UPDATE SET
    problem = excluded.problem, attempts = parked.attempts + excluded.attempts
"""

_PARKED = """
SELECT consumer, position, event_id, event_type, stream, version, problem, attempts, parked_at FROM parked
"""


class SqliteProgressStore:
    """One file for all consumers of the processes on this machine, made on first use. Close it, or use `with`."""

    def __init__(self, path: Path, *, inbox_size: int = INBOX_SIZE) -> None:
        self._database = SqliteDatabase(path, _MIGRATIONS)
        self._inbox_size = inbox_size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; later calls raise Unavailable. Idempotent."""
        self._database.close()

    async def checkpoint(self, consumer: str) -> Position | None:
        """Return where the consumer stands."""

        def work(db: sqlite3.Connection) -> Position | None:
            row = db.execute("SELECT position FROM progress WHERE consumer = ?", (consumer,)).fetchone()
            return Position(row[0]) if row else None

        return await self._database.read(work)

    async def seen(self, consumer: str, event_ids: Sequence[str]) -> set[str]:
        """Return which of these events are in the inbox."""

        def work(db: sqlite3.Connection) -> set[str]:
            statement = "SELECT 1 FROM inbox WHERE consumer = ? AND event_id = ?"
            return {one for one in event_ids if db.execute(statement, (consumer, one)).fetchone()}

        return await self._database.read(work)

    async def advance(self, consumer: str, position: Position, event_ids: Sequence[str], fence: Fence) -> None:
        """Move the consumer on, in one transaction with the fence's check."""

        def work(db: sqlite3.Connection) -> None:
            check_sqlite_fence(db, fence)
            db.execute(
                "INSERT INTO progress VALUES (?, ?)"
                " ON CONFLICT (consumer) DO UPDATE SET position = excluded.position",
                (consumer, position),
            )
            if event_ids:
                db.executemany(
                    "INSERT INTO inbox (consumer, event_id) VALUES (?, ?) ON CONFLICT DO NOTHING",
                    [(consumer, event_id) for event_id in event_ids],
                )
                db.execute(_PRUNE, {"consumer": consumer, "kept": self._inbox_size})

        await self._database.write(work)

    async def park(self, parked: ParkedEvent, fence: Fence) -> None:
        """Put an event aside, or count another attempt."""
        row = (
            *(parked.consumer, parked.position, parked.event_id, parked.event_type, parked.stream, parked.version),
            *(parked.problem, parked.attempts, parked.parked_at.isoformat()),
        )

        def work(db: sqlite3.Connection) -> None:
            check_sqlite_fence(db, fence)
            db.execute(_PARK, row)

        await self._database.write(work)

    async def parked(self, consumer: str | None = None, *, limit: int = 100) -> list[ParkedEvent]:
        """Return what is parked, oldest first."""

        def work(db: sqlite3.Connection) -> list[ParkedEvent]:
            rows = db.execute(
                f"{_PARKED} WHERE :consumer IS NULL OR consumer = :consumer ORDER BY number LIMIT :limit",
                {"consumer": consumer, "limit": limit},
            )
            return [_parked(row) for row in rows]

        return await self._database.read(work)

    async def find_parked(self, consumer: str, position: Position) -> ParkedEvent | None:
        """Return one parked event."""

        def work(db: sqlite3.Connection) -> ParkedEvent | None:
            row = db.execute(f"{_PARKED} WHERE consumer = ? AND position = ?", (consumer, position)).fetchone()
            return _parked(row) if row else None

        return await self._database.read(work)

    async def unpark(self, consumer: str, position: Position) -> None:
        """Take an event off the list."""
        statement = "DELETE FROM parked WHERE consumer = ? AND position = ?"

        def work(db: sqlite3.Connection) -> None:
            db.execute(statement, (consumer, position))

        await self._database.write(work)

    async def reset(self, consumer: str) -> None:
        """Forget the consumer."""

        def work(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM progress WHERE consumer = ?", (consumer,))
            db.execute("DELETE FROM inbox WHERE consumer = ?", (consumer,))
            db.execute("DELETE FROM parked WHERE consumer = ?", (consumer,))

        await self._database.write(work)


def _parked(row: tuple[Any, ...]) -> ParkedEvent:
    return ParkedEvent(*(*row[:8], datetime.fromisoformat(row[8])))
