"""Running projections and consumers."""

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
import pytest
from reference.happenings import Happened, Noticed, happen, until

from quantum_suite.core.errors import CallerError, ConfigurationError, NotFound, Unavailable
from quantum_suite.core.events import Event, EventFilter, Fence, NewEvent, Position
from quantum_suite.services.events.interface import ANY_VERSION
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.leases.memory import MemoryLeaseStore
from quantum_suite.services.projections.control_events import CONTROL_EVENTS
from quantum_suite.services.projections.interface import ParkedEvent
from quantum_suite.services.projections.memory import MemoryProgressStore
from quantum_suite.services.projections.runner import ProjectionRunner
from quantum_suite.services.projections.status import ProjectionStatus
from quantum_suite.services.projections.worker import RunnerSettings

pytestmark = pytest.mark.anyio

QUICK = RunnerSettings(lease_seconds=1, first_retry_seconds=0.01, longest_retry_seconds=0.05, measure_seconds=0.02)
DEMO = EventFilter(types=frozenset({"demo."}))


class Sums:
    """A projection: numbers in order, with its checkpoint beside them."""

    def __init__(self, name: str = "sums") -> None:
        self.name = name
        self.where = DEMO
        self.numbers: list[int] = []
        self.position: Position | None = None
        self.batches: list[int] = []
        self.refuses: Callable[[int], Exception | None] = lambda _: None

    async def checkpoint(self) -> Position | None:
        return self.position

    async def apply(self, events: Sequence[Event], fence: Fence) -> None:
        for event in events:
            if error := self.refuses(event.data["number"]):
                raise error
        self.batches.append(len(events))
        self.numbers += [event.data["number"] for event in events]
        self.position = events[-1].position

    async def reset(self) -> None:
        self.numbers, self.position = [], None


class Sender:
    """A consumer: remembers what it was given."""

    def __init__(self, name: str = "sender") -> None:
        self.name = name
        self.where = DEMO
        self.sent: list[int] = []
        self.refuses: Callable[[int], Exception | None] = lambda _: None

    async def handle(self, event: Event) -> None:
        number = event.data["number"]
        if error := self.refuses(number):
            raise error
        self.sent.append(number)


class House:
    """What a runner needs, and runners made with it."""

    def __init__(self) -> None:
        self.registry = EventRegistry([Happened, Noticed, *CONTROL_EVENTS])
        self.events = MemoryEventStore(self.registry, polling_seconds=0.02)
        self.progress = MemoryProgressStore()
        self.leases = MemoryLeaseStore()

    def runner(self, holder: str = "here", settings: RunnerSettings = QUICK) -> ProjectionRunner:
        return ProjectionRunner(self.events, self.progress, self.leases, holder=holder, settings=settings)


@pytest.fixture
def house() -> House:
    return House()


@asynccontextmanager
async def running(runner: ProjectionRunner) -> AsyncIterator[ProjectionRunner]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(runner.run)
        yield runner
        tasks.cancel_scope.cancel()


def status(runner: ProjectionRunner, name: str) -> ProjectionStatus:
    return next(one for one in runner.statuses() if one.name == name)


def only(bad: int, error: Exception) -> Callable[[int], Exception | None]:
    return lambda number: error if number == bad else None


async def parked_positions(house: House) -> list[Position]:
    return [parked.position for parked in await house.progress.parked()]


async def until_parked(house: House, count: int) -> list[ParkedEvent]:
    with anyio.fail_after(50):
        while len(parked := await house.progress.parked()) != count:
            await anyio.sleep(0.005)
    return parked


async def test_a_projection_takes_in_what_there_is_and_what_comes(house: House) -> None:
    sums = Sums()
    await happen(house.events, 1, 2)
    runner = house.runner()
    runner.add_projection(sums)
    async with running(runner):
        await until(lambda: sums.numbers == [1, 2])
        await happen(house.events, 3)
        await until(lambda: sums.numbers == [1, 2, 3])


async def test_events_it_does_not_want_do_not_reach_it_and_are_no_lag(house: House) -> None:
    sums = Sums()
    sums.where = EventFilter(types=frozenset({"demo.thing.noticed"}))
    await happen(house.events, *range(10))
    runner = house.runner()
    runner.add_projection(sums)
    async with running(runner):
        await until(lambda: status(runner, "sums").lag_events == 0)
        assert status(runner, "sums").state == "following"
        await house.events.append("demo.thing/1", ANY_VERSION, [NewEvent(Noticed(number=7))])
        await until(lambda: sums.numbers == [7])


async def test_a_projection_goes_on_where_its_own_checkpoint_stands(house: House) -> None:
    sums = Sums()
    events = await happen(house.events, 1, 2, 3)
    sums.position = events[1].position
    runner = house.runner()
    runner.add_projection(sums)
    async with running(runner):
        await until(lambda: sums.numbers == [3])


async def test_the_one_event_to_blame_is_found_and_parked(house: House, caplog: pytest.LogCaptureFixture) -> None:
    sums = Sums()
    sums.refuses = only(41, KeyError("x"))
    events = await happen(house.events, *range(64))
    runner = house.runner()
    runner.add_projection(sums)
    async with running(runner):
        await until(lambda: len(sums.numbers) == 63)
    assert sums.numbers == [number for number in range(64) if number != 41]
    (parked,) = await house.progress.parked("sums")
    assert (parked.position, parked.stream, parked.version) == (events[41].position, "demo.thing/1", 42)
    assert parked.problem == "KeyError: 'x'"
    assert events[41].id in caplog.text


async def test_secrets_and_control_characters_in_a_problem_are_not_kept(house: House) -> None:
    sender = Sender()
    sender.refuses = only(1, ValueError("xoxb-1234567890-abcdef\x00"))
    runner = house.runner()
    runner.add_consumer(sender)
    async with running(runner):
        await happen(house.events, 1)
        (parked,) = await until_parked(house, 1)
    assert parked.problem == "ValueError: ***\N{REPLACEMENT CHARACTER}"


async def test_what_is_away_is_waited_for_and_nothing_is_parked(house: House) -> None:
    sums = Sums()
    away = True
    sums.refuses = lambda number: Unavailable("The disk is full.") if away else None
    runner = house.runner()
    runner.add_projection(sums)
    async with running(runner):
        await happen(house.events, 1, 2)
        await until(lambda: status(runner, "sums").state == "retrying")
        assert status(runner, "sums").problem == "Unavailable: The disk is full."
        away = False
        await until(lambda: status(runner, "sums").state == "following")
        assert sums.numbers == [1, 2]
    assert await house.progress.parked() == []


async def test_a_wrong_setting_is_no_events_fault(house: House) -> None:
    sender = Sender()
    wrong = True
    sender.refuses = lambda _: ConfigurationError("No such channel.") if wrong else None
    runner = house.runner()
    runner.add_consumer(sender)
    async with running(runner):
        await happen(house.events, 1)
        await until(lambda: status(runner, "sender").problem is not None)
        wrong = False
        await until(lambda: sender.sent == [1])
    assert await house.progress.parked() == []


async def test_one_that_waits_holds_nobody_up(house: House) -> None:
    stuck, sums = Sender("stuck"), Sums()
    stuck.refuses = lambda _: Unavailable("away")
    runner = house.runner()
    runner.add_consumer(stuck)
    runner.add_projection(sums)
    async with running(runner):
        await happen(house.events, 1)
        await until(lambda: sums.numbers == [1])
        await happen(house.events, 2)
        await until(lambda: sums.numbers == [1, 2])
        assert stuck.sent == []


async def test_a_consumer_sees_each_event_once_over_restarts(house: House) -> None:
    sender = Sender()
    for number in range(3):
        runner = house.runner()
        runner.add_consumer(sender)
        async with running(runner):
            await happen(house.events, number)
            await until(lambda number=number: number in sender.sent)
    assert sender.sent == [0, 1, 2]


async def test_a_consumer_stopped_halfway_through_a_batch_does_not_repeat_what_it_did(house: House) -> None:
    sender = Sender()
    reached = anyio.Event()

    class Slow(Sender):
        async def handle(self, event: Event) -> None:
            if event.data["number"] == 5:
                reached.set()
                await anyio.sleep_forever()
            await super().handle(event)

    slow = Slow()
    runner = house.runner()
    runner.add_consumer(slow)
    await happen(house.events, *range(10))
    async with running(runner):
        await reached.wait()
    runner = house.runner()
    runner.add_consumer(sender)
    async with running(runner):
        await until(lambda: len(sender.sent) == 5)
    assert slow.sent + sender.sent == list(range(10))


async def test_a_new_consumer_may_begin_now(house: House) -> None:
    sender = Sender()
    await happen(house.events, 1, 2)
    runner = house.runner()
    runner.add_consumer(sender, begin="now")
    async with running(runner):
        await until(lambda: status(runner, "sender").state == "following")
        await happen(house.events, 3)
        await until(lambda: sender.sent == [3])


async def test_a_parked_event_is_dealt_with_when_it_is_replayed(house: House) -> None:
    sender = Sender()
    sender.refuses = only(2, RuntimeError("not yet"))
    runner = house.runner()
    runner.add_consumer(sender)
    async with running(runner):
        await happen(house.events, 1, 2, 3)
        (parked,) = await until_parked(house, 1)
        await until(lambda: sender.sent == [1, 3])
        await runner.request_replay("sender", parked.position, "key:admin")
        with anyio.fail_after(50):
            while (await runner.find_parked("sender", parked.position)).attempts != 2:
                await anyio.sleep(0.005)
        sender.refuses = lambda _: None
        await runner.request_replay("sender", parked.position, "key:admin")
        await until_parked(house, 0)
        assert sender.sent == [1, 3, 2]
        with pytest.raises(NotFound):
            await runner.request_replay("sender", parked.position, "key:admin")


async def test_who_asks_for_a_replay_is_on_record(house: House) -> None:
    sender = Sender()
    sender.refuses = only(1, RuntimeError("no"))
    runner = house.runner()
    runner.add_consumer(sender)
    async with running(runner):
        await happen(house.events, 1)
        (parked,) = await until_parked(house, 1)
        await runner.request_replay("sender", parked.position, "key:admin")
    (asked,) = await house.events.read_stream("events.control/sender")
    assert (asked.type, asked.principal) == ("events.replay.requested.v1", "key:admin")


async def test_a_request_made_in_another_process_is_done_where_the_lease_is_held(house: House) -> None:
    sums, other = Sums(), house.runner("there")
    other.add_projection(Sums())
    runner = house.runner("here")
    runner.add_projection(sums)
    async with running(runner):
        await happen(house.events, 1)
        await until(lambda: sums.numbers == [1])
        sums.numbers = [99]
        await other.request_rebuild("sums", "local")
        await until(lambda: sums.numbers == [1])


async def test_a_rebuild_stops_nobody_else_and_forgets_what_was_parked(house: House) -> None:
    sums, sender = Sums(), Sender()
    sums.refuses = only(1, RuntimeError("broken"))
    runner = house.runner()
    runner.add_projection(sums)
    runner.add_consumer(sender)
    async with running(runner):
        await happen(house.events, 0, 1, 2)
        await until_parked(house, 1)
        sums.refuses = lambda _: None
        await runner.request_rebuild("sums", None)
        await until(lambda: sums.numbers == [0, 1, 2])
        await happen(house.events, 3)
        await until(lambda: sums.numbers == [0, 1, 2, 3] and sender.sent == [0, 1, 2, 3])
    assert await house.progress.parked() == []


async def test_a_projection_that_waits_can_be_rebuilt(house: House) -> None:
    sums = Sums()
    sums.refuses = lambda _: Unavailable("The table is broken.") if sums.position else None
    runner = house.runner(settings=RunnerSettings(first_retry_seconds=60, longest_retry_seconds=60))
    runner.add_projection(sums)
    async with running(runner):
        await happen(house.events, 1)
        await until(lambda: sums.numbers == [1])
        await happen(house.events, 2)
        await until(lambda: status(runner, "sums").state == "retrying")
        await runner.request_rebuild("sums", None)
        await until(lambda: sums.numbers == [1, 2])


async def test_a_request_is_done_once_over_restarts(house: House) -> None:
    sums = Sums()
    await happen(house.events, 1)
    runner = house.runner()
    runner.add_projection(sums)
    async with running(runner):
        await until(lambda: sums.numbers == [1])
        sums.numbers = [99]
        await runner.request_rebuild("sums", None)
        await until(lambda: sums.numbers == [1])
        with anyio.fail_after(50):
            while await house.progress.checkpoint("control/sums") is None:
                await anyio.sleep(0.005)
    sums.numbers = [98]
    runner = house.runner()
    runner.add_projection(sums)
    async with running(runner):
        await happen(house.events, 2)
        await until(lambda: 2 in sums.numbers)
    assert sums.numbers == [98, 2]


async def test_what_cannot_be_is_refused_in_words(house: House) -> None:
    sums, sender = Sums(), Sender()
    sums.refuses = only(1, RuntimeError("no"))
    runner = house.runner()
    runner.add_projection(sums)
    runner.add_consumer(sender)
    with pytest.raises(ValueError, match="sums already"):
        runner.add_consumer(Sender("sums"))
    async with running(runner):
        await happen(house.events, 1)
        (parked,) = await until_parked(house, 1)
        with pytest.raises(CallerError, match="rebuild the projection"):
            await runner.request_replay("sums", parked.position, None)
        with pytest.raises(CallerError, match="cannot be undone"):
            await runner.request_rebuild("sender", None)
        with pytest.raises(NotFound, match="There are: sums, sender"):
            await runner.request_rebuild("none", None)
        await runner.leave("sums", parked.position)
        assert await runner.parked("sums") == []


async def test_of_two_processes_one_works_and_the_other_takes_over(house: House) -> None:
    first, second = Sender(), Sender()
    one, two = house.runner("one"), house.runner("two")
    one.add_consumer(first)
    two.add_consumer(second)
    async with anyio.create_task_group() as others:
        async with running(one):
            await until(lambda: status(one, "sender").state == "following")
            others.start_soon(two.run)
            await happen(house.events, 1)
            await until(lambda: first.sent == [1])
            assert status(two, "sender").state == "standby"
        await happen(house.events, 2)
        await until(lambda: second.sent == [2])
        others.cancel_scope.cancel()
    assert (first.sent, second.sent) == ([1], [2])


async def test_a_holder_that_lost_its_lease_unawares_writes_nothing(house: House) -> None:
    sender = Sender()
    runner = house.runner()
    runner.add_consumer(sender)
    async with running(runner):
        await happen(house.events, 1)
        await until(lambda: sender.sent == [1])
        checkpoint = await house.progress.checkpoint("sender")
        later = Fence("consumer/sender", 2**62)
        await house.progress.advance("sender", checkpoint or Position(""), [], later)
        await happen(house.events, 2)
        await until(lambda: sender.sent == [1, 2])
        await until(lambda: status(runner, "sender").state == "standby")
    assert await house.progress.checkpoint("sender") == checkpoint
    assert await house.progress.parked() == []


async def test_many_parked_in_a_row_slow_it_down(house: House) -> None:
    sender = Sender()
    sender.refuses = lambda _: RuntimeError("broken release")
    settings = RunnerSettings(parked_in_a_row=3, longest_retry_seconds=3600)
    runner = house.runner(settings=settings)
    runner.add_consumer(sender)
    async with running(runner):
        await happen(house.events, *range(10))
        await until(lambda: status(runner, "sender").state == "slowed")
        assert len(await house.progress.parked()) == 3


async def test_a_bug_in_a_checkpoint_stops_that_one_alone(house: House, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Sums):
        async def checkpoint(self) -> Position | None:
            raise ZeroDivisionError("a bug")

    sums = Sums()
    runner = house.runner()
    runner.add_projection(Broken("broken"))
    runner.add_projection(sums)
    async with running(runner):
        await happen(house.events, 1)
        await until(lambda: sums.numbers == [1])
        await until(lambda: status(runner, "broken").problem == "ZeroDivisionError: a bug")
    assert "projection/broken" in caplog.text


async def test_lag_is_counted_in_events_and_seconds(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    sums = Sums()
    sums.refuses = lambda _: Unavailable("away")
    runner = house.runner()
    runner.add_projection(sums)
    async with running(runner):
        await happen(house.events, 1, 2, 3)
        await until(lambda: status(runner, "sums").lag_events == 3)
        assert (status(runner, "sums").lag_seconds or 0) > 0
