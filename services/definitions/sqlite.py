"""Definitions in an SQLite file."""

import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from quantum_suite.services.databases.sqlite import SqliteDatabase
from quantum_suite.services.definitions.interface import (
    MAX_NAMES,
    StoredDefinition,
    definition_not_found,
    next_version,
    too_many_names,
)

_MIGRATIONS = (
    """
CREATE TABLE definitions (
    name TEXT NOT NULL, version INTEGER NOT NULL, owner TEXT NOT NULL, shared INTEGER NOT NULL,
    source TEXT NOT NULL, has_run INTEGER NOT NULL DEFAULT 0, stored_at TEXT NOT NULL,
    PRIMARY KEY (name, version)) STRICT, WITHOUT ROWID;
CREATE INDEX definitions_by_owner ON definitions (owner, name);
""",
)
_COLUMNS = "name, version, owner, shared, source, has_run, stored_at"


class SqliteDefinitionStore:
    """Keeps definitions in the file at `path`, which is made on first use. Close it, or use it in a `with`."""

    def __init__(self, path: Path) -> None:
        self._database = SqliteDatabase(path, _MIGRATIONS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; later calls raise Unavailable."""
        self._database.close()

    async def put(
        self, name: str, source: str, owner: str, *, version: int | None = None, shared: bool = False
    ) -> StoredDefinition:
        def work(db: sqlite3.Connection) -> StoredDefinition:
            there = _versions(db, name)
            number = next_version(there, source, owner, version)
            known = next((one for one in there if one.version == number), None)
            if known is not None and known.source == source:
                return known
            names = db.execute("SELECT count(DISTINCT name) FROM definitions WHERE owner = ?", (owner,)).fetchone()
            if not there and names[0] >= MAX_NAMES:
                raise too_many_names(owner)
            now = datetime.now(UTC)
            db.execute(
                "INSERT OR REPLACE INTO definitions (name, version, owner, shared, source, stored_at) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (name, number, owner, shared, source, now.isoformat()),
            )
            return StoredDefinition(name, number, owner, shared, source, has_run=False, stored_at=now)

        return await self._database.write(work)

    async def get(self, name: str, version: int | None = None) -> StoredDefinition:
        for one in await self.versions(name):
            if version in (None, one.version):
                return one
        raise definition_not_found(name, version)

    async def versions(self, name: str) -> list[StoredDefinition]:
        return await self._database.read(lambda db: _versions(db, name))

    async def newest(self, visible_to: str | None = None) -> list[StoredDefinition]:
        query = (
            f"SELECT {_COLUMNS} FROM definitions AS one WHERE version = "  # noqa: S608  # constants only
            "(SELECT max(version) FROM definitions WHERE name = one.name) "
            "AND (?1 IS NULL OR shared OR owner = ?1) ORDER BY name"
        )
        return await self._database.read(lambda db: [_stored(row) for row in db.execute(query, (visible_to,))])

    async def mark_run(self, name: str, version: int) -> StoredDefinition:
        def work(db: sqlite3.Connection) -> StoredDefinition:
            db.execute("UPDATE definitions SET has_run = 1 WHERE name = ? AND version = ?", (name, version))
            for one in _versions(db, name):
                if one.version == version:
                    return one
            raise definition_not_found(name, version)

        return await self._database.write(work)

    async def remove(self, name: str) -> None:
        def work(db: sqlite3.Connection) -> None:
            if not _versions(db, name):
                raise definition_not_found(name)
            db.execute("DELETE FROM definitions WHERE name = ? AND NOT has_run", (name,))

        await self._database.write(work)


def _versions(db: sqlite3.Connection, name: str) -> list[StoredDefinition]:
    query = f"SELECT {_COLUMNS} FROM definitions WHERE name = ? ORDER BY version DESC"  # noqa: S608  # constants only
    return [_stored(row) for row in db.execute(query, (name,))]


def _stored(row: tuple[Any, ...]) -> StoredDefinition:
    name, version, owner, shared, source, has_run, stored_at = row
    return StoredDefinition(
        name, version, owner, bool(shared), source, bool(has_run), datetime.fromisoformat(stored_at)
    )
