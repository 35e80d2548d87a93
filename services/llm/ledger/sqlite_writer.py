"""One thread writes the ledger's file, and each of its transactions takes all that waits.

A commit waits for no disk: it is in the kernel's hands once it is made, which outlives a killed process. What a
machine loses that goes down is bounded: the thread has everything written that is older than a second.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from quantum_suite.core.errors import SuiteError, Unavailable
from quantum_suite.services.databases.sqlite import SqliteDatabase, sqlite_errors
from quantum_suite.services.events.planning import copied

Work = Callable[[sqlite3.Connection], None]
"""Reads, then writes. Raises errors of the tree before it has written anything, which does no neighbour harm."""

UNSYNCED_SECONDS = 1.0
"""How old a commit may become before it is safe from a loss of power."""

_MOST_AT_ONCE = 500


class ProcessSafeDatabase(SqliteDatabase):
    """A file whose commits survive the process at once, and the machine after a checkpoint or `sync`."""

    def connect(self) -> sqlite3.Connection:
        """Return another connection that waits for the disk at checkpoints alone."""
        connection = super().connect()
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection


@dataclass(slots=True, eq=False)
class _Waiting:
    work: Work
    loop: asyncio.AbstractEventLoop
    answer: "asyncio.Future[None]"


class LedgerWriter:
    """The thread. Started by the first work, ended by `close`."""

    def __init__(self, database: SqliteDatabase, *, unsynced_seconds: float = UNSYNCED_SECONDS) -> None:
        self._database = database
        self._unsynced_seconds = unsynced_seconds
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._sync_at: float | None = None
        self._syncing: sqlite3.Connection | None = None

    def submit(self, work: Work) -> "asyncio.Future[None]":
        """Hand over some work; the future is done when it is committed, or has its error: Unavailable once closed.

        What is handed over is done in this order, also where nobody waits any more.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[None] = loop.create_future()
        with self._lock:
            if self._closed:
                answer.set_exception(Unavailable(f"{self._database.path} is closed."))
                return answer
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="model-ledger-writer", daemon=True)
                self._thread.start()
            self._waiting.put(_Waiting(work, loop, answer))
        return answer

    def close(self) -> None:
        """Write what waits, have the disk take it, and end the thread. Blocks until then. Idempotent."""
        with self._lock:
            self._closed = True
            self._waiting.put(None)
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        ended = False
        while not ended:
            batch, ended = self._next()
            if batch:
                self._commit(batch)
            if self._sync_at is not None and (ended or time.monotonic() >= self._sync_at):
                self._sync()
        if self._syncing is not None:
            self._syncing.close()

    def _next(self) -> tuple[list[_Waiting], bool]:
        """Wait for work, no longer than until the disk has to be waited for; and whether there will be no more."""
        batch: list[_Waiting] = []
        patience = None if self._sync_at is None else max(0.0, self._sync_at - time.monotonic())
        with contextlib.suppress(queue.Empty):
            one = self._waiting.get(timeout=patience)
            while one is not None:
                batch.append(one)
                if len(batch) >= _MOST_AT_ONCE:
                    return batch, False
                one = self._waiting.get_nowait()
            return batch, True
        return batch, False

    def _commit(self, batch: list[_Waiting]) -> None:
        errors: list[Exception | None] = []
        try:
            self._database.write_now(lambda connection: errors.extend(_tried(connection, one) for one in batch))
        except Exception as error:
            errors = [copied(error) for _ in batch]
        else:
            if self._sync_at is None:
                self._sync_at = time.monotonic() + self._unsynced_seconds
        done = list(zip(batch, errors, strict=True))
        for loop in {one.loop for one in batch}:
            answers = [(one.answer, error) for one, error in done if one.loop is loop]
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
                loop.call_soon_threadsafe(_hand_out, answers)

    def _sync(self) -> None:
        """Bring what is committed onto the disk. What cannot be brought there now is tried again."""
        self._sync_at = None
        try:
            with sqlite_errors(self._database.path):
                if self._syncing is None:
                    self._syncing = self._database.connect()
                busy, logged, kept = self._syncing.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except SuiteError:
            busy, logged, kept = 1, 0, 0
        if busy or logged != kept:
            self._sync_at = time.monotonic() + self._unsynced_seconds


def _tried(connection: sqlite3.Connection, one: _Waiting) -> SuiteError | None:
    try:
        one.work(connection)
    except SuiteError as error:
        return error
    return None


def _hand_out(answers: "list[tuple[asyncio.Future[None], Exception | None]]") -> None:
    for answer, error in answers:
        if answer.done():
            continue
        if error is None:
            answer.set_result(None)
        else:
            answer.set_exception(error)
