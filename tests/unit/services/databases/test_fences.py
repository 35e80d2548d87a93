"""Fencing tokens in the SQL that writes."""

import sqlite3
from contextlib import closing

import anyio
import anyio.lowlevel
import pytest

from quantum_suite.core.errors import Fenced
from quantum_suite.core.events import Fence
from quantum_suite.services.databases.fences import SQLITE_FENCES, check_postgres_fence, check_sqlite_fence
from quantum_suite.services.databases.postgres import open_postgres

pytestmark = pytest.mark.anyio


def test_sqlite_refuses_lower_tokens_and_records_higher_ones() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute(SQLITE_FENCES)
        for token in (3, 3, 5):
            check_sqlite_fence(connection, Fence("a", token))
        with pytest.raises(Fenced, match="a: the token 4"):
            check_sqlite_fence(connection, Fence("a", 4))
        check_sqlite_fence(connection, Fence("b", 1))
        assert connection.execute("SELECT * FROM fences ORDER BY name").fetchall() == [("a", 5), ("b", 1)]


def test_a_token_recorded_in_a_transaction_that_fails_is_forgotten_with_it() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute(SQLITE_FENCES)
        connection.execute("BEGIN IMMEDIATE")
        check_sqlite_fence(connection, Fence("a", 9))
        connection.execute("ROLLBACK")
        check_sqlite_fence(connection, Fence("a", 1))


async def test_postgres_refuses_lower_tokens_and_records_higher_ones(postgres_url: str) -> None:
    async with open_postgres(postgres_url) as database, database.connection() as connection:
        for token in (3, 3, 5):
            await check_postgres_fence(connection, Fence("a", token))
        with pytest.raises(Fenced):
            await check_postgres_fence(connection, Fence("a", 4))
        await check_postgres_fence(connection, Fence("b", 1))


async def test_on_postgres_an_old_holder_waits_for_the_new_one_and_is_refused(postgres_url: str) -> None:
    refused = []

    async with open_postgres(postgres_url) as database:

        async def write_late() -> None:
            async with database.connection() as connection, connection.transaction():
                try:
                    await check_postgres_fence(connection, Fence("a", 1))
                except Fenced:
                    refused.append(True)

        with anyio.fail_after(50):
            async with (
                anyio.create_task_group() as tasks,
                database.connection() as connection,
                connection.transaction(),
                database.connection() as other,
            ):
                await check_postgres_fence(connection, Fence("a", 2))
                tasks.start_soon(write_late)
                waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
                while (await (await other.execute(waiting)).fetchone()) == (0,):
                    await anyio.lowlevel.checkpoint()
                assert refused == []
    assert refused == [True]
