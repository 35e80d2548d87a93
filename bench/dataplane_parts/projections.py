"""How fast projections are rebuilt from the log, on SQLite and on PostgreSQL.

From a runner that starts to the last event taken in, under a lease and with checkpoints: once by a projection that
counts by type in memory (what reading, decoding and handing over cost), once by the analytics tables in DuckDB.
"""

import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import anyio

from quantum_suite.core.events import Event, EventData, EventFilter, Fence, NewEvent, Position
from quantum_suite.services.analytics.duckdb import DuckdbAnalytics
from quantum_suite.services.databases.postgres import open_postgres
from quantum_suite.services.events.interface import ANY_VERSION, MAX_BATCH, EventStore
from quantum_suite.services.events.postgres import PostgresEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.events.sqlite import SqliteEventStore
from quantum_suite.services.leases.memory import MemoryLeaseStore
from quantum_suite.services.projections.control_events import CONTROL_EVENTS
from quantum_suite.services.projections.interface import Projection
from quantum_suite.services.projections.memory import MemoryProgressStore
from quantum_suite.services.projections.runner import ProjectionRunner

EVENTS = 100_000
SMOKE_EVENTS = 5_000
_MOST_SECONDS = 300.0


class Recorded(EventData):
    """An event of the bench's own, about as long as that of a call."""

    event_type: ClassVar[str] = "bench.projection.recorded"
    number: int
    text: str = "x" * 300


class Tally:
    """A projection: how many events of each type."""

    name = "tally"

    def __init__(self) -> None:
        self.where = EventFilter()
        self.counts: Counter[str] = Counter()
        self._position: Position | None = None

    async def checkpoint(self) -> Position | None:
        """Return the last event counted."""
        return self._position

    async def apply(self, events: Sequence[Event], fence: Fence) -> None:
        """Count."""
        self.counts.update(event.type for event in events)
        self._position = events[-1].position

    async def reset(self) -> None:
        """Count anew."""
        self.counts.clear()
        self._position = None


@asynccontextmanager
async def embedded(directory: Path) -> AsyncIterator[EventStore]:
    """Open an event store on SQLite, below `directory`."""
    async with SqliteEventStore(
        directory / "events.sqlite3", EventRegistry([Recorded, *CONTROL_EVENTS])
    ) as events:
        yield events


@asynccontextmanager
async def distributed(postgres_url: str) -> AsyncIterator[EventStore]:
    """Open an event store in an empty PostgreSQL database."""
    registry = EventRegistry([Recorded, *CONTROL_EVENTS])
    async with open_postgres(postgres_url) as database, PostgresEventStore(database, registry) as events:
        yield events


async def measure(events: EventStore, count: int) -> dict[str, float]:
    """Fill the store with `count` events and return the rates at which projections are rebuilt, in events/s."""
    for first in range(0, count, MAX_BATCH):
        batch = [NewEvent(Recorded(number=n)) for n in range(first, min(first + MAX_BATCH, count))]
        await events.append(f"bench.projection/{first}", ANY_VERSION, batch)
    tally = Tally()
    counted = await _rebuild(events, tally, count)
    if tally.counts.total() != count:
        raise RuntimeError(f"{tally.counts.total()} of {count} events were counted.")
    with tempfile.TemporaryDirectory() as directory:
        tables = await _rebuild(events, DuckdbAnalytics(Path(directory)), count)
    return {"rebuild_events_per_s": counted, "analytics_rebuild_events_per_s": tables}


async def _rebuild(events: EventStore, projection: Projection, count: int) -> float:
    runner = ProjectionRunner(events, MemoryProgressStore(), MemoryLeaseStore(), holder="bench")
    runner.add_projection(projection)
    began = time.perf_counter()
    with anyio.fail_after(_MOST_SECONDS):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runner.run)
            while runner.statuses()[0].handled < count:
                await anyio.sleep(0.002)
            seconds = time.perf_counter() - began
            tasks.cancel_scope.cancel()
    return count / seconds


async def measure_projections(directory: Path, postgres_url: str, *, smoke: bool) -> dict[str, dict[str, float]]:
    """Return the figures of both stores, side by side."""
    count = SMOKE_EVENTS if smoke else EVENTS
    async with embedded(directory) as events:
        figures = {"sqlite": await measure(events, count)}
    async with distributed(postgres_url) as events:
        figures["postgres"] = await measure(events, count)
    return figures
