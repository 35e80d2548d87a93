"""Consumers with an inbox: once, with patience, and past what cannot be dealt with."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio
import pytest

from quantum_suite.core.errors import Unavailable
from quantum_suite.core.events import Fence, Position
from quantum_suite.services.bus.consuming import Handler, Patience, consume_with_inbox
from quantum_suite.services.bus.interface import Message
from quantum_suite.services.bus.memory import MemoryBus
from quantum_suite.services.projections.memory import MemoryProgressStore

pytestmark = pytest.mark.anyio

SUBJECT = "quantum.events.test.thing.happened"
BOUND_SECONDS = 50.0
QUICK = Patience(attempts=3, first_delay_seconds=0.01, longest_delay_seconds=0.02, handler_seconds=5)


def message(number: int, event: str | None = None) -> Message:
    body = {"id": event or f"evt_{number}", "type": "test.thing.happened.v1", "stream": "test.thing/1"}
    return Message(str(number), SUBJECT, body | {"streamversion": number})


@asynccontextmanager
async def consuming(
    bus: MemoryBus, progress: MemoryProgressStore, handler: Handler, patience: Patience = QUICK
) -> AsyncIterator[None]:
    with anyio.fail_after(BOUND_SECONDS):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(consume_with_inbox, bus, progress, "consumer", SUBJECT, handler, patience)
            await anyio.wait_all_tasks_blocked()
            yield
            tasks.cancel_scope.cancel()


async def until_noted(progress: MemoryProgressStore, *events: str) -> None:
    while await progress.seen("consumer", events) != set(events):
        await anyio.sleep(0.005)


async def test_an_event_that_is_delivered_twice_is_handled_once() -> None:
    bus, progress, handled = MemoryBus(), MemoryProgressStore(), list[str]()

    async def handle(given: Message) -> None:
        handled.append(given.body["id"])

    async with consuming(bus, progress, handle):
        await bus.publish([message(1), message(2, "evt_1"), message(3)])
        await until_noted(progress, "evt_1", "evt_3")
    assert handled == ["evt_1", "evt_3"]


async def test_a_handler_that_fails_gets_its_message_again_and_others_meanwhile() -> None:
    bus, progress, handled = MemoryBus(), MemoryProgressStore(), list[str]()

    async def handle(given: Message) -> None:
        handled.append(given.id)
        if given.id == "1" and handled.count("1") < 3:
            raise ValueError("not yet")

    async with consuming(bus, progress, handle):
        await bus.publish([message(1), message(2)])
        await until_noted(progress, "evt_1", "evt_2")
    assert handled == ["1", "2", "1", "1"]
    assert await progress.parked() == []


async def test_what_fails_every_time_is_parked_and_the_rest_goes_on() -> None:
    bus, progress, handled = MemoryBus(), MemoryProgressStore(), list[str]()

    async def handle(given: Message) -> None:
        handled.append(given.id)
        if given.id == "1":
            raise ValueError("never")

    async with consuming(bus, progress, handle):
        await bus.publish([message(1), message(2)])
        await until_noted(progress, "evt_2")
        while not (parked := await progress.parked("consumer")):
            await anyio.sleep(0.005)
    assert handled.count("1") == 3
    [one] = parked
    assert (one.position, one.event_id, one.event_type) == ("1", "evt_1", "test.thing.happened.v1")
    assert (one.stream, one.version, one.problem, one.attempts) == ("test.thing/1", 1, "never", 3)


async def test_a_part_that_is_away_parks_nothing() -> None:
    bus, progress, tries = MemoryBus(), MemoryProgressStore(), list[str]()

    async def handle(given: Message) -> None:
        tries.append(given.id)
        if len(tries) < 6:
            raise Unavailable("the database is away")

    async with consuming(bus, progress, handle):
        await bus.publish([message(1)])
        await until_noted(progress, "evt_1")
    assert len(tries) == 6
    assert await progress.parked() == []


async def test_a_handler_that_hangs_is_ended_and_tried_again() -> None:
    bus, progress, tries = MemoryBus(), MemoryProgressStore(), list[str]()

    async def handle(given: Message) -> None:
        tries.append(given.id)
        if len(tries) == 1:
            await anyio.sleep_forever()

    async with consuming(bus, progress, handle, Patience(first_delay_seconds=0.01, handler_seconds=0.05)):
        await bus.publish([message(1)])
        await until_noted(progress, "evt_1")
    assert tries == ["1", "1"]


async def test_a_body_that_is_no_event_is_parked() -> None:
    bus, progress = MemoryBus(), MemoryProgressStore()

    async def handle(given: Message) -> None:
        raise AssertionError("it has no id to be known by")

    async with consuming(bus, progress, handle):
        await bus.publish([Message("1", SUBJECT, {"streamversion": "x"})])
        while not (parked := await progress.parked("consumer")):
            await anyio.sleep(0.005)
    assert (parked[0].position, parked[0].event_id, parked[0].version) == ("1", "", 0)


class Forgetful(MemoryProgressStore):
    """A store that is away for the first notes."""

    def __init__(self) -> None:
        super().__init__()
        self.refusals = 0

    async def advance(self, consumer: str, position: Position, event_ids: Sequence[str], fence: Fence) -> None:
        if self.refusals < 2:
            self.refusals += 1
            raise Unavailable("away")
        await super().advance(consumer, position, event_ids, fence)


async def test_what_was_done_is_noted_however_long_that_takes_and_not_done_again() -> None:
    bus, progress, handled = MemoryBus(), Forgetful(), list[str]()

    async def handle(given: Message) -> None:
        handled.append(given.id)

    async with consuming(bus, progress, handle):
        await bus.publish([message(1)])
        await until_noted(progress, "evt_1")
    assert handled == ["1"]
    assert progress.refusals == 2


async def test_two_consumers_of_one_name_never_outdate_each_other() -> None:
    bus, progress, handled = MemoryBus(), MemoryProgressStore(), list[str]()

    async def handle(given: Message) -> None:
        handled.append(given.id)
        await anyio.sleep(0)

    async with consuming(bus, progress, handle), consuming(bus, progress, handle):
        await bus.publish([message(number) for number in range(1, 51)])
        await until_noted(progress, *(f"evt_{number}" for number in range(1, 51)))
    assert sorted(handled, key=int) == [str(number) for number in range(1, 51)]
