"""Events on their way from the store over the relay and the bus to consumers, on good days and bad ones."""

import logging
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream
from reference.backends import Nats, running
from reference.things import SUBJECT, registry, things

from quantum_suite.core.errors import Fenced, Unavailable
from quantum_suite.core.events import Event, Fence, Position
from quantum_suite.services.bus.consuming import consume_with_inbox
from quantum_suite.services.bus.interface import Bus, Message
from quantum_suite.services.bus.memory import MemoryBus
from quantum_suite.services.bus.nats import NatsBus
from quantum_suite.services.bus.nats_connection import open_nats
from quantum_suite.services.bus.wake_up import wake_on_news
from quantum_suite.services.events.interface import ANY_VERSION, EventStore
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.relay import RELAY, Relay, message_of
from quantum_suite.services.events.sqlite import SqliteEventStore
from quantum_suite.services.leases.interface import LeaseStore
from quantum_suite.services.leases.memory import MemoryLeaseStore
from quantum_suite.services.projections.interface import ProgressStore
from quantum_suite.services.projections.memory import MemoryProgressStore
from quantum_suite.services.projections.sqlite import SqliteProgressStore

pytestmark = pytest.mark.anyio

BOUND_SECONDS = 60.0
STREAM = "test.thing/1"
CHILD = Path(__file__).parents[1] / "reference" / "relay_child.py"


async def append(events: EventStore, first: int, count: int) -> Position:
    stored = await events.append(STREAM, ANY_VERSION, things(first, count))
    return stored[-1].position


async def until_at(progress: ProgressStore, position: Position) -> None:
    while await progress.checkpoint(RELAY) != position:
        await anyio.sleep(0.005)


class Recorder:
    """Notes what is published, and can be away or hold a publisher back."""

    def __init__(self) -> None:
        self.published: list[Message] = []
        self.away = False
        self.refusals = 0
        self.gate: anyio.Event | None = None
        self.waiting = anyio.Event()

    async def publish(self, messages: list[Message]) -> None:
        if self.gate is not None:
            self.waiting.set()
            await self.gate.wait()
        if self.away:
            self.refusals += 1
            raise Unavailable("The broker is away.")
        self.published += messages

    def numbers(self) -> list[int]:
        return [message.body["data"]["number"] for message in self.published]


@asynccontextmanager
async def relaying(
    events: EventStore, bus: Bus, progress: ProgressStore, leases: LeaseStore, holder: str = "a"
) -> AsyncIterator[None]:
    with anyio.fail_after(BOUND_SECONDS):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Relay(events, bus, progress, leases, holder=holder, ttl_seconds=60).run)
            yield
            tasks.cancel_scope.cancel()


async def test_an_event_reaches_a_consumer_as_a_cloud_event() -> None:
    events, bus = MemoryEventStore(registry()), MemoryBus()
    async with (
        bus.consume("quantum.events.test.>") as deliveries,
        relaying(events, bus, MemoryProgressStore(), MemoryLeaseStore()),
    ):
        [stored] = await events.append(STREAM, 0, things(1, 1))
        message = (await anext(deliveries)).message
    assert (message.id, message.subject) == (stored.position, SUBJECT)
    assert message.body == stored.as_cloud_event()
    assert message.body["data"] == {"number": 1}


def test_what_an_event_says_of_people_does_not_go_out() -> None:
    said = Event(
        position=Position("7"),
        stream=STREAM,
        version=1,
        id="evt_1",
        type="test.thing.happened.v1",
        time=datetime.now(UTC),
        data={"number": 1},
        personal={"user:ada": {"mail": "ada@example.org"}},
    )
    message = message_of(said)
    assert message.body["data"] == {"number": 1}
    assert "ada" not in str(message)


async def test_a_relay_goes_on_where_the_one_before_it_stopped() -> None:
    events, bus, progress, leases = (
        MemoryEventStore(registry()),
        Recorder(),
        MemoryProgressStore(),
        MemoryLeaseStore(),
    )
    for first in (0, 750):
        await append(events, first, 750)
    async with relaying(events, bus, progress, leases):
        await until_at(progress, await append(events, 1500, 10))
    await append(events, 1510, 10)
    async with relaying(events, bus, progress, leases, "b"):
        await until_at(progress, await append(events, 1520, 10))
    assert bus.numbers() == list(range(1530))


async def test_a_bus_that_is_away_delays_events_and_the_log_says_when_it_went_and_came(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    events, bus, progress = MemoryEventStore(registry()), Recorder(), MemoryProgressStore()
    bus.away = True
    async with relaying(events, bus, progress, MemoryLeaseStore()):
        await append(events, 0, 10)
        while bus.refusals < 3:
            await anyio.sleep(0.005)
        position = await append(events, 10, 10)
        bus.away = False
        await until_at(progress, position)
    assert bus.numbers() == list(range(20))
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2, said
    assert "away" in said[0]
    assert "back" in said[1]


class WatchedProgress(MemoryProgressStore):
    """Notes who was refused."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: list[Fence] = []

    async def advance(self, consumer: str, position: Position, event_ids: Sequence[str], fence: Fence) -> None:
        try:
            await super().advance(consumer, position, event_ids, fence)
        except Fenced:
            self.refused.append(fence)
            raise


async def test_a_relay_paused_past_its_lease_moves_no_checkpoint_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    now = [0]
    leases = MemoryLeaseStore(clock=lambda: now[0])
    events, progress, slow, quick = MemoryEventStore(registry()), WatchedProgress(), Recorder(), Recorder()
    slow.gate = anyio.Event()
    await append(events, 0, 5)
    async with relaying(events, slow, progress, leases, "paused"):
        await slow.waiting.wait()
        now[0] = 61_000_000_000
        position = await append(events, 5, 5)
        async with relaying(events, quick, progress, leases, "successor"):
            await until_at(progress, position)
            slow.gate.set()
            while not progress.refused:
                await anyio.sleep(0.005)
            assert await progress.checkpoint(RELAY) == position
            assert await leases.holders("") == {RELAY: "successor"}
    assert len(progress.refused) == 1
    assert any("paused leads relay no longer" in record.getMessage() for record in caplog.records)
    assert quick.numbers() == list(range(10))


async def test_what_is_heard_on_the_bus_wakes_subscribers_that_would_poll_in_an_hour(tmp_path: Path) -> None:
    bus, path = MemoryBus(), tmp_path / "events.db"
    async with (
        SqliteEventStore(path, registry()) as here,
        SqliteEventStore(path, registry(), polling_seconds=3600) as there,
        relaying(here, bus, MemoryProgressStore(), MemoryLeaseStore()),
        anyio.create_task_group() as tasks,
        there.subscribe() as batches,
    ):
        tasks.start_soon(wake_on_news, bus, there)
        got = anyio.Event()

        async def wait() -> None:
            await anext(batches)
            got.set()

        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        await append(here, 0, 1)
        await got.wait()
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def counting(bus: Bus, progress: ProgressStore) -> AsyncIterator[list[int]]:
    """A consumer with an inbox; yields the numbers of the events it handled."""
    handled: list[int] = []

    async def handle(message: Message) -> None:
        handled.append(message.body["data"]["number"])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(consume_with_inbox, bus, progress, "counting", "quantum.events.>", handle)
        yield handled
        tasks.cancel_scope.cancel()


async def until_handled(handled: list[int], count: int) -> None:
    with anyio.fail_after(BOUND_SECONDS):
        while len(set(handled)) < count:
            await anyio.sleep(0.01)


async def test_a_relay_killed_again_and_again_loses_nothing_and_the_inbox_makes_it_once(tmp_path: Path) -> None:
    chance, rounds, each = random.Random(3), 20, 25
    with running(server := Nats(tmp_path / "nats")):
        async with (
            open_nats(server.url) as connection,
            SqliteEventStore(tmp_path / "events.db", registry()) as events,
            counting_in(tmp_path, NatsBus(connection)) as handled,
            relay_processes(tmp_path, server.url) as start,
        ):
            for number in range(rounds):
                pid = await start("relay")
                await append(events, number * each, each)
                await anyio.sleep(chance.uniform(0, 0.12))  # a moment nobody chose
                os.kill(pid, signal.SIGKILL)
            await start("relay")
            await until_handled(handled, rounds * each)
    assert handled == list(range(rounds * each))


async def test_a_relay_stopped_by_the_system_is_succeeded_and_bows_out_when_it_goes_on(tmp_path: Path) -> None:
    with running(server := Nats(tmp_path / "nats")):
        async with (
            open_nats(server.url) as connection,
            SqliteEventStore(tmp_path / "events.db", registry()) as events,
            counting_in(tmp_path, NatsBus(connection)) as handled,
            relay_processes(tmp_path, server.url) as start,
        ):
            first = await start("first")
            await append(events, 0, 10)
            await until_handled(handled, 10)
            os.kill(first, signal.SIGSTOP)
            second = await start("second")
            await append(events, 10, 10)
            await until_handled(handled, 20)
            os.kill(first, signal.SIGCONT)
            await append(events, 20, 10)
            await until_handled(handled, 30)
            os.kill(second, signal.SIGKILL)
            await append(events, 30, 10)
            await until_handled(handled, 40)
    assert handled == list(range(40))


async def test_a_broker_that_dies_while_events_flow_delays_and_loses_nothing(tmp_path: Path) -> None:
    with running(server := Nats(tmp_path / "nats")):
        async with (
            open_nats(server.url, answer_seconds=1) as connection,
            SqliteEventStore(tmp_path / "events.db", registry()) as events,
            counting_in(tmp_path, NatsBus(connection)) as handled,
            relaying(events, NatsBus(connection), MemoryProgressStore(), MemoryLeaseStore()),
        ):
            for number in range(3):
                await append(events, number * 20, 10)
                server.kill()
                await append(events, number * 20 + 10, 10)
                await anyio.to_thread.run_sync(server.start)
            await until_handled(handled, 60)
    assert handled == list(range(60))


@asynccontextmanager
async def counting_in(directory: Path, bus: Bus) -> AsyncIterator[list[int]]:
    """A consumer whose inbox is a file, at work from now on."""
    with SqliteProgressStore(directory / "inbox.db") as progress:
        async with counting(bus, progress) as handled:
            await anyio.wait_all_tasks_blocked()
            yield handled


@asynccontextmanager
async def relay_processes(directory: Path, nats_url: str) -> AsyncIterator[Callable[[str], Awaitable[int]]]:
    """Yields what starts one more relay and returns its process id."""
    environment = os.environ | {"PYTHONPATH": str(CHILD.parents[1])}
    command = [sys.executable, str(CHILD), str(directory), nats_url]
    async with await anyio.open_process(command, stderr=None, env=environment) as process:
        pids: list[int] = []
        assert process.stdin is not None
        assert process.stdout is not None
        printed = BufferedByteReceiveStream(process.stdout)

        async def start(holder: str) -> int:
            await process.stdin.send(f"{holder}\n".encode())
            pids.append(int(await printed.receive_until(b"\n", 100)))
            return pids[-1]

        try:
            yield start
        finally:
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            process.kill()
