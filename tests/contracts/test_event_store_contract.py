"""What every event store does."""

import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime, timedelta, timezone
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from reference.counting import Cleared, Counted, a_cipher, counted, opened, registry

from quantum_suite.core.errors import Conflict, Fenced, Unavailable
from quantum_suite.core.events import Event, EventFilter, Fence, NewEvent, Position
from quantum_suite.services.events.interface import (
    ANY_VERSION,
    EventStore,
)
from quantum_suite.services.events.memory import MemoryEventStore
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


async def test_an_event_reads_back_as_it_was_appended(store: EventStore) -> None:
    time = datetime(2026, 3, 1, 12, 0, 0, 120, tzinfo=timezone(timedelta(hours=2)))
    event = NewEvent(
        Counted(number=2**70, text="a\x00b ü \U0001f600"),
        subject="thing",
        personal={"alice": {"name": "Alice"}},
        principal="user:bob",
        correlation_id="run_1",
        causation_id="evt_0",
        traceparent="00-ab-cd-01",
        time=time,
    )
    [appended] = await store.append(STREAM, 0, [event])
    assert [appended] == await settled(store, 1) == await store.read_stream(STREAM)
    assert appended.position == await store.head()
    assert (appended.stream, appended.version, appended.id) == (STREAM, 1, event.id)
    assert appended.type == "tests.counter.counted.v1"
    assert appended.time == time
    assert registry().parse(appended, Counted) == event.data
    assert appended.personal == {"alice": {"name": "Alice"}}
    assert (appended.subject, appended.principal, appended.correlation_id) == ("thing", "user:bob", "run_1")
    assert (appended.causation_id, appended.traceparent) == ("evt_0", "00-ab-cd-01")


async def test_events_come_in_the_order_of_their_appends_and_streams_have_no_gaps(store: EventStore) -> None:
    for turn in range(5):
        await store.append(STREAM, turn * 3, counted(0, 1, 2))
        await store.append("tests.counter/two", turn, counted(turn))
    events = await settled(store, 20)
    assert [event.stream for event in events] == ([STREAM] * 3 + ["tests.counter/two"]) * 5
    one = await store.read_stream(STREAM)
    assert [event.version for event in one] == list(range(1, 16))
    assert await store.read_stream(STREAM, 13) == one[13:]
    assert await store.read_stream(STREAM, 2**80) == []
    assert await store.read_stream(STREAM, -5, limit=2) == one[:2]
    assert await store.read(events[4].position, limit=3) == events[5:8]
    assert await store.count() == 20
    assert await store.count(events[14].position) == 5
    assert await store.read(events[-1].position) == []


async def test_an_empty_store_has_no_head_and_nothing_to_read(store: EventStore) -> None:
    assert await store.head() is None
    assert await store.read() == []
    assert await store.count() == 0
    assert await store.read_stream("tests.counter/none") == []
    assert await store.append(STREAM, 0, []) == []
    assert await store.read_stream(STREAM) == []


async def test_an_append_at_another_version_is_a_conflict_and_stores_nothing(store: EventStore) -> None:
    await store.append(STREAM, 0, counted(1))
    for version in (0, 2, 10**12):
        with pytest.raises(Conflict):
            await store.append(STREAM, version, counted(2, 3))
    await store.append(STREAM, ANY_VERSION, counted(4))
    assert [event.data["number"] for event in await store.read_stream(STREAM)] == [1, 4]


async def test_of_many_who_append_at_the_same_version_exactly_one_wins(store: EventStore) -> None:
    won: list[int] = []

    async def append(version: int, number: int) -> None:
        try:
            await store.append(STREAM, version, counted(number, number))
        except Conflict:
            return
        won.append(number)

    for turn in range(5):
        async with anyio.create_task_group() as tasks:
            for number in range(16):
                tasks.start_soon(append, turn * 2, turn * 100 + number)
        assert len(won) == turn + 1
    expected = [number for number in won for _ in range(2)]
    assert [event.data["number"] for event in await store.read_stream(STREAM)] == expected


async def test_appends_that_fail_do_their_neighbours_no_harm(store: EventStore) -> None:
    outcomes: list[str] = []

    async def append(number: int) -> None:
        stream, version = f"tests.counter/{number}", 0 if number % 3 else 7
        try:
            await store.append(stream, version, counted(number))
        except Conflict:
            outcomes.append("conflict")
        else:
            outcomes.append("stored")

    async with anyio.create_task_group() as tasks:
        for number in range(60):
            tasks.start_soon(append, number)
    assert (outcomes.count("stored"), outcomes.count("conflict")) == (40, 20)
    assert len(await settled(store, 40)) == 40


async def test_repeating_an_append_changes_nothing_and_returns_what_is_stored(store: EventStore) -> None:
    first, second = counted(1, 2, 3), counted(4)
    stored = await store.append(STREAM, 0, first)
    assert await store.append(STREAM, ANY_VERSION, first) == stored
    await store.append(STREAM, 3, second)
    assert await store.append(STREAM, 0, first) == stored
    with pytest.raises(Conflict):
        await store.append(STREAM, 0, first[:2] + counted(9))
    with pytest.raises(Conflict):
        await store.append(STREAM, 2, counted(9))
    assert len(await store.read_stream(STREAM)) == 4


async def test_the_same_append_made_twice_at_once_is_stored_once(store: EventStore) -> None:
    for expected in (0, ANY_VERSION):
        stream, events, answers = f"tests.counter/twice{expected}", counted(1, 2), []

        async def append(stream: str, expected: int, events: list[NewEvent], answers: list[list[Event]]) -> None:
            answers.append(await store.append(stream, expected, events))

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(append, stream, expected, events, answers)
        assert answers == [await store.read_stream(stream)] * 5
        assert len(answers[0]) == 2


async def test_an_outdated_fencing_token_writes_nothing(store: EventStore) -> None:
    await store.append(STREAM, 0, counted(1), fence=Fence("relay", 5))
    await store.append(STREAM, 1, counted(2), fence=Fence("relay", 7))
    await store.append(STREAM, 2, counted(3), fence=Fence("other", 1))
    for token in (6, 5, -1):
        with pytest.raises(Fenced):
            await store.append(STREAM, 3, counted(4), fence=Fence("relay", token))
    await store.append(STREAM, 3, counted(5), fence=Fence("relay", 7))
    assert [event.data["number"] for event in await store.read_stream(STREAM)] == [1, 2, 3, 5]


async def test_filters_choose_by_type_prefix_and_stream(store: EventStore) -> None:
    await store.append(STREAM, 0, [*counted(1), NewEvent(Cleared())])
    await store.append("tests.counter/two", 0, [NewEvent(Cleared()), *counted(2)])
    everything = await settled(store, 4)

    async def found(types: set[str], stream: str | None = None) -> list[int]:
        events = await store.read(where=EventFilter(frozenset(types), stream))
        return [everything.index(event) for event in events]

    assert await found({"tests.counter.counted"}) == [0, 3]
    assert await found({"tests.counter."}) == [0, 1, 2, 3]
    assert await found({"tests.", "other."}) == [0, 1, 2, 3]
    assert await found({"tests.counter.cleared"}, STREAM) == [1]
    assert await found(set(), "tests.counter/two") == [2, 3]
    for types in (
        {"tests.counter.count"},
        {"tests.counter"},
        {".*."},
        {"a\x00."},
        {"\ud800"},
        {"("},
        {"' OR 1=1"},
    ):
        assert await found(types) == []
    assert await found(set(), "'; DROP TABLE events; --") == []
    assert await found(set(), "\ud800\x00") == []
    wanted = EventFilter(frozenset({"tests.counter.counted"}))
    assert await store.read(everything[0].position, wanted) == [everything[3]]
    assert await store.read(where=wanted, limit=1) == [everything[0]]


async def test_a_subscriber_gets_what_is_there_and_then_what_comes(store: EventStore) -> None:
    events = await store.append(STREAM, 0, counted(*range(5)))
    await settled(store, 5)
    seen: list[int] = []
    with anyio.fail_after(50):
        async with anyio.create_task_group() as tasks, store.subscribe(events[1].position) as batches:
            async for batch in batches:
                assert batch
                seen += [event.data["number"] for event in batch]
                if seen == [2, 3, 4]:
                    tasks.start_soon(store.append, STREAM, 5, counted(5, 6))
                if seen[-1] == 6:
                    break
    assert seen == [2, 3, 4, 5, 6]


async def test_a_subscriber_with_a_filter_gets_no_more_than_it_wants(store: EventStore) -> None:
    wanted = EventFilter(frozenset({"tests.counter.cleared"}))
    with anyio.fail_after(50):
        async with anyio.create_task_group() as tasks, store.subscribe(where=wanted) as batches:
            tasks.start_soon(store.append, STREAM, 0, [*counted(*range(10)), NewEvent(Cleared())])
            [event] = await anext(batches)
            assert event.version == 11
            tasks.start_soon(store.append, STREAM, 11, [NewEvent(Cleared())])
            [event] = await anext(batches)
            assert event.version == 12


async def test_every_subscriber_sees_every_event_once_and_in_order(store: EventStore) -> None:
    number = 120
    seen: list[list[Event]] = [[], [], []]

    async def follow(mine: list[Event]) -> None:
        async with store.subscribe() as batches:
            async for batch in batches:
                mine += batch
                if len(mine) >= number:
                    return

    async def produce(stream: str) -> None:
        for version in range(0, number // 6, 2):
            await store.append(stream, version, counted(version, version + 1))

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            for mine in seen:
                tasks.start_soon(follow, mine)
            for n in range(6):
                tasks.start_soon(produce, f"tests.counter/{n}")
    assert seen[0] == seen[1] == seen[2] == await store.read()
    assert len({event.id for event in seen[0]}) == number


async def test_wake_works_from_any_thread(where: str, cipher: EventCipher) -> None:
    async with AsyncExitStack() as stack:
        if where:
            mine = await stack.enter_async_context(opened(where, cipher, polling_seconds=3600))
            theirs = await stack.enter_async_context(opened(where, cipher))
        else:
            mine = theirs = MemoryEventStore(registry(), cipher, polling_seconds=3600)
        got: list[Event] = []

        async def follow() -> None:
            async with mine.subscribe() as batches:
                got.extend(await anext(batches))

        with anyio.fail_after(50):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(follow)
                await theirs.append(STREAM, 0, counted(1))
                while not got:
                    thread = threading.Thread(target=mine.wake)
                    thread.start()
                    await anyio.to_thread.run_sync(thread.join)
        assert [event.data["number"] for event in got] == [1]


async def test_a_subscription_that_is_left_or_cancelled_leaves_the_store_working(store: EventStore) -> None:
    with anyio.move_on_after(0.05) as scope:
        async with store.subscribe() as batches:
            await anext(batches)
    assert scope.cancelled_caught
    assert await store.append(STREAM, 0, counted(1))


async def test_a_cancelled_append_is_settled_by_repeating_it(store: EventStore) -> None:
    events = counted(1, 2)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await store.append(STREAM, 0, events)
    stored = await store.append(STREAM, 0, events)
    assert stored == await store.read_stream(STREAM)
    assert len(stored) == 2


async def test_a_closed_store_says_so(where: str, cipher: EventCipher) -> None:
    if not where:
        return
    async with opened(where, cipher) as store:
        await store.append(STREAM, 0, counted(1))
    with pytest.raises(Unavailable):
        await store.append(STREAM, 1, counted(2))
    with pytest.raises(Unavailable):
        await store.read()


async def test_the_log_is_read_backwards_page_by_page(store: EventStore) -> None:
    for number in range(7):
        await store.append(f"tests.counter/{number % 2}", ANY_VERSION, counted(number))
    forwards = [event.id for event in await settled(store, 7)]

    backwards: list[Event] = []
    before: Position | None = None
    while page := await store.read_back(before, limit=3):
        backwards += page
        before = page[-1].position

    assert [event.id for event in backwards] == forwards[::-1]
