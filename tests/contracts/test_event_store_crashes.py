"""What event stores do on bad days: writers killed, servers lost or hung, disks full, transactions held open."""

import json
import logging
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import psycopg
import pytest
from reference.backends import Postgres, running
from reference.counting import counted, opened, registry

from quantum_suite.core.errors import Unavailable
from quantum_suite.core.events import Event, NewEvent, Position
from quantum_suite.services.databases.postgres import open_postgres
from quantum_suite.services.events.interface import ANY_VERSION, EventStore
from quantum_suite.services.events.postgres import PostgresEventStore

pytestmark = pytest.mark.anyio

REFERENCE = Path(__file__).parents[1] / "reference"
STREAM = "tests.counter/one"
KILLS = 3


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store that several processes share keeps its events."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return str(tmp_path / "events.sqlite3")


@pytest.fixture
def own_server(backends_directory: Path, request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """A PostgreSQL of the test's own, to be killed."""
    server = Postgres(backends_directory / request.node.name)
    with running(server):
        yield server


def producer(where: str, name: str, producers: int, appends: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, str(REFERENCE / "event_producer.py"), where, name, str(producers), str(appends)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def acknowledged(lines: list[str]) -> dict[str, dict[int, str]]:
    """Return what a producer was told: by stream, the ids by version. A last line cut short does not count."""
    said: dict[str, dict[int, str]] = {}
    for line in lines:
        if line.endswith("\n"):
            stream, version, ids = json.loads(line)
            said.setdefault(stream, {}).update(enumerate(ids, version))
    return said


async def whole(store: EventStore) -> list[Event]:
    """Return the log."""
    found: list[Event] = []
    after: Position | None = None
    while page := await store.read(after):
        found += page
        after = page[-1].position
    return found


async def test_what_was_acknowledged_survives_kill_9_of_the_writer_once_and_in_order(where: str) -> None:
    said: list[str] = []
    async with opened(where) as store:
        for kill in range(KILLS):
            process = producer(where, "killed", 5)
            assert process.stdout is not None
            for _ in range(40 + 17 * kill):
                said.append(await anyio.to_thread.run_sync(process.stdout.readline))
            process.send_signal(signal.SIGKILL)
            # Not by `communicate`: it knows nothing of what was read ahead, and begins in the middle of a line.
            said += await anyio.to_thread.run_sync(process.stdout.readlines)
            _, errors = await anyio.to_thread.run_sync(process.communicate)
            assert process.returncode == -signal.SIGKILL, errors
        log = await whole(store)
        assert len({event.id for event in log}) == len(log)
        by_stream: dict[str, list[Event]] = {}
        for event in log:
            by_stream.setdefault(event.stream, []).append(event)
        told = acknowledged(said)
        assert told.keys() <= by_stream.keys()
        for stream, events in by_stream.items():
            assert [event.version for event in events] == list(range(1, len(events) + 1))
            assert events == (await store.read_stream(stream))[: len(events)]
            stored = {event.version: event.id for event in events}
            assert told.get(stream, {}).items() <= stored.items()


async def test_a_subscriber_sees_what_other_processes_append(where: str) -> None:
    seen: list[Event] = []
    async with opened(where) as store:
        await store.append(STREAM, 0, counted(1))
        processes = [producer(where, f"other{number}", 3, 20) for number in range(2)]
        expected = 1 + 2 * 3 * sum(turn % 7 + 1 for turn in range(1, 21))
        with anyio.fail_after(60):
            async with store.subscribe() as batches:
                async for batch in batches:
                    seen += batch
                    if len(seen) >= expected:
                        break
        for process in processes:
            _, errors = await anyio.to_thread.run_sync(process.communicate)
            assert process.returncode == 0, errors
        assert seen == await whole(store)
        assert len({event.id for event in seen}) == expected


async def test_on_a_full_disk_nothing_is_stored_and_with_room_again_the_store_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "events.sqlite3"
    command = [sys.executable, str(REFERENCE / "full_disk.py"), str(file)]
    done = await anyio.run_process(command, check=False)
    assert done.returncode == 0, done.stderr.decode()
    said = json.loads(done.stdout)
    assert said["refused"] == 3
    assert len(said["before"]) > 1
    async with opened(file) as store:
        assert [event.id for event in await whole(store)] == said["before"] + said["after"]


async def test_events_survive_kill_9_of_the_server_and_followers_wait_with_one_line_in_the_log(
    own_server: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    number, wanted = 4, 120
    sent: dict[str, list[str]] = {f"tests.counter/{n}": [] for n in range(number)}
    seen: list[Event] = []

    async def kill_and_start() -> None:
        for share in (0.3, 0.6):
            while len(seen) < number * wanted * share:
                await anyio.lowlevel.checkpoint()
            await anyio.to_thread.run_sync(own_server.kill)
            await anyio.to_thread.run_sync(own_server.start)

    with caplog.at_level(logging.INFO, "quantum_suite.services.events"), anyio.fail_after(90):
        async with opened(own_server.url) as store:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(follow, store, seen, number * wanted)
                tasks.start_soon(kill_and_start)
                for stream, ids in sent.items():
                    tasks.start_soon(produce, store, stream, ids, wanted)
            for stream, ids in sent.items():
                assert [event.id for event in await store.read_stream(stream)] == ids
            assert [event.id for event in seen] == [event.id for event in await whole(store)]
    said = [record.getMessage().partition(";")[0] for record in caplog.records]
    assert said.count("The event store is away") <= 2
    assert said.count("The event store is away") == said.count("The event store is back.")


async def produce(store: EventStore, stream: str, sent: list[str], wanted: int) -> None:
    """Append until so many are there; what fails is repeated with the same ids."""
    while len(sent) < wanted:
        events = counted(1, 2, 3)
        while True:
            try:
                await store.append(stream, len(sent), events)
                break
            except Unavailable:
                continue
        sent += [event.id for event in events]


async def follow(store: EventStore, seen: list[Event], wanted: int) -> None:
    """Follow the log until so many were seen."""
    async with store.subscribe() as batches:
        async for batch in batches:
            seen += batch
            if len(seen) >= wanted:
                return


async def test_a_server_that_hangs_counts_as_away_and_is_used_again_when_it_answers(own_server: Postgres) -> None:
    events = counted(1)
    async with (
        open_postgres(own_server.url) as database,
        PostgresEventStore(database, registry(), timeout_seconds=0.5) as store,
    ):
        await store.append(STREAM, 0, counted(0))
        own_server.pause()
        try:
            async with anyio.create_task_group() as tasks:
                for use in (partial(store.append, STREAM, 1, events), store.read, store.head):
                    tasks.start_soon(expect_away, use)
        finally:
            own_server.unpause()
        with anyio.fail_after(30):
            while True:
                try:
                    await store.append(STREAM, 1, events)
                    break
                except Unavailable:
                    continue
        assert [event.id for event in (await store.read_stream(STREAM))[1:]] == [events[0].id]


async def expect_away(use: Callable[[], Awaitable[object]]) -> None:
    with pytest.raises(Unavailable):
        await use()


@pytest.fixture
async def postgres(postgres_url: str) -> AsyncIterator[EventStore]:
    async with opened(postgres_url) as store:
        yield store


async def test_nothing_appears_before_what_a_reader_has_passed(postgres_url: str, postgres: EventStore) -> None:
    [first] = await postgres.append(STREAM, 0, counted(1))
    with closing(psycopg.connect(postgres_url)) as slow:
        slow.execute("SET search_path = quantum")
        slow.execute("""INSERT INTO streams (name, version, last_id) VALUES ('tests.counter/slow', 1, 'slow')""")
        slow.execute(
            """INSERT INTO events SELECT pg_current_xact_id()::text::bigint, s.number, 1, 1, t.number, 'slow',
            '2026-01-01T00:00:00.000000Z', '{}', '{"number": 0}', '' FROM streams s, event_types t
            WHERE s.name = 'tests.counter/slow'"""
        )
        [later] = await postgres.append("tests.counter/fast", 0, counted(2))
        assert await postgres.read_stream("tests.counter/fast") == [later]
        seen: list[Event] = []
        with anyio.fail_after(50):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(follow, postgres, seen, 3)
                while not seen:
                    await anyio.lowlevel.checkpoint()
                # The slow transaction began before the append that was committed: it may still add to the log.
                for _ in range(5):
                    assert await postgres.read() == seen == [first]
                    assert await postgres.head() == first.position
                    assert await postgres.count() == 1
                slow.commit()
        assert [event.id for event in seen] == [first.id, "slow", later.id]


async def test_a_stream_is_in_order_in_the_log_though_a_younger_transaction_wrote_to_it_first(
    postgres_url: str, postgres: EventStore
) -> None:
    await postgres.append(STREAM, 0, counted(0))
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        # As after another process, whose transaction is younger than the next few here, has appended.
        row = connection.execute(
            "UPDATE quantum.streams SET last_transaction = last_transaction + 6 RETURNING last_transaction"
        ).fetchone()
    events = [*counted(1), *counted(2)]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(postgres.append, STREAM, 1, events)
        for number in range(5):
            tasks.start_soon(postgres.append, f"tests.counter/{number}", 0, counted(number))
    found = (await postgres.read_stream(STREAM))[1:]
    assert [event.id for event in found] == [event.id for event in events]
    assert row is not None
    assert all(int(event.position.partition(".")[0]) > row[0] for event in found)


async def test_a_log_loaded_into_a_younger_server_goes_on_in_order(postgres_url: str) -> None:
    async with opened(postgres_url) as store:
        await store.append(STREAM, 0, counted(1, 2))
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        # As after a dump from a server that has counted a billion transactions more.
        connection.execute("UPDATE quantum.events SET transaction_id = transaction_id + 1000000000")
    async with opened(postgres_url) as store, opened(postgres_url) as other:
        await store.append(STREAM, 2, counted(3))
        await other.append(STREAM, 3, counted(4))
        with anyio.fail_after(50):
            while len(events := await store.read()) < 4:
                await anyio.lowlevel.checkpoint()
        assert [event.data["number"] for event in events] == [1, 2, 3, 4]


async def test_stores_that_append_to_the_same_streams_at_once_end_without_gaps(where: str) -> None:
    streams, turns = [f"tests.counter/{number}" for number in range(5)], 15
    sent: set[str] = set()

    async def produce_everywhere(store: EventStore, shift: int) -> None:
        for turn in range(turns):
            async with anyio.create_task_group() as tasks:
                for number in range(len(streams)):
                    events = counted(turn, turn)
                    sent.update(event.id for event in events)
                    stream = streams[(number + shift) % len(streams)]
                    tasks.start_soon(append, store, stream, events)

    async def append(store: EventStore, stream: str, events: list[NewEvent]) -> None:
        await store.append(stream, ANY_VERSION, events)

    async with opened(where) as one, opened(where) as two:
        seen: list[Event] = []
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(follow, one, seen, 2 * turns * len(streams) * 2)
                tasks.start_soon(produce_everywhere, one, 0)
                tasks.start_soon(produce_everywhere, two, 3)
        assert {event.id for event in seen} == sent
        assert len(seen) == len(sent)
        for stream in streams:
            events = await two.read_stream(stream)
            assert [event.version for event in events] == list(range(1, 4 * turns + 1))
            assert [event for event in seen if event.stream == stream] == events
