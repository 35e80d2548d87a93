"""Group commit on SQLite: one thread writes, and each transaction takes every append that waits.

While one transaction is being synced to disk the next ones queue up, so that the cost of a sync is shared. An
append that fails its checks takes no part in the transaction and does its neighbours no harm.
"""

import asyncio
import contextlib
import sqlite3
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from quantum_suite.core.errors import Fenced, SuiteError, Unavailable
from quantum_suite.services.databases.fences import SQLITE_FENCES, check_sqlite_fence
from quantum_suite.services.databases.sqlite import Insertion, SqliteDatabase
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

MIGRATIONS = (
    f"""
CREATE TABLE streams (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE types (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE events (
    sequence INTEGER PRIMARY KEY, stream INTEGER NOT NULL, version INTEGER NOT NULL, id TEXT NOT NULL,
    type INTEGER NOT NULL, time TEXT NOT NULL, attributes BLOB NOT NULL, payload BLOB NOT NULL,
    personal BLOB NOT NULL) STRICT;
CREATE UNIQUE INDEX events_by_stream ON events (stream, version);
CREATE TABLE snapshots (
    stream TEXT PRIMARY KEY, version INTEGER NOT NULL, schema INTEGER NOT NULL, state BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
{SQLITE_FENCES}
""",
)
"""The file's layout, version by version."""

TRANSACTION_EVENTS = 10_000
"""A transaction takes no further append once it holds so many events."""

REMEMBERED_STREAMS = 100_000

_STREAMS = """
SELECT s.name, s.number, e.version, e.id FROM streams s
JOIN events e ON e.stream = s.number
    AND e.version = (SELECT max(version) FROM events WHERE stream = s.number)
WHERE s.name IN (SELECT value FROM json_each(?))
"""

_EVENTS = Insertion("events", 9)


@dataclass(slots=True, eq=False)
class _Waiting:
    request: Request
    loop: asyncio.AbstractEventLoop
    answer: "asyncio.Future[Outcome]"


@dataclass(slots=True)
class _Known:
    """What lies in the file, remembered for as long as nobody else writes to it."""

    data_version: int | None = None
    sequence: int = 0
    stream: int = 0
    streams: dict[str, StreamState] = field(default_factory=dict)
    types: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Batch:
    """What a transaction is about to store."""

    events: list[tuple[Any, ...]] = field(default_factory=list)
    streams: list[tuple[int, str]] = field(default_factory=list)
    touched: list[StreamState] = field(default_factory=list)
    outcomes: list[tuple[_Waiting, Outcome | Exception]] = field(default_factory=list)
    later: list[_Waiting] = field(default_factory=list)


class GroupCommitWriter:
    """The thread that writes. Started by the first append, ended by `close`."""

    def __init__(self, database: SqliteDatabase, on_commit: Callable[[], None]) -> None:
        self._database = database
        self._on_commit = on_commit
        self._known = _Known()
        self._changed = threading.Condition()
        self._waiting: deque[_Waiting] = deque()
        self._thread: threading.Thread | None = None
        self._closed = False

    async def submit(self, request: Request) -> Outcome:
        """Return what became of an append. Cancelled, it leaves open whether the events are stored."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(request, loop, loop.create_future())
        with self._changed:
            if self._closed:
                raise Unavailable(f"{self._database.path} is closed.")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="event-store-writer", daemon=True)
                self._thread.start()
            self._waiting.append(waiting)
            self._changed.notify()
        return await waiting.answer

    def close(self) -> None:
        """Write what waits, and end the thread. Blocks until then."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while batch := self._next():
            _answer(self._commit(batch))

    def _next(self) -> list[_Waiting]:
        """Wait for appends; returns none when there will be no more."""
        with self._changed:
            batch: list[_Waiting] = []
            events = 0
            while not batch and not (self._closed and not self._waiting):
                self._changed.wait_for(lambda: self._waiting or self._closed)
                while self._waiting and events < TRANSACTION_EVENTS:
                    waiting = self._waiting.popleft()
                    if not waiting.answer.cancelled():
                        batch.append(waiting)
                        events += len(waiting.request.drafts)
            return batch

    def _commit(self, waiting: list[_Waiting]) -> "list[tuple[_Waiting, Outcome | Exception]]":
        try:
            batch = self._database.write_now(lambda connection: self._write(connection, waiting))
        except Exception as error:
            self._known = _Known()
            return [(one, copied(error)) for one in waiting]
        for state in batch.touched:
            state.touched = False
        if batch.later:
            with self._changed:
                self._waiting.extendleft(reversed(batch.later))
        if batch.events:
            self._on_commit()
        return batch.outcomes

    def _write(self, connection: sqlite3.Connection, waiting: Sequence[_Waiting]) -> _Batch:
        known, batch = self._catch_up(connection), _Batch()
        missing = {one.request.stream for one in waiting}.difference(known.streams)
        if missing:
            _load(connection, known, missing)
        for one in waiting:
            outcome = self._take(connection, batch, one.request)
            if outcome is None:
                batch.later.append(one)
            else:
                batch.outcomes.append((one, outcome))
        if batch.streams:
            connection.executemany("INSERT INTO streams (number, name) VALUES (?, ?)", batch.streams)
        if batch.events:
            _EVENTS.into(connection, batch.events)
        return batch

    def _catch_up(self, connection: sqlite3.Connection) -> _Known:
        """Return what is known, afresh when another process has written since."""
        (data_version,) = connection.execute("PRAGMA data_version").fetchone()
        known = self._known
        if known.data_version == data_version and len(known.streams) <= REMEMBERED_STREAMS:
            return known
        (sequence,) = connection.execute("SELECT coalesce(max(sequence), 0) FROM events").fetchone()
        (stream,) = connection.execute("SELECT coalesce(max(number), 0) FROM streams").fetchone()
        types = {name: number for number, name in connection.execute("SELECT number, name FROM types")}
        self._known = _Known(data_version, sequence, stream, types=types)
        return self._known

    def _take(self, connection: sqlite3.Connection, batch: _Batch, request: Request) -> Outcome | Exception | None:
        """Decide about one append and add its rows to the batch; None when it has to wait."""
        try:
            if request.fence is not None:
                check_sqlite_fence(connection, request.fence)
        except Fenced as error:
            return error
        state = self._known.streams.get(request.stream) or StreamState(self._known.stream + 1)
        verdict = decide(request, state)
        if isinstance(verdict, Compare):
            ids = _ids(connection, state.number, verdict.version, len(request.drafts))
            final = compared(request, state, verdict.version, ids)
        else:
            final = verdict
        if final is Verdict.LATER:
            return None
        return self._add(connection, batch, request, state) if final is Verdict.WRITE else final

    def _add(
        self, connection: sqlite3.Connection, batch: _Batch, request: Request, state: StreamState
    ) -> Written | Exception:
        known, stream, seal = self._known, request.stream, request.seal
        rows: list[tuple[Any, ...]] = []
        try:
            for n, draft in enumerate(request.drafts, 1):
                kind = known.types.get(draft.type) or _new_type(connection, known, draft.type)
                version = state.version + n
                payload, personal = draft.sealed(stream, version, seal)
                rows.append(
                    (
                        known.sequence + n,
                        state.number,
                        version,
                        draft.id,
                        kind,
                        draft.time,
                        draft.attributes,
                        payload,
                        personal,
                    )
                )
        except SuiteError as error:
            return error
        if stream not in known.streams:
            known.streams[stream] = state
            known.stream = state.number
            batch.streams.append((state.number, stream))
        batch.events += rows
        batch.touched.append(state)
        written = Written(place(request, state), known.sequence + 1)
        known.sequence += len(rows)
        return written


def _load(connection: sqlite3.Connection, known: _Known, names: set[str]) -> None:
    # A JSON array in one parameter: names hold nothing that would need escaping.
    listed = '["' + '","'.join(names) + '"]'
    for name, number, version, last_id in connection.execute(_STREAMS, (listed,)):
        known.streams[name] = StreamState(number, version, last_id)


def _ids(connection: sqlite3.Connection, stream: int, version: int, count: int) -> list[str]:
    rows = connection.execute(
        "SELECT id FROM events WHERE stream = ? AND version >= ? ORDER BY version LIMIT ?",
        (stream, version, count),
    )
    return [id_ for (id_,) in rows]


def _new_type(connection: sqlite3.Connection, known: _Known, name: str) -> int:
    (number,) = connection.execute("INSERT INTO types (name) VALUES (?) RETURNING number", (name,)).fetchone()
    known.types[name] = number
    return int(number)


def _answer(outcomes: "list[tuple[_Waiting, Outcome | Exception]]") -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Outcome], Outcome | Exception]]]
    by_loop = defaultdict(list)
    for waiting, outcome in outcomes:
        by_loop[waiting.loop].append((waiting.answer, outcome))
    for loop, answers in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
            loop.call_soon_threadsafe(_hand_out, answers)


def _hand_out(answers: "list[tuple[asyncio.Future[Outcome], Outcome | Exception]]") -> None:
    for answer, outcome in answers:
        if answer.done():
            continue
        if isinstance(outcome, Exception):
            answer.set_exception(outcome)
        else:
            answer.set_result(outcome)
