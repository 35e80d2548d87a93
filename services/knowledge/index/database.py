"""The SQLite file of an index.

It can always be made again from the workspace, so a commit does not wait for the disk: a killed process loses
nothing, a machine that loses its power at most the last moments, and never the file's soundness.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from quantum_suite.core.errors import Damaged
from quantum_suite.services.databases.sqlite import SqliteDatabase

T = TypeVar("T")

MADE_BY = 1
"""Raised when parsers, words or chunks change: what an older release made is made again."""

_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE files (
    id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL UNIQUE, language TEXT NOT NULL,
    size INTEGER NOT NULL, modified_ns INTEGER NOT NULL, changed_ns INTEGER NOT NULL, inode INTEGER NOT NULL,
    seen_ns INTEGER NOT NULL, digest BLOB NOT NULL, lines INTEGER NOT NULL, errors INTEGER NOT NULL,
    imports TEXT NOT NULL, reason TEXT, made_by INTEGER NOT NULL) STRICT;
CREATE TABLE chunks (
    id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, file INTEGER NOT NULL, kind TEXT NOT NULL,
    name TEXT NOT NULL, qualified_name TEXT NOT NULL, signature TEXT NOT NULL, docstring TEXT NOT NULL,
    start_line INTEGER NOT NULL, end_line INTEGER NOT NULL, text TEXT NOT NULL, is_document INTEGER NOT NULL,
    model TEXT) STRICT;
CREATE INDEX chunks_by_file ON chunks (file);
CREATE INDEX chunks_without_vector ON chunks (id) WHERE model IS NULL;
CREATE VIRTUAL TABLE code_words USING fts5 (
    name, docs, body, content='', tokenize="porter unicode61 remove_diacritics 2 tokenchars '_'");
CREATE VIRTUAL TABLE document_words USING fts5 (
    name, docs, body, content='', tokenize="porter unicode61 remove_diacritics 2 tokenchars '_'");
CREATE TABLE symbols (
    id INTEGER PRIMARY KEY AUTOINCREMENT, file INTEGER NOT NULL, ordinal INTEGER NOT NULL, name TEXT NOT NULL,
    folded TEXT NOT NULL, qualified_name TEXT NOT NULL, kind TEXT NOT NULL, line INTEGER NOT NULL,
    end_line INTEGER NOT NULL, signature TEXT NOT NULL, rank REAL NOT NULL DEFAULT 0) STRICT;
CREATE INDEX symbols_by_file ON symbols (file, ordinal);
CREATE INDEX symbols_by_name ON symbols (folded);
CREATE INDEX symbols_by_rank ON symbols (rank DESC);
CREATE TABLE uses (
    name TEXT NOT NULL, file INTEGER NOT NULL, places BLOB NOT NULL,
    PRIMARY KEY (name, file)) STRICT, WITHOUT ROWID;
CREATE TABLE orphans (key TEXT PRIMARY KEY, is_document INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"""
_BY_FILE_AND_NAME = """
DROP INDEX chunks_by_file;
CREATE INDEX chunks_by_file ON chunks (file, name)
"""
_CACHE_KIB = 64 * 1024


class IndexDatabase(SqliteDatabase):
    """The file of one index; safe across processes."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, [_SCHEMA, _BY_FILE_AND_NAME])

    def read_now(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """`read` for a caller that is in a thread of its own."""
        with _remade_when_damaged(self.path):
            return super().read_now(work)

    def write_now(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """`write` for a caller that is in a thread of its own."""
        with _remade_when_damaged(self.path):
            return super().write_now(work)

    def connect(self) -> sqlite3.Connection:
        """Return another connection, to be closed by the caller."""
        connection = super().connect()
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        connection.execute("PRAGMA temp_store=MEMORY")
        return connection


@contextmanager
def _remade_when_damaged(path: Path) -> Iterator[None]:
    """Say what to do about damage: there is no backup of an index, and no need of one."""
    try:
        yield
    except Damaged as error:
        raise Damaged(
            error.message, f"End the suite, delete {path.parent}, and call index_workspace: it makes it anew."
        ) from error


def fact(connection: sqlite3.Connection, name: str) -> str | None:
    """Return something the index knows of itself."""
    row = connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def set_fact(connection: sqlite3.Connection, name: str, value: str | None) -> None:
    """Note something of the index itself; None forgets it."""
    if value is None:
        connection.execute("DELETE FROM facts WHERE name = ?", (name,))
    else:
        connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))


def next_generation(connection: sqlite3.Connection) -> None:
    """Note that files, chunks or symbols changed: what was remembered of them is to be read anew."""
    set_fact(connection, "generation", str(int(fact(connection, "generation") or 0) + 1))


def words_table(*, document: bool) -> str:
    """Return the table of words: code and documents have one each, as common words differ between them."""
    return "document_words" if document else "code_words"
