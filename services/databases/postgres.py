"""One PostgreSQL database: a pool of connections, and a schema kept up to date by Alembic."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import psycopg
from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from quantum_suite.core.errors import ConfigurationError, Unavailable

SCHEMA = "quantum"
"""The PostgreSQL schema all tables of the suite live in."""

_MIGRATION_LOCK = 0x5155414E
_WAIT_SECONDS = 5.0
"""How long a caller waits for a connection, and how long the pool tries by itself to make one that was lost.

When it has given up, the next caller has it try afresh: a server that is back is found within seconds.
"""


SILENT_SECONDS = 15.0
"""How long a client may say nothing within a transaction.

One that was frozen, or cut off with its machine, would keep its locks for hours, and hold up everybody who reads
the log, which is read up to the oldest transaction that still writes.
"""

LOST = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.IdleInTransactionSessionTimeout)
"""What the driver raises for a server that is away, and for a connection that it has ended."""


def silence(seconds: float) -> str:
    """Return the connection option that has the server end transactions whose client says nothing for so long."""
    return f"-c idle_in_transaction_session_timeout={seconds * 1000:.0f}"


class PostgresDatabase:
    """A pool of connections whose search path is the suite's schema. Belongs to the event loop that opened it."""

    def __init__(self, url: str, pool: AsyncConnectionPool[AsyncConnection[Any]]) -> None:
        self.url = url
        self._pool = pool

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection[Any]]:
        """Lend a connection in autocommit mode; raises Unavailable when the database is away.

        Use `connection.transaction()` for what must happen together.
        """
        async with _errors(self.url):
            connection = await self._pool.getconn()
            try:
                yield connection
            finally:
                # A cancelled borrower gives back too, else cancelled calls would use the pool up.
                with anyio.CancelScope(shield=True):
                    await _leave_idle(connection)
                    await self._pool.putconn(connection)


@asynccontextmanager
async def open_postgres(
    url: str, *, max_connections: int = 8, silent_seconds: float = SILENT_SECONDS
) -> AsyncIterator[PostgresDatabase]:
    """Open the database at `postgresql://...`, with its schema brought up to date first.

    The server ends a transaction whose client says nothing for `silent_seconds`, and its connection. Raises
    Unavailable when it cannot be reached, ConfigurationError when a newer release has migrated it.
    """
    async with _errors(url):
        await anyio.to_thread.run_sync(_migrate, url)
    # The pool reports every attempt to reach a server that is away; those who wait for it say so, once.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    pool: AsyncConnectionPool[AsyncConnection[Any]] = AsyncConnectionPool(
        url,
        min_size=1,
        max_size=max_connections,
        timeout=_WAIT_SECONDS,
        reconnect_timeout=_WAIT_SECONDS,
        open=False,
        check=_check,
        kwargs={"autocommit": True, "options": f"-c search_path={SCHEMA} {silence(silent_seconds)}"},
    )
    async with _errors(url):
        await pool.open()
    try:
        yield PostgresDatabase(url, pool)
    finally:
        with anyio.CancelScope(shield=True):
            await pool.close()


async def _check(connection: AsyncConnection[Any]) -> None:
    """See whether the server answers; a connection that says nothing in time is as good as lost."""
    try:
        with anyio.fail_after(_WAIT_SECONDS):
            await connection.execute("")
    except TimeoutError as error:
        raise psycopg.OperationalError("the server does not answer") from error


async def _leave_idle(connection: AsyncConnection[Any]) -> None:
    """End what a borrower that was interrupted left open; the connection is closed where that cannot be done."""
    if connection.info.transaction_status == TransactionStatus.IDLE:
        return
    with anyio.move_on_after(_WAIT_SECONDS), suppress(psycopg.Error):
        await connection.rollback()
        return
    await connection.close()


@asynccontextmanager
async def _errors(url: str) -> AsyncIterator[None]:
    try:
        yield
    except (*LOST, PoolTimeout) as error:
        text = str(error).partition("\n")[0]
        hint = "Free its disk." if isinstance(error, psycopg.errors.DiskFull) else "Start it."
        raise Unavailable(f"PostgreSQL at {_shown(url)} cannot be used now: {text}", hint) from error


def _shown(url: str) -> str:
    """Return the address without its user and password."""
    return url.rpartition("@")[2].rpartition("//")[2]


def _migrate(url: str) -> None:
    # Alembic and SQLAlchemy are heavy to import: only where there is something to migrate.
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_MIGRATION_LOCK,))
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        from alembic import command
        from alembic.config import Config
        from alembic.util import CommandError
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import DBAPIError

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        config.attributes["url"] = make_url(url).set(drivername="postgresql+psycopg")
        config.attributes["schema"] = SCHEMA
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise ConfigurationError(
                f"The schema of PostgreSQL at {_shown(url)} is not known to this release: {error}.",
                "Update the suite, or choose another database.",
            ) from error
        except DBAPIError as error:
            # As the driver says it: whoever opens the database knows what is lost and what is wrong by that.
            raise error.orig or error from None
