"""What the bus within a process adds to the contract: its bounds."""

import logging

import anyio
import pytest

from quantum_suite.services.bus.interface import Message
from quantum_suite.services.bus.memory import MemoryBus
from quantum_suite.services.bus.subjects import matches

pytestmark = pytest.mark.anyio

SUBJECT = "quantum.events.test.thing.happened"


async def test_a_name_nobody_consumes_under_keeps_the_newest_and_the_log_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    bus = MemoryBus(kept_messages=3)
    async with bus.consume(SUBJECT, durable="consumer"):
        pass
    await bus.publish([Message(str(number), SUBJECT, {}) for number in range(10)])
    async with bus.consume(SUBJECT, durable="consumer") as deliveries:
        assert [(await anext(deliveries)).message.id for _ in range(3)] == ["7", "8", "9"]
    assert len(caplog.records) == 1


async def test_a_listener_that_does_not_listen_costs_no_memory_without_bound() -> None:
    bus = MemoryBus()
    async with bus.listen(SUBJECT) as listener:
        await bus.publish([Message(str(number), SUBJECT, {}) for number in range(5_000)])
        assert (await anext(listener)).id == "4000"


async def test_many_unfinished_messages_come_again_in_order() -> None:
    bus = MemoryBus(ack_seconds=0.05)
    async with bus.consume(SUBJECT) as deliveries:
        await bus.publish([Message(str(number), SUBJECT, {}) for number in range(100)])
        with anyio.fail_after(25):
            first = [(await anext(deliveries)).message.id for _ in range(100)]
            again = [(await anext(deliveries)).message.id for _ in range(100)]
    assert first == [str(number) for number in range(100)]
    assert sorted(again, key=int) == first


@pytest.mark.parametrize(
    ("pattern", "subject", "meant"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.b.c", False),
        ("a.b.c", "a.b", False),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("*.b", "a.b", True),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        (">", "a", True),
        ("a.*.>", "a.b", False),
    ],
)
def test_patterns_mean_what_they_mean_to_nats(pattern: str, subject: str, meant: bool) -> None:
    assert matches(pattern, subject) is meant
