"""The pool of connections to PostgreSQL, and the schema it opens on."""

import anyio
import psycopg
import pytest
from reference.backends import Postgres

from quantum_suite.core.errors import ConfigurationError, Unavailable
from quantum_suite.services.databases.postgres import open_postgres

pytestmark = pytest.mark.anyio


async def test_cancelled_borrowers_give_their_connections_back(postgres_url: str) -> None:
    with anyio.fail_after(60):
        async with open_postgres(postgres_url, max_connections=2) as database:
            for turn in range(12):
                with anyio.move_on_after(0.01):
                    async with database.connection() as connection, connection.transaction():
                        if turn % 2:
                            await connection.execute("SELECT 1")
                            await anyio.sleep_forever()
                        await connection.execute("SELECT pg_sleep(60)")
            async with database.connection() as one, database.connection() as two:
                for connection in (one, two):
                    assert await (await connection.execute("SELECT 1")).fetchone() == (1,)


async def test_a_transaction_left_open_is_undone(postgres_url: str) -> None:
    async with open_postgres(postgres_url, max_connections=1) as database:
        async with database.connection() as connection:
            await connection.execute("BEGIN")
            await connection.execute("INSERT INTO fences VALUES ('a', 1)")
        async with database.connection() as connection:
            assert await (await connection.execute("SELECT * FROM fences")).fetchall() == []


async def test_two_who_open_an_empty_database_at_once_both_get_the_schema(postgres_url: str) -> None:
    async def use() -> None:
        async with open_postgres(postgres_url) as database, database.connection() as connection:
            await connection.execute("SELECT * FROM events")

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(use)


async def test_a_schema_of_a_newer_release_is_refused(postgres_url: str) -> None:
    async with open_postgres(postgres_url):
        pass
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("UPDATE quantum.alembic_version SET version_num = 'newer'")
    with pytest.raises(ConfigurationError, match="not known to this release"):
        async with open_postgres(postgres_url):
            pass


async def test_a_server_that_is_not_there_counts_as_away_and_its_password_is_not_told() -> None:
    with pytest.raises(Unavailable) as caught:
        async with open_postgres("postgresql://me:secret@127.0.0.1:1/none"):
            pass
    assert "secret" not in str(caught.value)


async def test_a_server_that_takes_no_connection_for_the_migrations_counts_as_away(
    postgres_server: Postgres, postgres_url: str
) -> None:
    name = postgres_url.rpartition("/")[2]
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN CONNECTION LIMIT 1")
        connection.execute(f"GRANT CREATE ON DATABASE {name} TO {name}")
    of_one = postgres_server.database(name).replace("postgres@", f"{name}@")
    with pytest.raises(Unavailable, match="too many connections"):
        async with open_postgres(of_one):
            pass
