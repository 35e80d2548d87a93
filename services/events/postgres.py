"""The event store on PostgreSQL, for several machines."""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Self

import anyio
from anyio.abc import TaskGroup
from psycopg import AsyncCursor

from quantum_suite.core.errors import CallerError, SuiteError
from quantum_suite.core.events import Event, EventFilter, Fence, NewEvent, Position
from quantum_suite.services.databases.postgres import PostgresDatabase
from quantum_suite.services.events import postgres_queries as queries
from quantum_suite.services.events.encoding import Row, appended, as_stored, decode, encode, is_stream, subjects_of
from quantum_suite.services.events.interface import MAX_BATCH, MAX_BATCH_BYTES, Snapshot, StoredEvent
from quantum_suite.services.events.news import News
from quantum_suite.services.events.planning import Repeated, Request
from quantum_suite.services.events.positions import page_size, parsed, version_after
from quantum_suite.services.events.postgres_writer import BatchWriter, too_slow
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.events.sealing import EventCipher, NoCipher
from quantum_suite.services.events.snapshots import open_snapshot, seal_snapshot
from quantum_suite.services.events.subscription import POLLING_SECONDS, Page, following

SCANNED_EVENTS = 50_000
"""How many events one look goes through in search of wanted ones."""

TIMEOUT_SECONDS = 30.0
"""A server that does not finish a query or a transaction in this time counts as away."""

_LAST = 2**31 - 1
_BEGINNING = (-1, 0)
_BEYOND = (2**63 - 1, _LAST)


class PostgresEventStore:
    """Keeps the log in the suite's schema of a database.

    `async with` it, in the event loop the database belongs to: on leaving, what was being appended is written.
    Reading stays behind the oldest transaction that still writes anywhere on the server, so a transaction that is
    held open delays readers (of `read`, `subscribe`, `head` and `count`; not of `read_stream`), and loses nothing.
    """

    def __init__(
        self,
        database: PostgresDatabase,
        registry: EventRegistry,
        cipher: EventCipher | None = None,
        *,
        polling_seconds: float = POLLING_SECONDS,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._database = database
        self._registry = registry
        self._cipher = cipher or NoCipher()
        self._polling_seconds = polling_seconds
        self._timeout_seconds = timeout_seconds
        self._news = News()
        self._writer = BatchWriter(database, self._news.wake, timeout_seconds=timeout_seconds)
        self._tasks: TaskGroup | None = None

    async def __aenter__(self) -> Self:
        # A log that was dumped and loaded into another server may be ahead of that server's transaction count.
        await self._execute(queries.MEND_SHIFT)
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._writer.start()
        self._tasks.start_soon(self._writer.run)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tasks is not None:
            with anyio.CancelScope(shield=True):
                await self._writer.close()
            self._tasks.cancel_scope.cancel()
            await self._tasks.__aexit__(None, None, None)

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
        positions = (_position(outcome.transaction, outcome.sequence + n) for n in range(len(drafts)))
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
        size = page_size(limit)
        if not is_stream(stream):
            return []
        values = {"stream": stream, "version": version_after(after_version), "limit": size}
        async with self._cursor() as cursor:
            rows = await _rows(cursor, queries.STREAM, values)
        return await decode(rows, self._registry, self._cipher)

    async def read_back(self, before: Position | None = None, *, limit: int = MAX_BATCH) -> list[Event]:
        transaction, sequence = _BEYOND if before is None else _place(before)
        values = {"transaction": transaction, "sequence": sequence, "limit": page_size(limit)}
        async with self._cursor() as cursor:
            await cursor.execute(queries.AHEAD)
            settled, _ = await cursor.fetchone() or (0, False)
            rows = await _rows(cursor, queries.BACKWARDS, {**values, "settled": settled})
        return await decode(rows, self._registry, self._cipher)

    async def read_stored(self, after: Position | None = None, *, limit: int = MAX_BATCH) -> list[StoredEvent]:
        rows, _, _, _ = await self._page(after, None, page_size(limit))
        return as_stored(rows)

    def subscribe(
        self, checkpoint: Position | None = None, where: EventFilter | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[list[Event]]]:
        return following(self._look, self._news, checkpoint, where, self._polling_seconds)

    def wake(self) -> None:
        self._news.wake()

    async def head(self) -> Position | None:
        row = await self._one(queries.HEAD)
        return None if row is None else _position(*row)

    async def count(self, after: Position | None = None) -> int:
        row = await self._one(queries.COUNT, _place(after))
        return int(row[0]) if row else 0

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        state = await seal_snapshot(snapshot, self._cipher)
        await self._execute(
            queries.SAVE_SNAPSHOT,
            (snapshot.stream, snapshot.version, snapshot.schema, state),
        )

    async def snapshot(self, stream: str, schema: int) -> Snapshot | None:
        if not is_stream(stream):
            return None
        row = await self._one(queries.SNAPSHOT, (stream, schema))
        return None if row is None else await open_snapshot(stream, row[0], schema, row[1], self._cipher)

    async def erase(self, subject: str) -> bool:
        erased = await self._cipher.erase(subject)
        await self._execute(queries.FORGET_SNAPSHOTS)
        return erased

    async def _look(self, after: Position | None, where: EventFilter | None, limit: int = MAX_BATCH) -> Page:
        rows, scanned, more, pending = await self._page(after, where, limit)
        return Page(await decode(rows, self._registry, self._cipher), scanned, more, pending)

    async def _page(
        self, after: Position | None, where: EventFilter | None, limit: int
    ) -> tuple[list[Row], Position | None, bool, bool]:
        """Return wanted rows, up to where it was looked, whether there is more, and whether there soon will be."""
        transaction, sequence = _place(after)
        values: dict[str, Any] = {"transaction": transaction, "sequence": sequence, "limit": limit}
        async with self._cursor() as cursor:
            await cursor.execute(queries.AHEAD)
            settled, pending = await cursor.fetchone() or (0, False)
            # Everything below `settled` is decided for good: the next look begins there.
            end = max((settled - 1, _LAST), (transaction, sequence))
            values["settled"] = settled
            query, more = queries.LOG, False
            if where is not None and (where.types or where.stream is not None):
                types = _pattern(where)
                if types is None or (where.stream is not None and not is_stream(where.stream)):
                    return [], after, False, False
                values |= {"types": types, "stream": where.stream, "scanned": SCANNED_EVENTS - 1}
                query = queries.LOG_OF_STREAM
            if where is not None and where.types and where.stream is None:
                await cursor.execute(queries.EDGE, values)
                edge = await cursor.fetchone()
                more, end = edge is not None, edge or end
                values |= {"edge": end[0], "edge_sequence": end[1]}
                query = queries.LOG_OF_TYPES
            rows = await _rows(cursor, query, values)
        if len(rows) == limit or sum(len(row[7]) for row in rows) > MAX_BATCH_BYTES:
            return rows, rows[-1][0], True, pending
        return rows, _position(*end) if end[0] >= 0 else None, more, pending

    @asynccontextmanager
    async def _cursor(self) -> AsyncIterator[AsyncCursor[Any]]:
        """Lend a cursor; what takes too long counts as a server that is away."""
        try:
            async with self._database.connection() as connection:
                with anyio.fail_after(self._timeout_seconds):
                    async with connection.cursor(binary=True) as cursor:
                        yield cursor
        except TimeoutError as error:
            raise too_slow(self._timeout_seconds) from error

    async def _execute(self, query: str, values: Sequence[Any] = ()) -> None:
        async with self._cursor() as cursor:
            await cursor.execute(query, values)

    async def _one(self, query: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        async with self._cursor() as cursor:
            await cursor.execute(query, values)
            return await cursor.fetchone()


async def _rows(cursor: AsyncCursor[Any], query: str, values: dict[str, Any]) -> list[Row]:
    await cursor.execute(query, {"bytes": MAX_BATCH_BYTES, **values}, prepare=True)
    return [(_position(row[0], row[1]), *row[2:]) for row in await cursor.fetchall()]


def _position(transaction: int, sequence: int) -> Position:
    return Position(f"{transaction}.{sequence}")


def _place(position: Position | None) -> tuple[int, int]:
    if position is None:
        return _BEGINNING
    transaction, _, sequence = position.partition(".")
    place = parsed(transaction, position), parsed(sequence, position)
    if place[1] > _LAST:
        raise CallerError(f"{position[:100]!r} is no position of this event store.", argument="position")
    return place


def _pattern(where: EventFilter) -> str | None:
    """Return the wanted types as a regular expression over stored ones; None when there can be none."""
    if not where.types:
        return ""
    names = [wanted for wanted in where.types if re.fullmatch(r"[\x21-\x7e]+", wanted)]
    wanted = [re.escape(name) + (".*" if name.endswith(".") else "") for name in names]
    return f"^(?:{'|'.join(wanted)})\\.v[0-9]+$" if wanted else None
