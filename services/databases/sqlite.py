"""One SQLite file: opened safely, brought up to date, used from worker threads.

WAL with `synchronous=FULL`: what was committed survives a crash of the machine.
"""

import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from anyio.lowlevel import RunVar

from quantum_suite.core.errors import ConfigurationError, Damaged, SuiteError, Unavailable

T = TypeVar("T")

BUSY_SECONDS = 30.0
_CLOSING_SECONDS = 1.0
_BUSY_PAUSE_SECONDS = 0.005
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class SqliteDatabase:
    """A file with one connection for writing and one for reading, each used by one thread at a time.

    `migrations[n]` is the script that takes the schema from version n to n + 1 (`PRAGMA user_version`); scripts
    are never edited once released. Safe across threads and processes. Opened on first use, mode 0600.
    """

    def __init__(self, path: Path, migrations: Sequence[str], *, busy_seconds: float = BUSY_SECONDS) -> None:
        self.path = path
        self._migrations = tuple(migrations)
        self._busy_seconds = busy_seconds
        self._reading = threading.Lock()
        self._writing = threading.Lock()
        self._reader: sqlite3.Connection | None = None
        self._writer: sqlite3.Connection | None = None
        self._closed = False
        # Who waits for a connection does so in the event loop, and keeps no thread from others.
        self._readers: RunVar[CapacityLimiter] = RunVar("SQLite readers")
        self._writers: RunVar[CapacityLimiter] = RunVar("SQLite writers")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in a worker thread, in a transaction that sees one state of the database."""
        return await anyio.to_thread.run_sync(self.read_now, work, limiter=_one_at_a_time(self._readers))

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in a worker thread, in a transaction that is committed when this returns, or undone whole.

        A cancelled caller still waits for the transaction to end.
        """
        return await anyio.to_thread.run_sync(self.write_now, work, limiter=_one_at_a_time(self._writers))

    def read_now(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """`read` for a caller that is in a thread of its own."""
        with self._reading, sqlite_errors(self.path):
            if self._reader is None:
                with self._writing:
                    self._write_connection()
                self._reader = self.connect()
            return _in_transaction(self._reader, "BEGIN", work)

    def write_now(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """`write` for a caller that is in a thread of its own."""
        with self._writing, sqlite_errors(self.path):
            return _in_transaction(self._write_connection(), "BEGIN IMMEDIATE", work)

    def connect(self) -> sqlite3.Connection:
        """Return another connection, in autocommit mode, to be closed by the caller."""
        if self._closed:
            raise Unavailable(f"{self.path} is closed.")
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self.path.exists():
            make_private(self.path)
        connection = sqlite3.connect(
            self.path, timeout=self._busy_seconds, isolation_level=None, check_same_thread=False
        )
        try:
            self._switch_to_wal(connection)
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=ON")
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Close the connections; later calls raise Unavailable. Idempotent."""
        with self._reading, self._writing:
            self._closed = True
            for connection in (self._reader, self._writer):
                if connection is not None:
                    connection.close()
            self._reader = self._writer = None

    def _write_connection(self) -> sqlite3.Connection:
        if self._writer is None:
            connection = self.connect()
            try:
                _in_transaction(connection, "BEGIN IMMEDIATE", self._migrate)
            except BaseException:
                connection.close()
                raise
            self._writer = connection
        return self._writer

    def _switch_to_wal(self, connection: sqlite3.Connection) -> None:
        """Have a new file use WAL. SQLite does not wait for others that do so at the same moment; this does.

        Who closes a file last removes its log: one that opens it just then meets an I/O error, and tries again.
        """
        began = time.monotonic()
        patience = {sqlite3.SQLITE_BUSY: self._busy_seconds, sqlite3.SQLITE_IOERR: _CLOSING_SECONDS}
        while True:
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                if time.monotonic() - began >= patience.get(error.sqlite_errorcode & 0xFF, 0):
                    raise
                time.sleep(_BUSY_PAUSE_SECONDS)

    def _migrate(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > len(self._migrations):
            raise ConfigurationError(
                f"{self.path} was written by a newer release (schema {version}, known: {len(self._migrations)}).",
                "Update the suite, or choose another data directory.",
            )
        for script in self._migrations[version:]:
            for statement in script.split(";\n"):
                if statement.strip():
                    connection.execute(statement)
        connection.execute(f"PRAGMA user_version={len(self._migrations)}")


class Insertion:
    """Inserts rows of one table, many a statement.

    The interpreter's lock is given up and taken again with every statement (and every row of `executemany`), which
    costs more than the insert itself while the event loop is busy.
    """

    def __init__(self, table: str, columns: int) -> None:
        row = f"({', '.join('?' * columns)})"
        insert = f"INSERT INTO {table} VALUES "  # noqa: S608 - the table is named by the code, never by data
        self._statements = tuple((rows, insert + ", ".join([row] * rows)) for rows in (256, 64, 16, 4, 1))

    def into(self, connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows, each of as many values as there are columns."""
        done = 0
        for size, statement in self._statements:
            while len(rows) - done >= size:
                connection.execute(statement, tuple(chain.from_iterable(rows[done : done + size])))
                done += size


def make_private(path: Path) -> None:
    """Make an empty file only this user may read; SQLite gives its -wal and -shm files the same mode.

    Made under another name and linked, because closing a database file drops every lock this process has on it
    (fcntl(2)): another process would then take the database for unused, and remove the log that is being written.
    """
    descriptor, made = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(descriptor)
    try:
        with suppress(FileExistsError):
            os.link(made, path)
    finally:
        Path(made).unlink()


def _one_at_a_time(limiters: RunVar[CapacityLimiter]) -> CapacityLimiter:
    """Return the event loop's own limiter, made on first use."""
    limiter = limiters.get(None)
    if limiter is None:
        limiter = CapacityLimiter(1)
        limiters.set(limiter)
    return limiter


def _in_transaction(connection: sqlite3.Connection, begin: str, work: Callable[[sqlite3.Connection], T]) -> T:
    connection.execute(begin)
    try:
        result = work(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system raise into errors of the tree."""
    try:
        yield
    except SuiteError:
        raise
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", None)
        if code is not None and code & 0xFF in _DAMAGE:
            raise Damaged(f"{path} is damaged: {error}.", "Restore it from a backup.") from error
        if isinstance(error, sqlite3.OperationalError):
            raise Unavailable(f"{path} cannot be used now: {error}.", "Free the disk or the lock.") from error
        raise
    except OSError as error:
        raise Unavailable(f"{path} cannot be used: {error.strerror}.", "Mend the data directory.") from error
