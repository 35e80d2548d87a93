"""How fast the event store takes events in, and how soon a subscriber has them.

Each producer has a stream of its own and gives the version it expects, so every append is checked. The payload is
a small one (a number and a sentence). Events are made inside the measured time, as an application makes them.
"""

import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import anyio

from quantum_suite.core.events import Event, EventData, NewEvent
from quantum_suite.services.databases.postgres import open_postgres
from quantum_suite.services.events.interface import EventStore
from quantum_suite.services.events.postgres import PostgresEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.events.sealing import EventCipher
from quantum_suite.services.events.sqlite import SqliteEventStore

PRODUCERS = (1, 16, 128)
BATCH = 100


class Measured(EventData):
    """Something happened that is measured."""

    event_type: ClassVar[str] = "bench.thing.measured"

    number: int
    said: str


@asynccontextmanager
async def opened(where: str | Path, cipher: EventCipher | None = None) -> AsyncIterator[EventStore]:
    """Open the store in a SQLite file, or at a PostgreSQL URL."""
    registry = EventRegistry([Measured])
    if isinstance(where, Path):
        async with SqliteEventStore(where, registry, cipher) as in_file:
            yield in_file
    else:
        async with open_postgres(where) as database, PostgresEventStore(database, registry, cipher) as on_server:
            yield on_server


async def measure_appends(store: EventStore, name: str, *, seconds: float) -> dict[str, float]:
    """Return events a second, single and in batches of `BATCH`, by number of producers.

    Keys are `<name>_single_events_per_s_at_<producers>` and `<name>_batched_events_per_s_at_<producers>`. Each is
    measured for `seconds`; reckon with twice that for each number of producers.
    """
    figures: dict[str, float] = {}
    for producers in PRODUCERS:
        for kind, size in (("single", 1), ("batched", BATCH)):
            rate = await _rate(store, f"bench.{kind}/{name}-{producers}", producers, size, seconds)
            figures[f"{name}_{kind}_events_per_s_at_{producers}"] = rate
    return figures


async def measure_latency(
    store: EventStore, name: str, *, seconds: float, events_per_second: float = 500
) -> dict[str, float]:
    """Return how long after `append` was called a subscriber of the same process held the event.

    Keys are `<name>_append_to_subscriber_p50_ms` and `..._p99_ms`. Appends begin at a steady rate, whether earlier
    ones have returned or not, so that a store that falls behind shows it.
    """
    count = max(int(seconds * events_per_second), 20)
    began: dict[str, float] = {}
    held: dict[str, float] = {}
    head = await store.head()

    async def follow() -> None:
        async with store.subscribe(head) as batches:
            async for batch in batches:
                now = time.perf_counter()
                held.update((event.id, now) for event in batch)
                if len(held) >= count:
                    return

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow)
        start = time.perf_counter()
        for number in range(count):
            await anyio.sleep(max(start + number / events_per_second - time.perf_counter(), 0))
            event = _event(number)
            began[event.id] = time.perf_counter()
            tasks.start_soon(store.append, f"bench.latency/{name}-{time.time_ns()}-{number}", 0, [event])
    milliseconds = sorted((held[id_] - began[id_]) * 1000 for id_ in began)
    cuts = statistics.quantiles(milliseconds, n=100)
    return {
        f"{name}_append_to_subscriber_p50_ms": round(cuts[49], 3),
        f"{name}_append_to_subscriber_p99_ms": round(cuts[98], 3),
    }


async def measure_reading(store: EventStore, name: str) -> dict[str, float]:
    """Return how fast the whole log is read, as `<name>_read_events_per_s`."""
    read, began = 0, time.perf_counter()
    page: list[Event] = await store.read()
    while page:
        read += len(page)
        page = await store.read(page[-1].position)
    return {f"{name}_read_events_per_s": round(read / (time.perf_counter() - began))}


async def measure(
    where: str | Path, name: str, *, seconds: float, cipher: EventCipher | None = None
) -> dict[str, float]:
    """Measure all of it on one store; takes about seven times `seconds`, and reading what was written."""
    async with opened(where, cipher) as store:
        figures = await measure_latency(store, name, seconds=seconds)
        figures |= await measure_appends(store, name, seconds=seconds)
        return figures | await measure_reading(store, name)


async def _rate(store: EventStore, stream: str, producers: int, size: int, seconds: float) -> float:
    stored = 0
    began = time.perf_counter()

    async def produce(own: str) -> None:
        nonlocal stored
        version = 0
        while time.perf_counter() - began < seconds:
            await store.append(own, version, [_event(number) for number in range(size)])
            version += size
            stored += size

    async with anyio.create_task_group() as tasks:
        for number in range(producers):
            tasks.start_soon(produce, f"{stream}-{time.time_ns()}-{number}")
    return round(stored / (time.perf_counter() - began))


def _event(number: int) -> NewEvent:
    return NewEvent(Measured(number=number, said="Something happened, and here it is."))
