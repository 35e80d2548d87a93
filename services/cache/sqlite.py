"""The cache in a SQLite file, for the processes of one machine."""

import sqlite3
import time
from collections.abc import Callable, Collection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from quantum_suite.services.cache.shared import SharedCache
from quantum_suite.services.databases.volatile import VolatileSqliteDatabase
from quantum_suite.services.outage import REST_SECONDS

_MIGRATIONS = (
    """
CREATE TABLE entries (
    name BLOB PRIMARY KEY, value BLOB NOT NULL, size INTEGER NOT NULL, expires_at REAL NOT NULL) STRICT;
CREATE INDEX entries_by_end ON entries (expires_at);
CREATE TABLE entry_tags (
    tag BLOB NOT NULL, name BLOB NOT NULL REFERENCES entries ON DELETE CASCADE,
    PRIMARY KEY (tag, name)) STRICT, WITHOUT ROWID;
CREATE INDEX entry_tags_by_name ON entry_tags (name);
CREATE TABLE tags (tag BLOB PRIMARY KEY, invalidated INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX tags_by_age ON tags (invalidated);
CREATE TABLE standing (sequence INTEGER NOT NULL, floor INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT;
INSERT INTO standing VALUES (1, 0, 0);
CREATE TRIGGER counted AFTER INSERT ON entries BEGIN UPDATE standing SET bytes = bytes + new.size; END;
CREATE TRIGGER uncounted AFTER DELETE ON entries BEGIN UPDATE standing SET bytes = bytes - old.size; END;
""",
)
_BUSY_SECONDS = 0.25
_MAX_TAGS = 100_000
_COUNT_EVERY = 1000


class SqliteCache(SharedCache):
    """Keeps values in the file at `path`: `max_bytes` of them at most, and the oldest make room.

    Invalidating by one process holds for all at once: every read asks the file. Close it, or use it in a `with`.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int = 256 * 1024 * 1024,
        max_value_bytes: int = 4 * 1024 * 1024,
        rest_seconds: float = REST_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(str(path), max_value_bytes=min(max_value_bytes, max_bytes), rest_seconds=rest_seconds)
        # The sequence goes on: stamps taken before must not come to hold again.
        on = "UPDATE standing SET sequence = sequence + 1, floor = sequence + 1"
        fresh = ("DELETE FROM entries", "DELETE FROM tags", on)
        self._database = VolatileSqliteDatabase(path, _MIGRATIONS, fresh=fresh, busy_seconds=_BUSY_SECONDS)
        self._max_bytes = max_bytes
        self._monotonic = monotonic

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    async def _get(self, name: bytes) -> bytes | None:
        def work(db: sqlite3.Connection) -> bytes | None:
            row = db.execute(
                "SELECT value FROM entries WHERE name = ? AND expires_at > ?", (name, self._monotonic())
            ).fetchone()
            return None if row is None else bytes(row[0])

        return await self._database.read(work)

    async def _stamp(self, tags: Collection[bytes]) -> tuple[Any, ...]:
        def work(db: sqlite3.Connection) -> tuple[Any, ...]:
            return tuple(db.execute("SELECT sequence FROM standing").fetchone())

        return await self._database.read(work)

    async def _holds(self, tags: Collection[bytes], state: tuple[Any, ...]) -> bool:
        return await self._database.read(lambda db: _stands(db, tags, state[0]))

    async def _set(
        self, name: bytes, value: bytes, ttl_seconds: float, tags: Collection[bytes], state: tuple[Any, ...]
    ) -> None:
        def work(db: sqlite3.Connection) -> None:
            if not _stands(db, tags, state[0]):
                return
            now = self._monotonic()
            db.execute("DELETE FROM entries WHERE name = ? OR expires_at <= ?", (name, now))
            row = (name, value, len(value), now + ttl_seconds)
            db.execute("INSERT INTO entries VALUES (?, ?, ?, ?)", row)
            db.executemany("INSERT OR IGNORE INTO entry_tags VALUES (?, ?)", [(tag, name) for tag in tags])
            while db.execute("SELECT bytes FROM standing").fetchone()[0] > self._max_bytes:
                db.execute("DELETE FROM entries WHERE rowid = (SELECT min(rowid) FROM entries)")

        await self._database.write(work)

    async def _delete(self, name: bytes) -> None:
        def work(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM entries WHERE name = ?", (name,))

        await self._database.write(work)

    async def _invalidate(self, tags: Collection[bytes]) -> None:
        def work(db: sqlite3.Connection) -> None:
            db.execute("UPDATE standing SET sequence = sequence + 1")
            (sequence,) = db.execute("SELECT sequence FROM standing").fetchone()
            db.executemany("INSERT OR REPLACE INTO tags VALUES (?, ?)", [(tag, sequence) for tag in tags])
            db.executemany(
                "DELETE FROM entries WHERE name IN (SELECT name FROM entry_tags WHERE tag = ?)",
                [(tag,) for tag in tags],
            )
            if sequence % _COUNT_EVERY == 0:
                _forget_old_tags(db)

        await self._database.write(work)


def _stands(db: sqlite3.Connection, tags: Collection[bytes], sequence: int) -> bool:
    (floor,) = db.execute("SELECT floor FROM standing").fetchone()
    if sequence < floor:
        return False
    marks = ", ".join("?" * len(tags))
    later = f"SELECT 1 FROM tags WHERE invalidated > ? AND tag IN ({marks}) LIMIT 1"  # noqa: S608 - only marks
    return db.execute(later, (sequence, *tags)).fetchone() is None


def _forget_old_tags(db: sqlite3.Connection) -> None:
    """Drop the oldest half of too many tags; stamps from then are not trusted any longer."""
    (count,) = db.execute("SELECT count(*) FROM tags").fetchone()
    if count > _MAX_TAGS:
        (floor,) = db.execute(
            "SELECT invalidated FROM tags ORDER BY invalidated LIMIT 1 OFFSET ?", (count // 2,)
        ).fetchone()
        db.execute("DELETE FROM tags WHERE invalidated <= ?", (floor,))
        db.execute("UPDATE standing SET floor = max(floor, ?)", (floor,))
