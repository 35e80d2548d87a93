"""What every event store keeps, refuses and gives back: contents, limits, hostile input, encryption, snapshots."""

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import anyio
import anyio.lowlevel
import psycopg
import pytest
from reference.counting import Counted, a_cipher, counted, opened, registry

from quantum_suite.core.errors import CallerError, ConfigurationError, Damaged
from quantum_suite.core.events import Event, EventData, EventFilter, NewEvent, Position
from quantum_suite.services.events.interface import (
    MAX_BATCH,
    MAX_BATCH_BYTES,
    MAX_EVENT_BYTES,
    EventStore,
    Snapshot,
)
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.events.sealing import EventCipher

pytestmark = pytest.mark.anyio

STREAM = "tests.counter/one"


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store of each kind keeps its events."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return "" if request.param == "memory" else str(tmp_path / "events.sqlite3")


@pytest.fixture
def cipher() -> EventCipher:
    return a_cipher()


@pytest.fixture
async def store(where: str, cipher: EventCipher) -> AsyncIterator[EventStore]:
    async with AsyncExitStack() as stack:
        if where:
            yield await stack.enter_async_context(opened(where, cipher))
        else:
            yield await stack.enter_async_context(MemoryEventStore(registry(), cipher, polling_seconds=0.02))


async def settled(store: EventStore, number: int, where: EventFilter | None = None) -> list[Event]:
    """Return the first events once there are so many: another transaction on the server may delay reading."""
    with anyio.fail_after(50):
        while True:
            found: list[Event] = []
            after: Position | None = None
            while page := await store.read(after, where):
                found += page
                after = page[-1].position
            if len(found) >= number:
                return found
            await anyio.lowlevel.checkpoint()


async def test_what_no_store_may_hold_is_refused_before_anything_is_stored(store: EventStore) -> None:
    class Unknown(EventData):
        event_type = "tests.counter.unknown"

    class Anything(Counted):
        event_type = "tests.counter.counted"

    bad_events: list[list[NewEvent]] = [
        [NewEvent(Unknown())],
        [NewEvent(Anything(number=1))],
        [NewEvent(Counted(number=1, text="\ud800"))],
        [NewEvent(Counted(number=1, text="x" * MAX_EVENT_BYTES))],
        [NewEvent(Counted(number=1), personal={"alice": "x" * MAX_EVENT_BYTES})],
        [NewEvent(Counted(number=1), personal={"alice": object()})],
        [NewEvent(Counted(number=1), personal={"\ud800": "x"})],
        [NewEvent(Counted(number=1), principal="\ud800")],
        [NewEvent(Counted(number=1), principal="x" * 10_000)],
        [NewEvent(Counted(number=1), id="")],
        [NewEvent(Counted(number=1), id="a\x00")],
        [NewEvent(Counted(number=1), id="\ud800")],
        [NewEvent(Counted(number=1), id="x" * 200)],
        [NewEvent(Counted(number=1), id="same"), NewEvent(Counted(number=2), id="same")],
        [NewEvent(Counted(number=1), time=datetime(2026, 1, 1))],
        counted(*range(MAX_BATCH + 1)),
        [
            NewEvent(Counted(number=1, text="x" * (MAX_EVENT_BYTES - 100)))
            for _ in range(MAX_BATCH_BYTES // 200_000)
        ],
    ]
    for events in bad_events:
        with pytest.raises(CallerError) as caught:
            await store.append(STREAM, 0, [*counted(0), *events] if len(events) < 3 else events)
        assert caught.value.argument == "events"
    for stream in (
        "",
        "x",
        "tests/one",
        "tests.counter/",
        "tests.counter",
        "Tests.counter/1",
        "tests.counter/a\n",
        ".",
    ):
        with pytest.raises(CallerError) as caught:
            await store.append(stream, 0, counted(0))
        assert caught.value.argument == "stream"
    for stream in (
        "tests.counter/\x00",
        "tests.counter/\ud800",
        "tests.counter/ü",
        "tests.counter/'; --",
        "a.b/" + "x" * 300,
    ):
        with pytest.raises(CallerError):
            await store.append(stream, 0, counted(0))
        assert await store.read_stream(stream) == []
        assert await store.snapshot(stream, 1) is None
        with pytest.raises(CallerError):
            await store.save_snapshot(Snapshot(stream, 1, {}, 1))
    with pytest.raises(CallerError):
        await store.append(STREAM, -2, counted(0))
    for position in ("", "x", "-1", "1e3", "1.5.2", "1.-2", "9" * 40, "1." + "9" * 12, "²", "\ud800", "1\x00"):
        for read in (store.read, store.read_stored, store.count):
            with pytest.raises(CallerError):
                await read(Position(position))
    for limit in (0, -1):
        with pytest.raises(CallerError):
            await store.read(limit=limit)
    assert await store.read_stream(STREAM) == []


async def test_large_events_come_in_pages_that_fit_into_memory(store: EventStore) -> None:
    text, number = "x" * (MAX_EVENT_BYTES - 1000), 62
    for version in range(0, 2 * number, number):
        events = [NewEvent(Counted(number=n, text=text)) for n in range(number)]
        await store.append(STREAM, version, events)
    seen = await settled(store, 2 * number)
    assert [event.version for event in seen] == list(range(1, 2 * number + 1))
    assert number <= len(await store.read()) < 2 * number
    assert number <= len(await store.read_stored()) < 2 * number
    assert number <= len(await store.read_stream(STREAM)) < 2 * number


async def test_personal_data_is_gone_once_its_key_is_erased(store: EventStore) -> None:
    await store.save_snapshot(Snapshot(STREAM, 1, {"total": 1}, 1))
    event = NewEvent(Counted(number=1), personal={"alice": "of Alice", "bob": ["of Bob"]})
    await store.append(STREAM, 0, [event])
    assert await store.erase("alice")
    assert not await store.erase("alice")
    [read] = await store.read_stream(STREAM)
    assert read.personal == {"alice": None, "bob": ["of Bob"]}
    assert read.data["number"] == 1
    assert await store.snapshot(STREAM, 1) is None
    await store.append(STREAM, 1, [NewEvent(Counted(number=2), personal={"alice": "again"})])
    assert [one.personal["alice"] for one in await store.read_stream(STREAM)] == [None, "again"]


async def test_stored_bytes_hold_nothing_readable_and_are_the_same_every_time(store: EventStore) -> None:
    event = NewEvent(Counted(number=1, text="payload-text"), personal={"alice": "personal-text"}, principal="p")
    await store.append(STREAM, 0, [event, *counted(2)])
    await settled(store, 2)
    first, second = await store.read_stored()
    assert [first, second] == await store.read_stored()
    assert b"payload-text" not in first.payload
    assert b"personal-text" not in first.personal
    assert json.loads(first.attributes) == {"principal": "p"}
    assert (second.attributes, second.personal) == (b"{}", b"")
    assert (first.stream, first.version, first.id, first.type) == (STREAM, 1, event.id, "tests.counter.counted.v1")
    assert datetime.fromisoformat(first.time) == event.time
    assert len(first.time) == len("2026-01-01T00:00:00.000000Z")
    assert await store.read_stored(first.position, limit=1) == [second]


async def test_ciphertext_moved_to_another_place_is_damaged(where: str, cipher: EventCipher) -> None:
    if not where:
        where = "unused"
        store = MemoryEventStore(registry(), cipher)
        await store.append(STREAM, 0, counted(1, 2))
        rows = store._rows
        rows[1] = (*rows[1][:7], rows[0][7], b"")
        with pytest.raises(Damaged):
            await store.read()
        return
    swap = "UPDATE {} SET payload = (SELECT payload FROM {} WHERE version = 1) WHERE version = 2"
    async with opened(where, cipher) as store:
        await store.append(STREAM, 0, counted(1, 2))
        if where.startswith("postgresql:"):
            with psycopg.connect(where, autocommit=True) as connection:
                connection.execute(swap.format("quantum.events", "quantum.events"))
        else:
            with closing(sqlite3.connect(where)) as file, file:
                file.execute(swap.format("events", "events"))
        with pytest.raises(Damaged):
            await store.read_stream(STREAM)


async def test_a_store_without_keys_refuses_personal_data(where: str) -> None:
    async with AsyncExitStack() as stack:
        if where:
            store = await stack.enter_async_context(opened(where))
        else:
            store = MemoryEventStore(registry())
        with pytest.raises(ConfigurationError):
            await store.append(STREAM, 0, [NewEvent(Counted(number=1), personal={"alice": 1})])
        with pytest.raises(ConfigurationError):
            await store.erase("alice")
        [event] = await store.append(STREAM, 0, counted(1))
        assert await store.read_stream(STREAM) == [event]


async def test_snapshots_are_kept_by_schema_and_never_replaced_by_older_ones(store: EventStore) -> None:
    assert await store.snapshot(STREAM, 1) is None
    await store.save_snapshot(Snapshot(STREAM, 5, {"total": 5}, 1))
    await store.save_snapshot(Snapshot(STREAM, 3, {"total": 3}, 1))
    assert await store.snapshot(STREAM, 1) == Snapshot(STREAM, 5, {"total": 5}, 1)
    assert await store.snapshot(STREAM, 2) is None
    await store.save_snapshot(Snapshot(STREAM, 4, {"sum": 4}, 2))
    assert await store.snapshot(STREAM, 2) == Snapshot(STREAM, 4, {"sum": 4}, 2)
    with pytest.raises(CallerError):
        await store.save_snapshot(Snapshot(STREAM, 9, {"no": object()}, 2))


async def test_old_shapes_are_read_in_the_newest_one(where: str) -> None:
    class Renamed(EventData):
        event_type = "tests.counter.counted"
        event_version = 3
        amount: int
        unit: str

    newer = EventRegistry()
    newer.register(
        Renamed,
        {
            1: lambda old: {"amount": old["number"]},
            2: lambda old: {**old, "unit": "pieces"},
        },
    )
    async with AsyncExitStack() as stack:
        if where:
            store = await stack.enter_async_context(opened(where))
        else:
            store = MemoryEventStore(registry())
        await store.append(STREAM, 0, counted(7))
        store._registry = newer  # type: ignore[attr-defined]  # as after an update of the code
        [event] = await store.read_stream(STREAM)
        assert event.type == "tests.counter.counted.v1"
        assert newer.parse(event, Renamed) == Renamed(amount=7, unit="pieces")
        [event] = await store.append(STREAM, 1, [NewEvent(Renamed(amount=1, unit="kg"))])
        assert event.type == "tests.counter.counted.v3"
        store._registry = registry()  # type: ignore[attr-defined]  # as after going back to the older code
        with pytest.raises(Damaged, match="newer release"):
            await store.read_stream(STREAM)


async def test_times_are_kept_to_the_microsecond_whatever_their_zone(store: EventStore) -> None:
    zone = timezone(timedelta(hours=-7, minutes=-30))
    times = [
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2026, 12, 31, 23, 59, 59, 999999, tzinfo=zone),
        datetime(999, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    ]
    await store.append(STREAM, 0, [NewEvent(Counted(number=0), time=time) for time in times])
    assert [event.time for event in await store.read_stream(STREAM)] == times
