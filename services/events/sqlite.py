"""The event store in one SQLite file: WAL, `synchronous=FULL`, one thread that commits for all who append."""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.to_thread

from quantum_suite.core.errors import SuiteError
from quantum_suite.core.events import Event, EventFilter, Fence, NewEvent, Position
from quantum_suite.services.databases.sqlite import BUSY_SECONDS, SqliteDatabase
from quantum_suite.services.events.encoding import Row, appended, as_stored, decode, encode, is_stream, subjects_of
from quantum_suite.services.events.interface import MAX_BATCH, MAX_BATCH_BYTES, Snapshot, StoredEvent
from quantum_suite.services.events.news import News
from quantum_suite.services.events.planning import Repeated, Request
from quantum_suite.services.events.positions import number_of, page_size, position_of, version_after
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.events.sealing import EventCipher, NoCipher
from quantum_suite.services.events.snapshots import open_snapshot, seal_snapshot
from quantum_suite.services.events.sqlite_writer import MIGRATIONS, GroupCommitWriter
from quantum_suite.services.events.subscription import POLLING_SECONDS, Page, following

SCANNED_EVENTS = 50_000
"""How many events one look goes through in search of wanted ones before others get to read."""

_BEYOND = 2**63 - 1
_ROWS = """
SELECT CAST(e.sequence AS TEXT), s.name, e.version, e.id, t.name, e.time, e.attributes, e.payload, e.personal
FROM events e CROSS JOIN streams s ON s.number = e.stream CROSS JOIN types t ON t.number = e.type WHERE
"""
_WANTED = "e.type IN (SELECT value FROM json_each(:types))"
_IN_ORDER = _ROWS + "e.sequence > :after AND e.sequence <= :last ORDER BY e.sequence LIMIT :limit"
_BACKWARDS = _ROWS + "e.sequence < :before ORDER BY e.sequence DESC LIMIT :limit"
_OF_TYPES = _ROWS + f"e.sequence > :after AND e.sequence <= :last AND {_WANTED} ORDER BY e.sequence LIMIT :limit"
_IN_STREAM = "e.stream = (SELECT number FROM streams WHERE name = :stream) AND e.version > :version"
_AFTER_IN_STREAM = f" AND e.sequence > :after AND (:types IS NULL OR {_WANTED}) ORDER BY e.version LIMIT :limit"
_OF_STREAM = _ROWS + _IN_STREAM + _AFTER_IN_STREAM


class SqliteEventStore:
    """Keeps the log in the file at `path`, made on first use, readable by this user alone.

    Several processes, and several event loops of one process, may share the file. `async with` it: on leaving,
    what was being appended is written and the file closed.
    """

    def __init__(
        self,
        path: Path,
        registry: EventRegistry,
        cipher: EventCipher | None = None,
        *,
        polling_seconds: float = POLLING_SECONDS,
        busy_seconds: float = BUSY_SECONDS,
    ) -> None:
        self._registry = registry
        self._cipher = cipher or NoCipher()
        self._polling_seconds = polling_seconds
        self._database = SqliteDatabase(path, MIGRATIONS, busy_seconds=busy_seconds)
        self._news = News()
        self._writer = GroupCommitWriter(self._database, self._news.wake)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._writer.close)
            await anyio.to_thread.run_sync(self._database.close)

    async def append(
        self, stream: str, expected_version: int, events: Sequence[NewEvent], *, fence: Fence | None = None
    ) -> list[Event]:
        drafts = encode(self._registry, stream, expected_version, events)
        if not drafts:
            return []
        seal = await self._cipher.sealing(subjects_of(drafts))
        outcome = await self._writer.submit(Request(stream, expected_version, drafts, seal, fence))
        if isinstance(outcome, SuiteError):
            raise outcome
        if isinstance(outcome, Repeated):
            return await self.read_stream(stream, outcome.version - 1, limit=len(drafts))
        positions = (position_of(outcome.sequence + n) for n in range(len(drafts)))
        return appended(stream, outcome.version, positions, drafts)

    async def read(
        self, after: Position | None = None, where: EventFilter | None = None, *, limit: int = MAX_BATCH
    ) -> list[Event]:
        size = page_size(limit)
        while True:
            page = await self._look(after, where, size)
            if page.events or not page.more:
                return page.events
            after = page.scanned

    async def read_stream(self, stream: str, after_version: int = 0, *, limit: int = MAX_BATCH) -> list[Event]:
        if not is_stream(stream):
            return []
        values = {
            "stream": stream,
            "version": version_after(after_version),
            "after": 0,
            "types": None,
            "limit": page_size(limit),
        }
        rows = await self._database.read(lambda connection: _rows(connection, _OF_STREAM, values)[0])
        return await decode(rows, self._registry, self._cipher)

    async def read_back(self, before: Position | None = None, *, limit: int = MAX_BATCH) -> list[Event]:
        values = {"before": _BEYOND if before is None else number_of(before), "limit": page_size(limit)}
        rows = await self._database.read(lambda connection: _rows(connection, _BACKWARDS, values)[0])
        return await decode(rows, self._registry, self._cipher)

    async def read_stored(self, after: Position | None = None, *, limit: int = MAX_BATCH) -> list[StoredEvent]:
        first, size = number_of(after), page_size(limit)
        rows, _, _ = await self._database.read(lambda connection: _page(connection, first, None, size))
        return as_stored(rows)

    def subscribe(
        self, checkpoint: Position | None = None, where: EventFilter | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[list[Event]]]:
        return following(self._look, self._news, checkpoint, where, self._polling_seconds)

    def wake(self) -> None:
        self._news.wake()

    async def head(self) -> Position | None:
        last = await self._database.read(_last)
        return position_of(last) if last else None

    async def count(self, after: Position | None = None) -> int:
        # Numbers are without gaps: nothing is ever deleted, and an undone transaction takes none.
        return max(await self._database.read(_last) - number_of(after), 0)

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        state = await seal_snapshot(snapshot, self._cipher)
        row = (snapshot.stream, snapshot.version, snapshot.schema, state)
        await self._database.write(
            lambda connection: connection.execute(
                """INSERT INTO snapshots (stream, version, schema, state) VALUES (?, ?, ?, ?)
                ON CONFLICT (stream) DO UPDATE
                SET version = excluded.version, schema = excluded.schema, state = excluded.state
                WHERE snapshots.schema <> excluded.schema OR snapshots.version <= excluded.version""",
                row,
            )
        )

    async def snapshot(self, stream: str, schema: int) -> Snapshot | None:
        if not is_stream(stream):
            return None
        row = await self._database.read(
            lambda connection: connection.execute(
                "SELECT version, state FROM snapshots WHERE stream = ? AND schema = ?", (stream, schema)
            ).fetchone()
        )
        return None if row is None else await open_snapshot(stream, row[0], schema, row[1], self._cipher)

    async def erase(self, subject: str) -> bool:
        erased = await self._cipher.erase(subject)
        await self._database.write(lambda connection: connection.execute("DELETE FROM snapshots"))
        return erased

    async def _look(self, after: Position | None, where: EventFilter | None, limit: int = MAX_BATCH) -> Page:
        first = number_of(after)
        rows, scanned, more = await self._database.read(lambda connection: _page(connection, first, where, limit))
        events = await decode(rows, self._registry, self._cipher)
        return Page(events, position_of(scanned) if scanned else after, more)


def _page(
    connection: sqlite3.Connection, first: int, where: EventFilter | None, limit: int
) -> tuple[list[Row], int, bool]:
    """Return wanted rows after a number, up to where it was looked, and whether there is more beyond."""
    end = max(_last(connection), first)
    if where is not None and where.stream is not None and not is_stream(where.stream):
        return [], end, False
    types = _types(connection, where) if where is not None and where.types else None
    if types == "[]":
        return [], end, False
    values = {"after": first, "last": end, "types": types, "limit": limit}
    if where is not None and where.stream is not None:
        rows, full = _rows(connection, _OF_STREAM, {**values, "stream": where.stream, "version": 0})
    elif types is None:
        rows, full = _rows(connection, _IN_ORDER, values)
    else:
        values["last"] = end = min(end, first + SCANNED_EVENTS)
        rows, full = _rows(connection, _OF_TYPES, values)
    scanned = int(rows[-1][0]) if full else end
    return rows, scanned, scanned < _last(connection)


def _rows(connection: sqlite3.Connection, query: str, values: dict[str, Any]) -> tuple[list[Row], bool]:
    """Return rows, and whether they are all that one page may hold."""
    rows: list[Row] = []
    size = 0
    for row in connection.execute(query, values):
        rows.append(row)
        size += len(row[7])
        if size > MAX_BATCH_BYTES:
            return rows, True
    return rows, len(rows) == values["limit"]


def _types(connection: sqlite3.Connection, where: EventFilter) -> str:
    """Return the numbers of the wanted types, as a JSON array."""
    wanted = EventFilter(where.types)
    rows = connection.execute("SELECT number, name FROM types")
    return str([number for number, name in rows if wanted.matches(name, "")])


def _last(connection: sqlite3.Connection) -> int:
    (last,) = connection.execute("SELECT coalesce(max(sequence), 0) FROM events").fetchone()
    return int(last)
