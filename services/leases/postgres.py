"""Leases in PostgreSQL, by the database server's clock.

An end that is further away than its lease is long was written before that clock was set back. Whoever asks for
the lease moves it to where it can be at the latest: a holder that lives renews it, one that does not is succeeded.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from psycopg import AsyncConnection

from quantum_suite.core.errors import Unavailable
from quantum_suite.services.databases.postgres import PostgresDatabase
from quantum_suite.services.leases.interface import Lease
from quantum_suite.services.leases.terms import check_terms

ANSWER_SECONDS = 5.0

_END = "clock_timestamp() + make_interval(secs => {ttl})"
_TIME_AS_TOKEN = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"  # noqa: S105  # SQL, no secret

_ACQUIRE = f"""
INSERT INTO leases AS held (name, holder, token, ttl_seconds, ends_at)
VALUES (%(name)s, %(holder)s, {_TIME_AS_TOKEN}, %(ttl)s, {_END.format(ttl="%(ttl)s")})
ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, token = greatest(held.token + 1, {_TIME_AS_TOKEN}),
    ttl_seconds = excluded.ttl_seconds, ends_at = {_END.format(ttl="%(ttl)s")}
WHERE held.ends_at <= clock_timestamp() OR held.holder = excluded.holder
RETURNING token
"""  # noqa: S608  # built from constants only
_PULL_BACK = f"""
UPDATE leases SET ends_at = {_END.format(ttl="ttl_seconds")}
WHERE name = %(name)s AND ends_at > {_END.format(ttl="ttl_seconds")}
"""  # noqa: S608  # built from constants only
_RENEW = f"""
UPDATE leases SET ends_at = {_END.format(ttl="ttl_seconds")}
WHERE name = %(name)s AND token = %(token)s AND ends_at > clock_timestamp()
"""  # noqa: S608  # built from constants only
_RELEASE = "UPDATE leases SET ends_at = '-infinity' WHERE name = %(name)s AND token = %(token)s"
_HOLDERS = "SELECT name, holder FROM leases WHERE starts_with(name, %(prefix)s) AND ends_at > clock_timestamp()"


class PostgresLeaseStore:
    """Keeps leases in the table `leases`. A row stays after its lease: it holds the last token of the name."""

    def __init__(self, database: PostgresDatabase, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._database = database
        self._answer_seconds = answer_seconds

    async def acquire(self, name: str, holder: str, ttl_seconds: float) -> Lease | None:
        check_terms(name, holder, ttl_seconds)
        terms = {"name": name, "holder": holder, "ttl": ttl_seconds}
        async with self._connection() as connection:
            row = await (await connection.execute(_ACQUIRE, terms)).fetchone()
            if row is None:
                await connection.execute(_PULL_BACK, terms)
                return None
            return Lease(name, holder, int(row[0]), ttl_seconds)

    async def renew(self, lease: Lease) -> bool:
        async with self._connection() as connection:
            changed = await connection.execute(_RENEW, {"name": lease.name, "token": lease.token})
            return changed.rowcount == 1

    async def release(self, lease: Lease) -> None:
        async with self._connection() as connection:
            await connection.execute(_RELEASE, {"name": lease.name, "token": lease.token})

    async def holders(self, prefix: str) -> dict[str, str]:
        async with self._connection() as connection:
            rows = await connection.execute(_HOLDERS, {"prefix": prefix})
            return {str(name): str(holder) for name, holder in await rows.fetchall()}

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection[Any]]:
        """Lend a connection, for as long as a server that lives needs: one that hangs counts as away."""
        try:
            with anyio.fail_after(self._answer_seconds):
                async with self._database.connection() as connection:
                    yield connection
        except TimeoutError as error:
            raise Unavailable(
                f"PostgreSQL did not answer within {self._answer_seconds:g} seconds.", "See to its load."
            ) from error
