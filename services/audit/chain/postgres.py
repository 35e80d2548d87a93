"""The audit chain in PostgreSQL."""

from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

from psycopg import AsyncConnection

from quantum_suite.core.events import Fence
from quantum_suite.services.audit.chain.checkpoints import Checkpoint
from quantum_suite.services.audit.chain.interface import PAGE_ROWS
from quantum_suite.services.audit.chain.memory import moved, signed_already
from quantum_suite.services.audit.chain.records import START, ChainHead, ChainRow, position_in
from quantum_suite.services.databases.fences import check_postgres_fence
from quantum_suite.services.databases.postgres import PostgresDatabase

_HEAD = "SELECT number, record, hash FROM audit_records ORDER BY number DESC LIMIT 1"
_PAGE = "SELECT number, record, hash FROM audit_records WHERE number > %s ORDER BY number LIMIT %s"
_ADD = """
INSERT INTO audit_records (number, record, hash)
SELECT * FROM unnest(%s::bigint[], %s::bytea[], %s::bytea[])
"""
_ALL_CHECKPOINTS = "SELECT number, position, hash, time, key_id, previous, signature FROM audit_checkpoints "


class PostgresAuditChain:
    """Keeps the chain in the suite's schema. Whoever may write there may alter it; checkpoints show that."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    async def head(self) -> ChainHead:
        """Return the last record."""
        async with self._database.connection() as connection:
            return await _head(connection)

    async def append(self, after: ChainHead, rows: Sequence[ChainRow], fence: Fence) -> None:
        """Add rows after `after`."""
        columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], []]
        async with self._database.connection() as connection, connection.transaction():
            await check_postgres_fence(connection, fence)
            if await _head(connection) != after:
                raise moved(after)
            await connection.execute(_ADD, columns, binary=True)

    async def add_checkpoint(self, checkpoint: Checkpoint, fence: Fence) -> None:
        """Add a checkpoint."""
        async with self._database.connection() as connection, connection.transaction():
            await check_postgres_fence(connection, fence)
            added = await connection.execute(
                "INSERT INTO audit_checkpoints (number, position, hash, time, key_id, previous, signature) "
                "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (number) DO NOTHING",
                astuple(checkpoint),
            )
            if added.rowcount == 0:
                raise signed_already(checkpoint)

    async def checkpoints(self, after_number: int = 0) -> list[Checkpoint]:
        """Return the checkpoints after a number."""
        query = _ALL_CHECKPOINTS + "WHERE number > %s ORDER BY number"
        return [Checkpoint(*row) for row in await self._rows(query, after_number)]

    async def last_checkpoint(self) -> Checkpoint | None:
        """Return the newest checkpoint."""
        rows = await self._rows(_ALL_CHECKPOINTS + "ORDER BY number DESC LIMIT 1")
        return Checkpoint(*rows[0]) if rows else None

    async def page(self, after_number: int, limit: int = PAGE_ROWS) -> list[ChainRow]:
        """Return rows after a number."""
        return await self._rows(_PAGE, after_number, limit)

    async def _rows(self, query: str, *values: Any) -> list[Any]:
        async with self._database.connection() as connection:
            return await (await connection.execute(query, values, binary=True)).fetchall()


async def _head(connection: AsyncConnection[Any]) -> ChainHead:
    row = await (await connection.execute(_HEAD, binary=True)).fetchone()
    return START if row is None else ChainHead(row[0], row[2], position_in(row[1]))
