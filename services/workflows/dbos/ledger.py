"""Reads and writes of the orchestrator's database, without holding up the event loop.

Writes that come in together share one transaction, and so one wait for the disk.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import anyio
import anyio.abc
import anyio.to_thread
import psycopg

from quantum_suite.core.errors import Damaged, Unavailable
from quantum_suite.services.databases.postgres import LOST
from quantum_suite.services.workflows.dbos.background import background
from quantum_suite.services.workflows.dbos.engine import Engine
from quantum_suite.services.workflows.dbos.tables import DialectName, sql

if TYPE_CHECKING:
    import sqlalchemy

T = TypeVar("T")
Row = tuple[Any, ...]

_log = logging.getLogger(__name__)
_BATCH = 256
_READERS = 3
_POSTGRES_WRITERS = 3


class Transaction:
    """What the code of one transaction works with. Statements are written as `tables.sql` takes them."""

    def __init__(self, connection: sqlalchemy.Connection, dialect: DialectName) -> None:
        self.connection = connection
        self._dialect = dialect
        self._cursor = connection.connection.cursor()

    def run(self, text: str, *parameters: Any) -> int:
        """Execute a statement; returns how many rows it changed."""
        self._cursor.execute(sql(self._dialect, text), parameters)
        return int(self._cursor.rowcount)

    def one(self, text: str, *parameters: Any) -> Row | None:
        """Return the first row."""
        self._cursor.execute(sql(self._dialect, text), parameters)
        row: Row | None = self._cursor.fetchone()
        return row

    def all(self, text: str, *parameters: Any) -> list[Row]:
        """Return all rows."""
        self._cursor.execute(sql(self._dialect, text), parameters)
        return list(self._cursor.fetchall())


Work = Callable[[Transaction], T]


@dataclass(eq=False)
class _Item(Generic[T]):
    work: Work[T]
    done: anyio.Event = field(default_factory=anyio.Event)
    result: Any = None
    error: BaseException | None = None


class Ledger:
    """One database. Belongs to the event loop that opened it."""

    def __init__(self, engine: Engine, tasks: anyio.abc.TaskGroup, where: str) -> None:
        self.engine = engine
        self._tasks = tasks
        self._where = where
        self._pending: deque[_Item[Any]] = deque()
        self._writers = 1 if engine.dialect == "sqlite" else _POSTGRES_WRITERS
        self._writing = 0
        self._write_threads = anyio.CapacityLimiter(self._writers)
        self._read_threads = anyio.CapacityLimiter(_READERS)
        self.wrote = anyio.Event()

    async def write(self, work: Work[T]) -> T:
        """Run `work` in a transaction, perhaps together with others, and return its result once it is durable.

        `work` may be called more than once: it changes nothing but the database. A cancelled caller leaves it open
        whether it was done. Raises Unavailable while the database is away (then, too, it may have been done: work
        is written so that doing it again is harmless), and what `work` raises, after nothing of it was stored.
        """
        item: _Item[T] = _Item(work)
        self._pending.append(item)
        if self._writing < self._writers:
            self._writing += 1
            self._tasks.start_soon(self._drain)
        await item.done.wait()
        if item.error is not None:
            raise item.error
        return item.result  # type: ignore[no-any-return]  # what `work` returned

    async def read(self, work: Work[T]) -> T:
        """Run `work`, which changes nothing, and return its result. Raises Unavailable."""
        return await self.call(self._read, work)

    async def call(self, blocking: Callable[..., T], *arguments: Any) -> T:
        """Call what blocks on the database in a thread. Raises Unavailable."""

        def guarded() -> T:
            with database_errors(self._where):
                return blocking(*arguments)

        return await anyio.to_thread.run_sync(guarded, limiter=self._read_threads)

    def _read(self, work: Work[T]) -> T:
        with self.engine.connect() as connection:
            if self.engine.dialect == "sqlite":
                transaction = Transaction(connection, "sqlite")
                transaction.run("BEGIN")  # one state of the database, without the write lock
                try:
                    return work(transaction)
                finally:
                    transaction.run("ROLLBACK")
            with _discarding(connection):
                return work(Transaction(connection, "postgresql"))

    async def _drain(self) -> None:
        try:
            while self._pending:
                batch = [self._pending.popleft() for _ in range(min(_BATCH, len(self._pending)))]
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(self._commit, batch, limiter=self._write_threads)
                for item in batch:
                    item.done.set()
                self.wrote.set()
                self.wrote = anyio.Event()
        finally:
            self._writing -= 1

    def _commit(self, batch: Sequence[_Item[Any]]) -> None:
        """Commit all in one transaction; when one fails, each in its own, so that it fails alone."""
        try:
            self._together(batch)
        except BaseException as error:
            if len(batch) == 1:
                batch[0].error = error
                return
            if isinstance(error, Unavailable):
                for item in batch:
                    item.error = error
                return
            for item in batch:
                self._commit([item])

    def _together(self, batch: Sequence[_Item[Any]]) -> None:
        with (
            database_errors(self._where),
            self.engine.connect() as connection,
            connection.begin(),
            _discarding(connection),
        ):
            transaction = Transaction(connection, self.engine.dialect)
            for item in batch:
                item.result = item.work(transaction)


@contextmanager
def _discarding(connection: sqlalchemy.Connection) -> Iterator[None]:
    """Drop a connection that broke, in place of giving it back."""
    try:
        yield
    except LOST:
        if not connection.invalidated:
            connection.invalidate()
        raise


@contextmanager
def database_errors(where: str) -> Iterator[None]:
    """Turn what drivers raise for a database that is away, full or damaged into errors of the tree."""
    import sqlalchemy  # heavy; whoever comes here has it loaded already

    try:
        yield
    except (psycopg.Error, sqlite3.Error, sqlalchemy.exc.SQLAlchemyError) as error:
        cause = getattr(error, "orig", None) or error
        text = str(cause).partition("\n")[0]
        code = getattr(cause, "sqlite_errorcode", None)
        if code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise Damaged(f"{where} is damaged: {text}.", "Restore it from a backup.") from error
        away = (*LOST, sqlite3.OperationalError, sqlalchemy.exc.TimeoutError, sqlalchemy.exc.InterfaceError)
        # A connection lost while SQLAlchemy tries it is reported as what tidying it up ran into.
        if isinstance(cause, away) or isinstance(cause.__context__, LOST):
            raise Unavailable(f"{where} cannot be used now: {text}.", "Start it, or free its disk.") from error
        raise


@asynccontextmanager
async def open_ledger(engine: Engine, where: str) -> AsyncIterator[Ledger]:
    """Open a ledger; what was given to `write` before the block ends is still written."""
    async with background(cancel=False) as tasks:
        yield Ledger(engine, tasks, where)
