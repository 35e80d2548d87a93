"""Consumers' progress in PostgreSQL."""

from collections.abc import Sequence

from quantum_suite.core.events import Fence, Position
from quantum_suite.services.databases.fences import check_postgres_fence
from quantum_suite.services.databases.postgres import PostgresDatabase
from quantum_suite.services.projections.interface import INBOX_SIZE, ParkedEvent

_ADVANCE = """
INSERT INTO progress VALUES (%s, %s) ON CONFLICT (consumer) DO UPDATE SET position = excluded.position
"""

_NOTE = """
INSERT INTO inbox (consumer, event_id) SELECT %s, unnest(%s::text[]) ON CONFLICT DO NOTHING
"""

_PRUNE = """
DELETE FROM inbox WHERE consumer = %(consumer)s AND number <= (
    SELECT number FROM inbox WHERE consumer = %(consumer)s ORDER BY number DESC LIMIT 1 OFFSET %(kept)s
)
"""

_PARK = """
INSERT INTO parked (consumer, position, event_id, event_type, stream, version, problem, attempts, parked_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (consumer, position) DO UPDATE SET
    problem = excluded.problem, attempts = parked.attempts + excluded.attempts
"""

_PARKED = """
SELECT consumer, position, event_id, event_type, stream, version, problem, attempts, parked_at FROM parked
"""


class PostgresProgressStore:
    """Shared by all processes that use the database."""

    def __init__(self, database: PostgresDatabase, *, inbox_size: int = INBOX_SIZE) -> None:
        self._database = database
        self._inbox_size = inbox_size

    async def checkpoint(self, consumer: str) -> Position | None:
        """Return where the consumer stands."""
        async with self._database.connection() as db:
            found = await db.execute("SELECT position FROM progress WHERE consumer = %s", (consumer,))
            row = await found.fetchone()
        return Position(row[0]) if row else None

    async def seen(self, consumer: str, event_ids: Sequence[str]) -> set[str]:
        """Return which of these events are in the inbox."""
        async with self._database.connection() as db:
            found = await db.execute(
                "SELECT event_id FROM inbox WHERE consumer = %s AND event_id = ANY(%s)",
                (consumer, list(event_ids)),
            )
            return {event_id for (event_id,) in await found.fetchall()}

    async def advance(self, consumer: str, position: Position, event_ids: Sequence[str], fence: Fence) -> None:
        """Move the consumer on, in one transaction with the fence's check."""
        async with self._database.connection() as db, db.transaction():
            await check_postgres_fence(db, fence)
            await db.execute(_ADVANCE, (consumer, position))
            if event_ids:
                await db.execute(_NOTE, (consumer, list(event_ids)))
                await db.execute(_PRUNE, {"consumer": consumer, "kept": self._inbox_size})

    async def park(self, parked: ParkedEvent, fence: Fence) -> None:
        """Put an event aside, or count another attempt."""
        row = (
            *(parked.consumer, parked.position, parked.event_id, parked.event_type, parked.stream, parked.version),
            *(parked.problem, parked.attempts, parked.parked_at),
        )
        async with self._database.connection() as db, db.transaction():
            await check_postgres_fence(db, fence)
            await db.execute(_PARK, row)

    async def parked(self, consumer: str | None = None, *, limit: int = 100) -> list[ParkedEvent]:
        """Return what is parked, oldest first."""
        async with self._database.connection() as db:
            found = await db.execute(
                f"{_PARKED} WHERE %(consumer)s::text IS NULL OR consumer = %(consumer)s"
                " ORDER BY number LIMIT %(limit)s",
                {"consumer": consumer, "limit": limit},
            )
            return [ParkedEvent(*row) for row in await found.fetchall()]

    async def find_parked(self, consumer: str, position: Position) -> ParkedEvent | None:
        """Return one parked event."""
        async with self._database.connection() as db:
            found = await db.execute(f"{_PARKED} WHERE consumer = %s AND position = %s", (consumer, position))
            row = await found.fetchone()
        return ParkedEvent(*row) if row else None

    async def unpark(self, consumer: str, position: Position) -> None:
        """Take an event off the list."""
        async with self._database.connection() as db:
            await db.execute("DELETE FROM parked WHERE consumer = %s AND position = %s", (consumer, position))

    async def reset(self, consumer: str) -> None:
        """Forget the consumer."""
        async with self._database.connection() as db, db.transaction():
            await db.execute("DELETE FROM progress WHERE consumer = %s", (consumer,))
            await db.execute("DELETE FROM inbox WHERE consumer = %s", (consumer,))
            await db.execute("DELETE FROM parked WHERE consumer = %s", (consumer,))
