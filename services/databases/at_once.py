"""Writes an SQLite file on the event loop itself, as long as nothing has to be waited for.

A small transaction takes some 0.1 ms, and to hand it to a thread and be woken by it several times that. So it is
done where it is asked for, on a connection that waits neither for a lock (then a thread does) nor for a
disk: a commit is in the kernel's hands once it is made, which outlives a killed process. What a machine loses that
goes down is bounded: a thread brings everything onto the disk that is older than a second.
"""

import sqlite3
import threading
from collections.abc import Callable

import anyio.to_thread

from quantum_suite.core.errors import SuiteError, Unavailable
from quantum_suite.services.databases.sqlite import SqliteDatabase, sqlite_errors

Work = Callable[[sqlite3.Connection], object]

UNSYNCED_SECONDS = 1.0
"""How old a commit may become before it is safe from a loss of power."""


class ProcessSafeDatabase(SqliteDatabase):
    """A file whose commits survive the process at once, and the machine after a checkpoint."""

    def connect(self) -> sqlite3.Connection:
        """Return another connection that waits for the disk at checkpoints alone."""
        connection = super().connect()
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection


class AtOnceWriter:
    """Makes transactions of a `ProcessSafeDatabase`, and keeps them from being lost. Safe across threads."""

    def __init__(self, database: ProcessSafeDatabase, *, unsynced_seconds: float = UNSYNCED_SECONDS) -> None:
        self._database = database
        self._unsynced_seconds = unsynced_seconds
        self._lock = threading.Lock()
        self._impatient: sqlite3.Connection | None = None
        self._syncing: threading.Thread | None = None
        self._written = threading.Event()
        self._closing = threading.Event()

    async def write(self, work: Work) -> None:
        """Run `work` in a transaction that is committed when this returns, or undone whole.

        A cancelled caller still waits for the transaction to end.
        """
        if self._impatient is None:
            await anyio.to_thread.run_sync(self._open)
        if not self._write_at_once(work):
            await self._database.write(work)
        if not self._written.is_set():
            self._written.set()

    def close(self) -> None:
        """Have the disk take what was written, and end. Blocks until then. Idempotent."""
        self._closing.set()
        self._written.set()
        if self._syncing is not None:
            self._syncing.join()
        with self._lock:
            if self._impatient is not None:
                self._impatient.close()
            self._impatient = None

    def _open(self) -> None:
        # The first transaction makes the file and brings it up to date.
        self._database.write_now(lambda connection: connection.execute("SELECT 1"))
        with self._lock, sqlite_errors(self._database.path):
            if self._closing.is_set():
                raise Unavailable(f"{self._database.path} is closed.")
            if self._impatient is not None:
                return
            connection = self._database.connect()
            connection.execute("PRAGMA busy_timeout=0")
            # A checkpoint waits for the disk.
            connection.execute("PRAGMA wal_autocheckpoint=0")
            self._impatient = connection
            self._syncing = threading.Thread(target=self._sync, name="at-once-sync", daemon=True)
            self._syncing.start()

    def _write_at_once(self, work: Work) -> bool:
        """Return whether it could be done without waiting for anybody."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            connection = self._impatient
            if connection is None:
                return False
            return _transaction(connection, work)
        except (sqlite3.DatabaseError, OSError):
            with sqlite_errors(self._database.path):
                raise
        finally:
            self._lock.release()

    def _sync(self) -> None:
        """Bring what is committed onto the disk, again and again. What cannot be brought now is tried again."""
        connection: sqlite3.Connection | None = None
        try:
            ending = False
            while not ending:
                self._written.wait()
                self._closing.wait(self._unsynced_seconds)
                # In this order: who closes sets both, the other way round.
                self._written.clear()
                ending = self._closing.is_set()
                try:
                    with sqlite_errors(self._database.path):
                        connection = connection or self._database.connect()
                        busy, logged, kept = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                except SuiteError:
                    busy, logged, kept = 1, 0, 0
                if busy or logged != kept:
                    self._written.set()
        finally:
            if connection is not None:
                connection.close()


def _transaction(connection: sqlite3.Connection, work: Work) -> bool:
    """Run `work` in a transaction; return False where another connection writes just now."""
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            return False
        raise
    try:
        work(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return True
