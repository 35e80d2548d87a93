"""Wrapped keys of data subjects in a SQLite file."""

import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

import anyio.to_thread
import orjson

from quantum_suite.services.databases.sqlite import SqliteDatabase, sqlite_errors
from quantum_suite.services.encryption.interface import KeyProvider
from quantum_suite.services.encryption.subjects.interface import WrappedKey
from quantum_suite.services.encryption.subjects.wrapped import FORGET_SECONDS, WrappedSubjectKeys

logger = logging.getLogger(__name__)

T = TypeVar("T")

MIGRATIONS = (
    """
CREATE TABLE subject_keys (id TEXT PRIMARY KEY, subject TEXT NOT NULL UNIQUE, wrapped BLOB NOT NULL) STRICT;
CREATE TABLE erasures (count INTEGER NOT NULL) STRICT;
INSERT INTO erasures (count) VALUES (0);
""",
)
_OF_SUBJECTS = "SELECT id, subject, wrapped FROM subject_keys WHERE subject IN (SELECT value FROM json_each(?))"
_OF_IDS = "SELECT id, subject, wrapped FROM subject_keys WHERE id IN (SELECT value FROM json_each(?))"


class SqliteSubjectKeyRows:
    """Keeps the rows in a file of their own.

    Deleted rows are overwritten (`PRAGMA secure_delete`), and the write-ahead log, which holds older pages, is
    written back and truncated after every erasure. Copies made of the file before still hold the row.
    """

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    async def erasures(self) -> int:
        """Return how many erasures there were."""
        return await self._read(lambda db: int(db.execute("SELECT count FROM erasures").fetchone()[0]))

    async def of_subjects(self, subjects: Sequence[str]) -> list[WrappedKey]:
        """Return the keys of those subjects that have one."""
        return await self._among(_OF_SUBJECTS, subjects)

    async def of_ids(self, key_ids: Sequence[str]) -> list[WrappedKey]:
        """Return the keys of these names."""
        return await self._among(_OF_IDS, key_ids)

    async def add(self, keys: Sequence[WrappedKey]) -> None:
        """Add keys of subjects that have none."""

        def work(db: sqlite3.Connection) -> None:
            db.executemany("INSERT OR IGNORE INTO subject_keys (id, subject, wrapped) VALUES (?, ?, ?)", keys)

        await self._write(work)

    async def remove(self, subject: str) -> bool:
        """Delete and overwrite the subject's key."""

        def work(db: sqlite3.Connection) -> bool:
            removed = db.execute("DELETE FROM subject_keys WHERE subject = ?", (subject,)).rowcount > 0
            if removed:
                db.execute("UPDATE erasures SET count = count + 1")
            return removed

        removed = await self._write(work)
        # Also where nothing was removed now: an earlier attempt may have been cut short right before this.
        await anyio.to_thread.run_sync(self._truncate_log)
        return removed

    async def page(self, after_id: str, limit: int) -> list[WrappedKey]:
        """Return keys by name."""
        query = "SELECT id, subject, wrapped FROM subject_keys WHERE id > ? ORDER BY id LIMIT ?"
        return await self._read(lambda db: [WrappedKey(*row) for row in db.execute(query, (after_id, limit))])

    async def replace(self, key_id: str, old: bytes, new: bytes) -> bool:
        """Put `new` in the place of `old`."""
        query = "UPDATE subject_keys SET wrapped = ? WHERE id = ? AND wrapped = ?"
        return await self._write(lambda db: db.execute(query, (new, key_id, old)).rowcount > 0)

    async def count(self) -> int:
        """Return how many keys there are."""
        return await self._read(lambda db: int(db.execute("SELECT count(*) FROM subject_keys").fetchone()[0]))

    async def _among(self, query: str, values: Sequence[str]) -> list[WrappedKey]:
        wanted = orjson.dumps(list(values)).decode()
        return await self._read(lambda db: [WrappedKey(*row) for row in db.execute(query, (wanted,))])

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._database.read(work)

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def securely(db: sqlite3.Connection) -> T:
            db.execute("PRAGMA secure_delete = ON").fetchone()
            return work(db)

        return await self._database.write(securely)

    def _truncate_log(self) -> None:
        with sqlite_errors(self._database.path), closing(self._database.connect()) as connection:
            (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            logger.warning(
                "%s-wal could not be truncated while others read: it holds an erased key, wrapped, until it is.",
                self._database.path,
            )


@contextmanager
def open_sqlite_subject_keys(
    path: Path, provider: KeyProvider, *, forget_seconds: float = FORGET_SECONDS
) -> Iterator[WrappedSubjectKeys]:
    """Open the subjects' keys in the file `path`."""
    with SqliteDatabase(path, MIGRATIONS) as database:
        yield WrappedSubjectKeys(SqliteSubjectKeyRows(database), provider, forget_seconds=forget_seconds)
