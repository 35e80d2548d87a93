"""Batched writing on PostgreSQL: each transaction takes every append that waits.

A transaction locks the rows of the streams it appends to, always in the same order, decides about each append by
what they say, and stores all events with one statement. Writers in other processes do the same; what they have in
common is settled by the locks.

The log is in the order of the transactions' numbers, and a transaction gets its number with its first lock. While
it waits for the next one, a younger transaction may write there first; what it wanted to append after that is left
to a transaction younger still, so that each stream is in the order of its versions in the log, too.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
from psycopg import AsyncConnection, errors

from quantum_suite.core.errors import Fenced, SuiteError, Unavailable
from quantum_suite.core.events import Fence
from quantum_suite.services.databases.binary_arrays import (
    BigintArray,
    ByteaArray,
    IntegerArray,
    TextArray,
    accept_arrays,
)
from quantum_suite.services.databases.fences import check_postgres_fence, outdated
from quantum_suite.services.databases.postgres import PostgresDatabase
from quantum_suite.services.events.planning import (
    Compare,
    Outcome,
    Request,
    StreamState,
    Verdict,
    Written,
    compared,
    copied,
    decide,
    place,
)

TRANSACTION_EVENTS = 10_000
"""A transaction takes no further append once it holds so many events."""

WRITERS = 2
"""Transactions under way at once: while the server stores one, the next is made."""

_DEADLOCK_TRIES = 3
_CLOSING_SECONDS = 10.0

_LOCK = """
SELECT pg_current_xact_id()::text::bigint + (SELECT shift FROM event_log),
    name, number, version, last_id, last_transaction
FROM (
    SELECT name, number, version, last_id, last_transaction FROM streams WHERE name = ANY(%s)
    ORDER BY name FOR NO KEY UPDATE) locked
"""
_NEW_STREAMS = """
INSERT INTO streams (name, version) SELECT name, 0 FROM unnest(%s::text[]) AS new(name) ORDER BY name
ON CONFLICT (name) DO NOTHING
"""
_NEW_TYPES = """
INSERT INTO event_types (name) SELECT name FROM unnest(%s::text[]) AS new(name) ORDER BY name
ON CONFLICT (name) DO NOTHING
"""
_STORE = """
WITH moved AS (
    UPDATE streams SET version = new.version, last_id = new.last_id, last_transaction = %s
    FROM unnest(%s, %s, %s) AS new(number, version, last_id) WHERE streams.number = new.number)
INSERT INTO events (transaction_id, sequence, stream, version, type, id, time, attributes, payload, personal)
SELECT %s, sequence, stream, version, type, id, time, attributes, payload, personal
FROM unnest(%s, %s, %s, %s, %s, %s, %s, %s)
WITH ORDINALITY AS new(stream, version, type, id, time, attributes, payload, personal, sequence)
"""


@dataclass(slots=True, eq=False)
class _Waiting:
    request: Request
    answer: "asyncio.Future[Outcome]"
    deferred: int = 0
    """How often it was left to a later transaction. From the second time on it gets one of its own, which has no
    other lock to wait for: nobody else can keep it from being written for ever."""


@dataclass(slots=True)
class _Batch:
    """What a transaction is about to store, column by column, and what becomes of each append."""

    transaction: int = 0
    streams: dict[str, StreamState] = field(default_factory=dict)
    refused: set[Fence] = field(default_factory=set)
    touched: list[StreamState] = field(default_factory=list)
    rows: list[tuple[int, int, int, str, str, bytes, bytes, bytes]] = field(default_factory=list)
    outcomes: list[tuple[_Waiting, Outcome]] = field(default_factory=list)
    later: list[_Waiting] = field(default_factory=list)


class BatchWriter:
    """The tasks that write; `run` them in the event loop the database belongs to."""

    def __init__(
        self, database: PostgresDatabase, on_commit: Callable[[], None], *, timeout_seconds: float
    ) -> None:
        self._database = database
        self._timeout_seconds = timeout_seconds
        self._on_commit = on_commit
        self._types: dict[str, int] = {}
        self._waiting: deque[_Waiting] = deque()
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._running = False
        self._writing = 0

    async def submit(self, request: Request) -> Outcome:
        """Return what became of an append. Cancelled, it leaves open whether the events are stored."""
        if not self._running:
            raise Unavailable("The event store is not open.", "Enter it with `async with` first.")
        waiting = _Waiting(request, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._idle.clear()
        self._changed.set()
        return await waiting.answer

    def start(self) -> None:
        """Take appends from now on; what waits is written once `run` runs."""
        self._running = True

    async def close(self) -> None:
        """Take no more, and return when what waits is written, or given up for want of a server."""
        self._running = False
        with anyio.move_on_after(_CLOSING_SECONDS):
            await self._idle.wait()

    async def run(self) -> None:
        """Write until cancelled."""
        try:
            async with anyio.create_task_group() as tasks:
                for _ in range(WRITERS):
                    tasks.start_soon(self._keep_writing)
        finally:
            self._give_up(self._waiting, Unavailable("The event store was closed."))

    async def _keep_writing(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            self._writing += 1
            try:
                await self._write_waiting()
            finally:
                self._writing -= 1
            if not self._waiting and not self._writing:
                self._idle.set()

    async def _write_waiting(self) -> None:
        """Write all that waits, on one connection."""
        batch: list[_Waiting] = []
        try:
            async with self._database.connection() as connection:
                accept_arrays(connection)
                while batch := self._next():
                    with anyio.fail_after(self._timeout_seconds):
                        await self._write(connection, batch)
        except TimeoutError:
            self._give_up(batch, too_slow(self._timeout_seconds))
        except Exception as error:
            self._give_up(batch or self._waiting, error)
        except BaseException:
            self._give_up(batch, Unavailable("The event store was closed."))
            raise
        if self._waiting:
            self._changed.set()

    def _next(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        events = 0
        while self._waiting and events < TRANSACTION_EVENTS:
            waiting = self._waiting.popleft()
            if waiting.answer.cancelled():
                continue
            if waiting.deferred > 1 and batch:
                self._waiting.appendleft(waiting)
                break
            batch.append(waiting)
            events += len(waiting.request.drafts)
            if waiting.deferred > 1:
                break
        return batch

    async def _write(self, connection: AsyncConnection[Any], waiting: Sequence[_Waiting]) -> None:
        """Write a batch in one transaction, and answer; raises what undid it."""
        for attempt in range(1, _DEADLOCK_TRIES + 1):
            try:
                async with connection.transaction():
                    types = await self._numbered_types(connection, waiting)
                    batch = await _lock(connection, waiting)
                    for one in waiting:
                        await _take(connection, batch, one, types)
                    if batch.rows:
                        await _store(connection, batch)
                break
            except errors.DeadlockDetected:
                if attempt == _DEADLOCK_TRIES:
                    raise
        self._types = types
        self._waiting.extendleft(reversed(batch.later))
        if batch.rows:
            self._on_commit()
        for one, outcome in batch.outcomes:
            if not one.answer.done():
                one.answer.set_result(outcome)

    async def _numbered_types(
        self, connection: AsyncConnection[Any], waiting: Iterable[_Waiting]
    ) -> dict[str, int]:
        """Return the types' numbers; new types are stored."""
        missing = {draft.type for one in waiting for draft in one.request.drafts}.difference(self._types)
        if not missing:
            return self._types
        await connection.execute(_NEW_TYPES, (sorted(missing),))
        cursor = await connection.execute("SELECT name, number FROM event_types")
        return dict(await cursor.fetchall())

    def _give_up(self, waiting: "list[_Waiting] | deque[_Waiting]", error: Exception) -> None:
        for one in waiting:
            if not one.answer.done():
                one.answer.set_exception(copied(error))
        waiting.clear()


def too_slow(seconds: float) -> Unavailable:
    """Return the error for a server that takes longer than that."""
    return Unavailable(f"PostgreSQL did not answer within {seconds:g} s.", "Look at its load.")


async def _lock(connection: AsyncConnection[Any], waiting: Sequence[_Waiting]) -> _Batch:
    """Lock the streams of a batch, making those that are not there, and check its fences."""
    names = {one.request.stream for one in waiting}
    batch = _Batch()
    await _lock_streams(connection, batch, names)
    missing = names.difference(batch.streams)
    if missing:
        await connection.execute(_NEW_STREAMS, (sorted(missing),))
        await _lock_streams(connection, batch, missing)
    batch.refused = await _refused(connection, [one.request.fence for one in waiting if one.request.fence])
    return batch


async def _lock_streams(connection: AsyncConnection[Any], batch: _Batch, names: Iterable[str]) -> None:
    cursor = await connection.execute(_LOCK, (TextArray(list(names)),))
    for transaction, name, *state in await cursor.fetchall():
        batch.transaction = transaction
        batch.streams[name] = StreamState(*state)


async def _refused(connection: AsyncConnection[Any], fences: Sequence[Fence]) -> set[Fence]:
    """Check the highest token of each name, in the names' order; returns those that are outdated."""
    highest: dict[str, Fence] = {}
    for fence in fences:
        if fence.name not in highest or highest[fence.name].token < fence.token:
            highest[fence.name] = fence
    refused = {fence for fence in fences if fence != highest[fence.name]}
    for name in sorted(highest):
        try:
            await check_postgres_fence(connection, highest[name])
        except Fenced:
            refused.add(highest[name])
    return refused


async def _take(connection: AsyncConnection[Any], batch: _Batch, waiting: _Waiting, types: dict[str, int]) -> None:
    """Decide about one append and add its rows to the batch."""
    request = waiting.request
    if request.fence is not None and request.fence in batch.refused:
        batch.outcomes.append((waiting, outdated(request.fence)))
        return
    state = batch.streams[request.stream]
    verdict = decide(request, state)
    if isinstance(verdict, Compare):
        ids = await _ids(connection, state.number, verdict.version, len(request.drafts))
        final = compared(request, state, verdict.version, ids)
    else:
        final = verdict
    if final is Verdict.LATER or (final is Verdict.WRITE and state.transaction >= batch.transaction):
        waiting.deferred += 1
        batch.later.append(waiting)
    elif final is Verdict.WRITE:
        batch.outcomes.append((waiting, _add(batch, request, state, types)))
    else:
        batch.outcomes.append((waiting, final))


def _add(batch: _Batch, request: Request, state: StreamState, types: dict[str, int]) -> Outcome:
    stream, seal, number = request.stream, request.seal, state.number
    rows = []
    try:
        for version, draft in enumerate(request.drafts, state.version + 1):
            payload, personal = draft.sealed(stream, version, seal)
            kind = types[draft.type]
            rows.append((number, version, kind, draft.id, draft.time, draft.attributes, payload, personal))
    except SuiteError as error:
        return error
    if not state.touched:
        batch.touched.append(state)
    written = Written(place(request, state), len(batch.rows) + 1, batch.transaction)
    batch.rows += rows
    return written


async def _store(connection: AsyncConnection[Any], batch: _Batch) -> None:
    touched = batch.touched
    streams, versions, types, ids, times, attributes, payloads, personal = zip(*batch.rows, strict=True)
    await connection.execute(
        _STORE,
        (
            batch.transaction,
            BigintArray([state.number for state in touched]),
            IntegerArray([state.version for state in touched]),
            TextArray([state.last_id or "" for state in touched]),
            batch.transaction,
            BigintArray(streams),
            IntegerArray(versions),
            IntegerArray(types),
            TextArray(ids),
            TextArray(times),
            ByteaArray(attributes),
            ByteaArray(payloads),
            ByteaArray(personal),
        ),
        prepare=True,
    )


async def _ids(connection: AsyncConnection[Any], stream: int, version: int, count: int) -> list[str]:
    cursor = await connection.execute(
        "SELECT id FROM events WHERE stream = %s AND version >= %s ORDER BY version LIMIT %s",
        (stream, version, count),
    )
    return [id_ for (id_,) in await cursor.fetchall()]
