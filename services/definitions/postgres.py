"""Definitions in PostgreSQL."""

from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from quantum_suite.services.databases.postgres import PostgresDatabase
from quantum_suite.services.definitions.interface import (
    MAX_NAMES,
    StoredDefinition,
    definition_not_found,
    next_version,
    too_many_names,
)

_COLUMNS = "name, version, owner, shared, source, has_run, stored_at"
_VERSIONS = f"SELECT {_COLUMNS} FROM definitions WHERE name = %s ORDER BY version DESC"  # noqa: S608  # constants only
_NEWEST = (
    f"SELECT {_COLUMNS} FROM (SELECT DISTINCT ON (name) * FROM definitions "  # noqa: S608  # constants only
    "ORDER BY name, version DESC) AS newest "
    "WHERE %(visible_to)s::text IS NULL OR shared OR owner = %(visible_to)s ORDER BY name"
)
_PUT = (
    "INSERT INTO definitions (name, version, owner, shared, source) VALUES (%s, %s, %s, %s, %s) "  # noqa: S608  # constants only
    "ON CONFLICT (name, version) DO UPDATE SET shared = excluded.shared, source = excluded.source, "
    f"stored_at = excluded.stored_at RETURNING {_COLUMNS}"
)
_MARK = f"UPDATE definitions SET has_run = true WHERE name = %s AND version = %s RETURNING {_COLUMNS}"  # noqa: S608  # constants only
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('definitions ' || %s, 0))"


class PostgresDefinitionStore:
    """Keeps definitions in the table `definitions`."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    async def put(
        self, name: str, source: str, owner: str, *, version: int | None = None, shared: bool = False
    ) -> StoredDefinition:
        async with self._database.connection() as connection, connection.transaction():
            await connection.execute(_LOCK, (name,))
            there = await _fetch(connection, _VERSIONS, (name,))
            number = next_version(there, source, owner, version)
            known = next((one for one in there if one.version == number), None)
            if known is not None and known.source == source:
                return known
            if not there:
                await _check_names(connection, owner)
            return (await _fetch(connection, _PUT, (name, number, owner, shared, source)))[0]

    async def get(self, name: str, version: int | None = None) -> StoredDefinition:
        for one in await self.versions(name):
            if version in (None, one.version):
                return one
        raise definition_not_found(name, version)

    async def versions(self, name: str) -> list[StoredDefinition]:
        async with self._database.connection() as connection:
            return await _fetch(connection, _VERSIONS, (name,))

    async def newest(self, visible_to: str | None = None) -> list[StoredDefinition]:
        async with self._database.connection() as connection:
            return await _fetch(connection, _NEWEST, {"visible_to": visible_to})

    async def mark_run(self, name: str, version: int) -> StoredDefinition:
        async with self._database.connection() as connection, connection.transaction():
            await connection.execute(_LOCK, (name,))
            found = await _fetch(connection, _MARK, (name, version))
        if not found:
            raise definition_not_found(name, version)
        return found[0]

    async def remove(self, name: str) -> None:
        async with self._database.connection() as connection, connection.transaction():
            await connection.execute(_LOCK, (name,))
            if not await _fetch(connection, _VERSIONS, (name,)):
                raise definition_not_found(name)
            await connection.execute("DELETE FROM definitions WHERE name = %s AND NOT has_run", (name,))


async def _fetch(connection: AsyncConnection[Any], query: str, parameters: Any) -> list[StoredDefinition]:
    async with connection.cursor(row_factory=class_row(StoredDefinition)) as cursor:
        await cursor.execute(query, parameters)
        return await cursor.fetchall()


async def _check_names(connection: AsyncConnection[Any], owner: str) -> None:
    counted = await connection.execute("SELECT count(DISTINCT name) FROM definitions WHERE owner = %s", (owner,))
    row = await counted.fetchone()
    if row is not None and row[0] >= MAX_NAMES:
        raise too_many_names(owner)
