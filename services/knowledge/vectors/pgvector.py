"""Vectors in PostgreSQL with the extension pgvector: https://github.com/pgvector/pgvector (0.8 or newer).

Tables are made on first use and not by the suite's migrations: the extension is an operator's choice.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg import AsyncConnection, sql

from quantum_suite.core.errors import EngineMissing
from quantum_suite.services.databases.postgres import PostgresDatabase
from quantum_suite.services.knowledge.interface import VectorRecord
from quantum_suite.services.knowledge.vectors.records import check_lengths, latest

ENGINE = "pgvector"
_SETUP_LOCK = 0x51564543
_INDEXED_DIMENSIONS = 2_000
"""Longer vectors have no index in pgvector; they are searched one by one."""


class PgVectorStore:
    """Keeps vectors beside the suite's other tables: one table for each length of vectors, a graph (HNSW) over
    each. `database` belongs to the caller."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database
        self._schema = ""
        """Where the extension lives; its types and operators are named with it."""

    async def put(self, collection: str, records: Sequence[VectorRecord]) -> None:
        """Insert or replace by id; durable on return. Raises CallerError for a vector of another length than the
        collection's."""
        if not records:
            return
        async with self._connection() as connection, connection.transaction():
            length = await self._length(connection, collection)
            check_lengths(collection, records, length)
            if length is None:
                length = await self._add_collection(connection, collection, len(records[0].vector))
                check_lengths(collection, records, length)
            statement = self._sql(
                "INSERT INTO {table} (collection, id, grp, vector) "
                "SELECT %s, i, g, v::{vector} FROM unnest(%s::text[], %s::text[], %s::text[]) AS r (i, g, v) "
                "ON CONFLICT (collection, id) DO UPDATE SET grp = EXCLUDED.grp, vector = EXCLUDED.vector",
                length,
            )
            # In one order everywhere, so that two writers never wait for each other.
            rows = sorted(latest(records), key=lambda record: record.id)
            values = ([r.id for r in rows], [r.group for r in rows], [_text(r.vector) for r in rows])
            await connection.execute(statement, (collection, *values))

    async def delete(self, collection: str, ids: Sequence[str]) -> None:
        """Forget these; unknown ids are ignored."""
        async with self._connection() as connection:
            if (length := await self._length(connection, collection)) is not None:
                statement = self._sql("DELETE FROM {table} WHERE collection = %s AND id = ANY(%s)", length)
                await connection.execute(statement, (collection, sorted(ids)))

    async def ids(self, collection: str) -> set[str]:
        """Return every id, empty for a collection that does not exist."""
        async with self._connection() as connection:
            if (length := await self._length(connection, collection)) is None:
                return set()
            rows = await connection.execute(
                self._sql("SELECT id FROM {table} WHERE collection = %s", length), (collection,)
            )
            return {str(one) for (one,) in await rows.fetchall()}

    async def nearest(self, collection: str, vector: Sequence[float], limit: int) -> list[tuple[str, float]]:
        """Return (id, cosine similarity), best first. From a graph, so rarely one of the best is missing; where it
        gives too few, because the collection is a small part of it, the collection is read whole."""
        async with self._connection() as connection:
            length = await self._length(connection, collection)
            if length is None or length != len(vector) or limit < 1:
                return []
            async with connection.transaction():
                await connection.execute("SET LOCAL hnsw.ef_search = 200")
                await connection.execute("SET LOCAL hnsw.iterative_scan = strict_order")
                found = await self._nearest(connection, collection, vector, limit)
                if len(found) < limit:
                    await connection.execute("SET LOCAL enable_indexscan = off")
                    found = await self._nearest(connection, collection, vector, limit)
        return sorted(found, key=lambda item: (-item[1], item[0]))

    async def drop(self, collection: str) -> None:
        """Forget a collection."""
        async with self._connection() as connection, connection.transaction():
            if (length := await self._length(connection, collection)) is not None:
                await connection.execute(
                    self._sql("DELETE FROM {table} WHERE collection = %s", length), (collection,)
                )
                await connection.execute("DELETE FROM vector_collections WHERE name = %s", (collection,))

    async def _nearest(
        self, connection: AsyncConnection[Any], collection: str, vector: Sequence[float], limit: int
    ) -> list[tuple[str, float]]:
        statement = self._sql(
            "SELECT id, 1 - (vector OPERATOR({schema}.<=>) %s::{vector}) FROM {table} WHERE collection = %s "
            "ORDER BY vector OPERATOR({schema}.<=>) %s::{vector} LIMIT %s",
            len(vector),
        )
        asked = _text(vector)
        rows = await connection.execute(statement, (asked, collection, asked, limit))
        return [(str(one), float(similarity)) for one, similarity in await rows.fetchall()]

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection[Any]]:
        async with self._database.connection() as connection:
            if not self._schema:
                self._schema = await _set_up(connection)
            yield connection

    async def _length(self, connection: AsyncConnection[Any], collection: str) -> int | None:
        """Return how long a collection's vectors are; None where there is none."""
        rows = await connection.execute("SELECT length FROM vector_collections WHERE name = %s", (collection,))
        row = await rows.fetchone()
        return None if row is None else int(row[0])

    async def _add_collection(self, connection: AsyncConnection[Any], collection: str, length: int) -> int:
        """Add a collection, unless somebody else just did; returns how long its vectors are."""
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_SETUP_LOCK,))
        await connection.execute(
            self._sql(
                'CREATE TABLE IF NOT EXISTS {table} (collection text COLLATE "C" NOT NULL, '
                'id text COLLATE "C" NOT NULL, grp text NOT NULL, vector {vector} NOT NULL, '
                "PRIMARY KEY (collection, id))",
                length,
            )
        )
        if length <= _INDEXED_DIMENSIONS:
            await connection.execute(
                self._sql(
                    "CREATE INDEX IF NOT EXISTS {index} ON {table} USING hnsw (vector {schema}.vector_cosine_ops)",
                    length,
                )
            )
        await connection.execute(
            "INSERT INTO vector_collections (name, length) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            (collection, length),
        )
        return await self._length(connection, collection) or length

    def _sql(self, text: str, length: int) -> sql.Composed:
        schema = sql.Identifier(self._schema)
        return sql.SQL(text).format(
            table=sql.Identifier(f"vectors_{length}"),
            index=sql.Identifier(f"vectors_{length}_graph"),
            schema=schema,
            vector=sql.SQL("{}.vector({})").format(schema, sql.Literal(length)),
        )


async def _set_up(connection: AsyncConnection[Any]) -> str:
    """Make the extension and the list of collections; returns the schema the extension lives in."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_SETUP_LOCK,))
        try:
            await connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        except (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFile) as error:
            raise EngineMissing(
                "This PostgreSQL has no pgvector.",
                "Install it on the server (Debian: `apt-get install postgresql-NN-pgvector`).",
                engine=ENGINE,
            ) from error
        except psycopg.errors.InsufficientPrivilege as error:
            raise EngineMissing(
                "pgvector is not enabled in this database, and this user may not enable it.",
                "Have its owner run `CREATE EXTENSION vector`.",
                engine=ENGINE,
            ) from error
        await connection.execute(
            'CREATE TABLE IF NOT EXISTS vector_collections (name text COLLATE "C" PRIMARY KEY, '
            "length integer NOT NULL)"
        )
        rows = await connection.execute(
            "SELECT nspname FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'vector'"
        )
        row = await rows.fetchone()
        return str(row[0]) if row else ""


def _text(vector: Sequence[float]) -> str:
    return "[" + ",".join(f"{number:.7g}" for number in vector) + "]"
