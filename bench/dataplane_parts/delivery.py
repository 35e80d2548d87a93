"""How long an event takes from its append to a consumer: store, relay, bus.

Events are appended at a fixed rate whether or not those before have arrived, each by a task of its own, to fifty
streams. The clock starts when an event was due to be appended and stops when a durable consumer has it in hand, so
that the commit on disk, the relay's publishing and a queue that builds up anywhere are all inside.
"""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import anyio

from quantum_suite.core.events import EventData, NewEvent
from quantum_suite.core.ids import new_id
from quantum_suite.services.bus.interface import Bus
from quantum_suite.services.bus.memory import MemoryBus
from quantum_suite.services.bus.nats import NatsBus
from quantum_suite.services.bus.nats_connection import open_nats
from quantum_suite.services.databases.postgres import open_postgres
from quantum_suite.services.events.interface import ANY_VERSION, EventStore
from quantum_suite.services.events.postgres import PostgresEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.events.relay import Relay
from quantum_suite.services.events.sqlite import SqliteEventStore
from quantum_suite.services.leases.interface import LeaseStore
from quantum_suite.services.leases.nats import NatsLeaseStore
from quantum_suite.services.leases.sqlite import SqliteLeaseStore
from quantum_suite.services.projections.interface import ProgressStore
from quantum_suite.services.projections.postgres import PostgresProgressStore
from quantum_suite.services.projections.sqlite import SqliteProgressStore

STREAMS = 50
WARM_UP_EVENTS = 20
PATIENCE_SECONDS = 60


class Delivered(EventData):
    """An event of the bench's own."""

    event_type: ClassVar[str] = "bench.delivery.measured"
    number: int
    text: str = "x" * 200


@dataclass
class Plane:
    """What an event passes on its way."""

    events: EventStore
    bus: Bus
    progress: ProgressStore
    leases: LeaseStore


@asynccontextmanager
async def embedded(directory: Path) -> AsyncIterator[Plane]:
    """SQLite and the bus in process, as the suite runs by default."""
    async with SqliteEventStore(directory / "events.db", EventRegistry([Delivered])) as events:
        with (
            SqliteProgressStore(directory / "progress.db") as progress,
            SqliteLeaseStore(directory / "leases.db") as leases,
        ):
            yield Plane(events, MemoryBus(), progress, leases)


@asynccontextmanager
async def distributed(postgres_url: str, nats_url: str) -> AsyncIterator[Plane]:
    """PostgreSQL and NATS."""
    async with (
        open_postgres(postgres_url) as database,
        PostgresEventStore(database, EventRegistry([Delivered])) as events,
        open_nats(nats_url) as connection,
    ):
        progress, leases = PostgresProgressStore(database), NatsLeaseStore(connection)
        yield Plane(events, NatsBus(connection), progress, leases)


async def measure(plane: Plane, *, seconds: float = 10, rate: float = 200) -> dict[str, float]:
    """Append `rate` events a second for `seconds`; returns how long they took, in milliseconds.

    Raises TimeoutError when an event does not arrive within a minute of the last append.
    """
    load = _Load(int(seconds * rate), rate)
    async with (
        plane.bus.consume("quantum.events.bench.delivery.measured", durable=new_id("bench")) as deliveries,
        anyio.create_task_group() as tasks,
    ):
        relay = Relay(plane.events, plane.bus, plane.progress, plane.leases, holder=new_id("bench"))
        tasks.start_soon(relay.run)
        tasks.start_soon(load.append, plane.events)
        async for delivery in deliveries:
            load.arrived(delivery.message.body["data"]["number"])
            await delivery.ack()
            if load.is_complete:
                break
        tasks.cancel_scope.cancel()
    return load.figures()


@dataclass
class _Load:
    """Events that are due one after the other; those before number 0 warm up."""

    count: int
    rate: float
    due: dict[int, float] = field(default_factory=dict)
    took: dict[int, float] = field(default_factory=dict)
    warm: anyio.Event = field(default_factory=anyio.Event)

    async def append(self, events: EventStore) -> None:
        for number in range(-WARM_UP_EVENTS, 0):
            await self._append(events, number)
        with anyio.fail_after(PATIENCE_SECONDS):
            await self.warm.wait()
        start = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for number in range(self.count):
                self.due[number] = start + number / self.rate
                await anyio.sleep_until(self.due[number])
                tasks.start_soon(self._append, events, number)
        await anyio.sleep(PATIENCE_SECONDS)
        raise TimeoutError(f"{self.count - len(self.took)} events did not arrive.")

    async def _append(self, events: EventStore, number: int) -> None:
        await events.append(
            f"bench.delivery/{number % STREAMS}", ANY_VERSION, [NewEvent(Delivered(number=number))]
        )

    def arrived(self, number: int) -> None:
        if number == -1:
            self.warm.set()
        if number >= 0:
            self.took.setdefault(number, anyio.current_time() - self.due[number])

    @property
    def is_complete(self) -> bool:
        return len(self.took) == self.count

    def figures(self) -> dict[str, float]:
        ordered = sorted(self.took.values())
        return {
            "events": float(self.count),
            "events_per_s": self.rate,
            "p50_ms": _quantile(ordered, 0.5) * 1000,
            "p99_ms": _quantile(ordered, 0.99) * 1000,
            "worst_ms": ordered[-1] * 1000,
        }


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]
