"""The audit chain in a SQLite file."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path

from quantum_suite.core.events import Fence
from quantum_suite.services.audit.chain.checkpoints import Checkpoint
from quantum_suite.services.audit.chain.interface import PAGE_ROWS
from quantum_suite.services.audit.chain.memory import moved, signed_already
from quantum_suite.services.audit.chain.records import START, ChainHead, ChainRow, position_in
from quantum_suite.services.databases.fences import SQLITE_FENCES, check_sqlite_fence
from quantum_suite.services.databases.sqlite import Insertion, SqliteDatabase

MIGRATIONS = (
    f"""
CREATE TABLE records (number INTEGER PRIMARY KEY, record BLOB NOT NULL, hash BLOB NOT NULL) STRICT;
CREATE TABLE checkpoints (
    number INTEGER PRIMARY KEY, position TEXT NOT NULL, hash TEXT NOT NULL, time TEXT NOT NULL,
    key_id TEXT NOT NULL, previous TEXT NOT NULL, signature TEXT NOT NULL) STRICT;
{SQLITE_FENCES};
""",
)
_RECORDS = Insertion("records", 3)
_HEAD = "SELECT number, record, hash FROM records ORDER BY number DESC LIMIT 1"
_PAGE = "SELECT number, record, hash FROM records WHERE number > ? ORDER BY number LIMIT ?"
_ALL_CHECKPOINTS = "SELECT number, position, hash, time, key_id, previous, signature FROM checkpoints "


class SqliteAuditChain:
    """Keeps the chain in a file of its own, apart from the events it proves."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    async def head(self) -> ChainHead:
        """Return the last record."""
        return await self._database.read(_head)

    async def append(self, after: ChainHead, rows: Sequence[ChainRow], fence: Fence) -> None:
        """Add rows after `after`."""

        def work(db: sqlite3.Connection) -> None:
            check_sqlite_fence(db, fence)
            if _head(db) != after:
                raise moved(after)
            _RECORDS.into(db, rows)

        await self._database.write(work)

    async def add_checkpoint(self, checkpoint: Checkpoint, fence: Fence) -> None:
        """Add a checkpoint."""

        def work(db: sqlite3.Connection) -> None:
            check_sqlite_fence(db, fence)
            added = db.execute(
                "INSERT OR IGNORE INTO checkpoints VALUES (?, ?, ?, ?, ?, ?, ?)", astuple(checkpoint)
            )
            if added.rowcount == 0:
                raise signed_already(checkpoint)

        await self._database.write(work)

    async def checkpoints(self, after_number: int = 0) -> list[Checkpoint]:
        """Return the checkpoints after a number."""
        query = _ALL_CHECKPOINTS + "WHERE number > ? ORDER BY number"
        return await self._database.read(
            lambda db: [Checkpoint(*row) for row in db.execute(query, (after_number,))]
        )

    async def last_checkpoint(self) -> Checkpoint | None:
        """Return the newest checkpoint."""
        query = _ALL_CHECKPOINTS + "ORDER BY number DESC LIMIT 1"
        row = await self._database.read(lambda db: db.execute(query).fetchone())
        return None if row is None else Checkpoint(*row)

    async def page(self, after_number: int, limit: int = PAGE_ROWS) -> list[ChainRow]:
        """Return rows after a number."""
        return await self._database.read(lambda db: db.execute(_PAGE, (after_number, limit)).fetchall())


@contextmanager
def open_sqlite_audit_chain(path: Path) -> Iterator[SqliteAuditChain]:
    """Open the chain in the file `path`."""
    with SqliteDatabase(path, MIGRATIONS) as database:
        yield SqliteAuditChain(database)


def _head(db: sqlite3.Connection) -> ChainHead:
    row = db.execute(_HEAD).fetchone()
    return START if row is None else ChainHead(row[0], row[2], position_in(row[1]))
