"""Fencing in the SQL that writes: who holds an outdated token writes nothing.

Call these inside the transaction that does the write. A token lower than the highest seen for its name is refused,
a higher one is recorded with the write; both are undone with the transaction. On PostgreSQL the row stays locked
until the transaction ends, so that a write under the old token is either before the first one under the new token
or refused.
"""

import sqlite3
from typing import TYPE_CHECKING, Any

from quantum_suite.core.errors import Fenced
from quantum_suite.core.events import Fence

if TYPE_CHECKING:
    from psycopg import AsyncConnection

SQLITE_FENCES = "CREATE TABLE fences (name TEXT PRIMARY KEY, token INTEGER NOT NULL) STRICT, WITHOUT ROWID"
"""The table, for the migrations of a SQLite file. On PostgreSQL the suite's schema has it."""

_SQLITE_RAISE = """
INSERT INTO fences (name, token) VALUES (?, ?)
ON CONFLICT (name) DO UPDATE SET token = excluded.token WHERE fences.token < excluded.token
"""
_POSTGRES_RAISE = """
INSERT INTO fences (name, token) VALUES (%s, %s)
ON CONFLICT (name) DO UPDATE SET token = excluded.token WHERE fences.token <= excluded.token
RETURNING token
"""


def check_sqlite_fence(connection: sqlite3.Connection, fence: Fence) -> None:
    """Check and record a token; the transaction must be one that writes (BEGIN IMMEDIATE). Raises Fenced."""
    row = connection.execute("SELECT token FROM fences WHERE name = ?", (fence.name,)).fetchone()
    if row is not None and row[0] > fence.token:
        raise outdated(fence)
    if row is None or row[0] < fence.token:
        connection.execute(_SQLITE_RAISE, (fence.name, fence.token))


async def check_postgres_fence(connection: "AsyncConnection[Any]", fence: Fence) -> None:
    """Check and record a token, and lock its name until the transaction ends (READ COMMITTED). Raises Fenced."""
    cursor = await connection.execute(_POSTGRES_RAISE, (fence.name, fence.token))
    if await cursor.fetchone() is None:
        raise outdated(fence)


def outdated(fence: Fence) -> Fenced:
    """Return the error for a token that a higher one has overtaken."""
    return Fenced(
        f"Somebody newer holds {fence.name}: the token {fence.token} is outdated.",
        "Stop, and acquire the lease again.",
    )
