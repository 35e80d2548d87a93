"""What every bus guarantees, on every adapter."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import anyio
import pytest

from quantum_suite.core.errors import CallerError
from quantum_suite.core.ids import new_id
from quantum_suite.services.bus.interface import Bus, Delivery, Message, subject_of
from quantum_suite.services.bus.memory import MemoryBus
from quantum_suite.services.bus.nats import NatsBus
from quantum_suite.services.bus.nats_connection import open_nats

pytestmark = pytest.mark.anyio

ACK_SECONDS = 0.5
BOUND_SECONDS = 50.0
MakeBus = Callable[[float], Bus]


@pytest.fixture(params=["memory", "nats"])
async def make_bus(request: pytest.FixtureRequest) -> AsyncIterator[MakeBus]:
    """Makes the bus, given the seconds to acknowledge in. Further ones are other processes' views of it."""
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            made: list[Bus] = []

            def make_memory(ack_seconds: float) -> Bus:
                made.append(made[0] if made else MemoryBus(ack_seconds=ack_seconds))
                return made[0]

            yield make_memory
        else:
            connection = await stack.enter_async_context(open_nats(request.getfixturevalue("nats_url")))
            yield lambda ack_seconds: NatsBus(connection, ack_seconds=ack_seconds)


@pytest.fixture
def bus(make_bus: MakeBus) -> Bus:
    return make_bus(30)


@pytest.fixture
def root() -> str:
    """The first part of subjects of the test's own."""
    return f"quantum.events.{new_id('test')}"


def message(subject: str, number: int = 1) -> Message:
    return Message(
        f"{subject}/{number}", subject, {"id": f"evt_{number}", "data": {"number": number, "text": "ü"}}
    )


async def take(deliveries: AsyncIterator[Delivery], count: int = 1) -> list[Delivery]:
    with anyio.fail_after(BOUND_SECONDS):
        return [await anext(deliveries) for _ in range(count)]


def numbers(deliveries: list[Delivery]) -> list[int]:
    return [delivery.message.body["data"]["number"] for delivery in deliveries]


async def test_a_message_arrives_as_it_was_published(bus: Bus, root: str) -> None:
    sent = message(f"{root}.scan.completed")
    async with bus.consume(f"{root}.>") as deliveries:
        await bus.publish([sent])
        [delivery] = await take(deliveries)
    assert delivery.message == sent
    assert delivery.attempt == 1


async def test_messages_come_in_the_order_of_publication(bus: Bus, root: str) -> None:
    subject = f"{root}.scan.completed"
    async with bus.consume(subject) as deliveries:
        await bus.publish([message(subject, n) for n in range(300)])
        await bus.publish([message(subject, n) for n in range(300, 310)])
        got: list[Delivery] = []
        for _ in range(310):
            got += await take(deliveries)
            await got[-1].ack()
    assert numbers(got) == list(range(310))


async def test_a_message_published_twice_is_delivered_once(bus: Bus, root: str) -> None:
    subject = f"{root}.scan.completed"
    async with bus.consume(subject) as deliveries:
        await bus.publish([message(subject, 1), message(subject, 2)])
        await bus.publish([message(subject, n) for n in (1, 2, 3)])
        assert numbers(await take(deliveries, 3)) == [1, 2, 3]


async def test_a_consumer_sees_what_its_pattern_means_and_what_comes_from_now_on(bus: Bus, root: str) -> None:
    await bus.publish([message(f"{root}.scan.completed", 0)])
    async with (
        bus.consume(f"{root}.*.completed") as completed,
        bus.consume(f"{root}.scan.>") as scans,
        bus.consume(f"{root}.scan.started") as started,
    ):
        sent = [
            f"{root}.scan.started",
            f"{root}.run.completed",
            f"{root}.scan.completed",
            f"{root}.scan.part.done",
        ]
        await bus.publish([message(subject, number) for number, subject in enumerate(sent, 1)])
        assert numbers(await take(completed, 2)) == [2, 3]
        assert numbers(await take(scans, 3)) == [1, 3, 4]
        assert numbers(await take(started)) == [1]


async def test_a_durable_consumer_gets_what_came_while_it_was_away_and_what_it_did_not_finish(
    bus: Bus, root: str
) -> None:
    subject, name = f"{root}.scan.completed", new_id("consumer")
    async with bus.consume(subject, durable=name) as deliveries:
        await bus.publish([message(subject, n) for n in (1, 2)])
        [first] = await take(deliveries)
        await first.ack()
    await bus.publish([message(subject, n) for n in (3, 4)])
    async with bus.consume(subject, durable=name) as deliveries:
        assert numbers(await take(deliveries, 3)) == [2, 3, 4]


async def test_what_is_not_acknowledged_in_time_comes_again_and_what_is_does_not(
    make_bus: MakeBus, root: str
) -> None:
    bus, subject = make_bus(ACK_SECONDS), f"{root}.scan.completed"
    async with bus.consume(subject, durable=new_id("consumer")) as deliveries:
        await bus.publish([message(subject, n) for n in (1, 2)])
        dealt_with, forgotten = await take(deliveries, 2)
        await dealt_with.ack()
        [again] = await take(deliveries)
        assert again.message == forgotten.message
        assert again.attempt == 2
        await again.ack()
        await bus.publish([message(subject, 3)])
        assert numbers(await take(deliveries)) == [3]


async def test_what_is_given_back_comes_again_after_its_delay(bus: Bus, root: str) -> None:
    subject = f"{root}.scan.completed"
    async with bus.consume(subject) as deliveries:
        await bus.publish([message(subject, n) for n in (1, 2)])
        [first] = await take(deliveries)
        given_back = anyio.current_time()
        await first.nack(0.3)
        [second] = await take(deliveries)
        await second.ack()
        [again] = await take(deliveries)
        assert numbers([second, again]) == [2, 1]
        assert anyio.current_time() - given_back >= 0.3
        assert again.attempt == 2
        await again.nack()
        [once_more] = await take(deliveries)
        assert (numbers([once_more]), once_more.attempt) == ([1], 3)


async def test_consumers_of_one_name_share_its_messages(make_bus: MakeBus, root: str) -> None:
    here, there, subject = make_bus(30), make_bus(30), f"{root}.scan.completed"
    name, got = new_id("consumer"), {"here": set[int](), "there": set[int]()}
    async with here.consume(subject, durable=name) as mine, there.consume(subject, durable=name) as theirs:
        await here.publish([message(subject, n) for n in range(100)])

        async def work(who: str, deliveries: AsyncIterator[Delivery]) -> None:
            async for delivery in deliveries:
                got[who].update(numbers([delivery]))
                await delivery.ack()
                if sum(map(len, got.values())) == 100:
                    tasks.cancel_scope.cancel()

        with anyio.fail_after(BOUND_SECONDS):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(work, "here", mine)
                tasks.start_soon(work, "there", theirs)
    assert got["here"] | got["there"] == set(range(100))
    assert not got["here"] & got["there"]
    assert got["here"]
    assert got["there"]


async def test_consumers_of_different_names_each_get_everything_as_their_own(bus: Bus, root: str) -> None:
    subject = f"{root}.scan.completed"
    async with (
        bus.consume(subject, durable=new_id("one")) as one,
        bus.consume(subject, durable=new_id("other")) as other,
    ):
        await bus.publish([message(subject)])
        [mine] = await take(one)
        mine.message.body["data"]["number"] = "changed"
        assert numbers(await take(other)) == [1]


async def test_a_cancelled_consumer_gives_back_what_it_had(bus: Bus, root: str) -> None:
    subject, name = f"{root}.scan.completed", new_id("consumer")
    async with bus.consume(subject, durable=name) as deliveries:
        with anyio.move_on_after(0.05):
            await anext(deliveries)
        await bus.publish([message(subject)])
        assert numbers(await take(deliveries)) == [1]


async def test_every_listener_hears_what_passes_and_nothing_from_before(bus: Bus, root: str) -> None:
    subject = f"{root}.scan.completed"
    await bus.publish([message(subject, 0)])
    async with bus.listen(f"{root}.>") as one, bus.listen(subject) as other, bus.listen(f"{root}.x") as deaf:
        await bus.publish([message(subject, n) for n in (1, 2)])
        with anyio.fail_after(BOUND_SECONDS):
            for listener in (one, other):
                assert [await anext(listener), await anext(listener)] == [message(subject, n) for n in (1, 2)]
        with anyio.move_on_after(0.05) as silence:
            await anext(deaf)
    assert silence.cancelled_caught


async def test_nobody_listening_is_no_trouble(bus: Bus, root: str) -> None:
    await bus.publish([])
    await bus.publish([message(f"{root}.scan.completed")])


@pytest.mark.parametrize(
    "subject", ["", "quantum.events", "quantum.events.", "other.scan", "quantum.events.a b.c"]
)
async def test_what_is_no_subject_is_refused(bus: Bus, subject: str) -> None:
    with pytest.raises(CallerError):
        await bus.publish([message(subject)])
    for opened in (bus.consume(subject), bus.listen(subject)):
        with pytest.raises(CallerError):
            await opened.__aenter__()


async def test_a_pattern_is_no_place_to_publish_to(bus: Bus, root: str) -> None:
    for pattern in (f"{root}.*", f"{root}.>"):
        with pytest.raises(CallerError):
            await bus.publish([message(pattern)])
    with pytest.raises(CallerError):
        await bus.consume(f"{root}.>.completed").__aenter__()
    with pytest.raises(CallerError):
        await bus.consume(f"{root}.scan", durable="no name.").__aenter__()


def test_a_stored_type_has_one_subject() -> None:
    assert subject_of("qsecure.scan.completed.v12") == "quantum.events.qsecure.scan.completed"
