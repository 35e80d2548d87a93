"""An event type for tests of the event store, and the ways to open one of each kind."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

from quantum_suite.core.events import EventData, NewEvent
from quantum_suite.services.databases.postgres import open_postgres
from quantum_suite.services.encryption.event_cipher import KeyedEventCipher
from quantum_suite.services.encryption.memory import MemoryKeyProvider
from quantum_suite.services.encryption.subjects.memory import MemorySubjectKeyRows
from quantum_suite.services.encryption.subjects.wrapped import WrappedSubjectKeys
from quantum_suite.services.events.interface import EventStore
from quantum_suite.services.events.postgres import PostgresEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.events.sealing import EventCipher
from quantum_suite.services.events.sqlite import SqliteEventStore


class Counted(EventData):
    """Somebody counted."""

    event_type: ClassVar[str] = "tests.counter.counted"

    number: int
    text: str = ""


class Cleared(EventData):
    """The counter was cleared."""

    event_type: ClassVar[str] = "tests.counter.cleared"


def registry() -> EventRegistry:
    """Return a registry that knows the types here."""
    return EventRegistry([Counted, Cleared])


def counted(*numbers: int) -> list[NewEvent]:
    """Return events of these numbers."""
    return [NewEvent(Counted(number=number)) for number in numbers]


def a_cipher() -> EventCipher:
    """Return a cipher whose keys live as long as it does."""
    provider = MemoryKeyProvider()
    return KeyedEventCipher(provider, WrappedSubjectKeys(MemorySubjectKeyRows(), provider))


@asynccontextmanager
async def opened(
    where: str | Path, cipher: EventCipher | None = None, *, polling_seconds: float = 0.02
) -> AsyncIterator[EventStore]:
    """Open the event store in a file, or at a PostgreSQL URL."""
    if isinstance(where, str) and where.startswith("postgresql:"):
        async with (
            open_postgres(where) as database,
            PostgresEventStore(database, registry(), cipher, polling_seconds=polling_seconds) as store,
        ):
            yield store
    else:
        async with SqliteEventStore(Path(where), registry(), cipher, polling_seconds=polling_seconds) as own:
            yield own
