"""Events written down at once are in the store later, each once, whatever happened in between."""

import logging
import random
import signal
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest

from quantum_suite.core.errors import CallerError, Unavailable
from quantum_suite.core.events import EventData, NewEvent
from quantum_suite.core.scan_events import SCAN_EVENTS, ScanResumed, ScanStarted, scan_stream
from quantum_suite.services.events.outbox import EventOutbox
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.events.sqlite import SqliteEventStore

pytestmark = pytest.mark.anyio

KILLS = 4
TYPES: tuple[type[EventData], ...] = (ScanResumed,)


def store_in(directory: Path) -> SqliteEventStore:
    return SqliteEventStore(directory / "events.db", EventRegistry(SCAN_EVENTS))


def event(number: int) -> NewEvent:
    return NewEvent(ScanResumed(scan=f"scan_{number}", files_left=number), id=f"evt_{number}")


def started(scan: str) -> ScanStarted:
    return ScanStarted(scan=scan, root="/r", scanners=(), files=1)


async def put(outbox: EventOutbox, number: int) -> None:
    await outbox.append(scan_stream(f"scan_{number}"), 0, [event(number)])


async def test_an_event_is_stored_as_it_was_written_down(tmp_path: Path) -> None:
    async with store_in(tmp_path) as store:
        with EventOutbox(tmp_path / "out.db", store, TYPES) as outbox:
            whole = NewEvent(
                ScanResumed(scan="s", files_left=3),
                subject="a/b",
                principal="key:ann",
                correlation_id="call_1",
                causation_id="evt_0",
                traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            )
            await outbox.append(scan_stream("s"), 0, [whole])
            assert await store.count() == 0
            assert await outbox.carry() == 1
            assert await outbox.carry() == 0
        [kept] = await store.read_stream(scan_stream("s"))
        assert (kept.id, kept.time, kept.data) == (whole.id, whole.time, {"scan": "s", "files_left": 3})
        for name in ("subject", "principal", "correlation_id", "causation_id", "traceparent"):
            assert getattr(kept, name) == getattr(whole, name)


async def test_what_comes_is_brought_over_without_being_asked(tmp_path: Path) -> None:
    async with store_in(tmp_path) as store, anyio.create_task_group() as tasks:
        with EventOutbox(tmp_path / "out.db", store, TYPES, gather_seconds=0.01) as outbox:
            tasks.start_soon(outbox.run)
            with anyio.fail_after(50):
                for number in range(30):
                    await put(outbox, number)
                    while number % 10 == 0 and await store.count() < number + 1:
                        await anyio.sleep(0.01)
                while await store.count() < 30:
                    await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()


CHILD = """
import sys
from pathlib import Path

import anyio

sys.path.insert(0, sys.argv[2])
from test_outbox import TYPES, EventOutbox, put, store_in


async def main(directory, first):
    async with store_in(directory) as store, anyio.create_task_group() as tasks:
        with EventOutbox(directory / "out.db", store, TYPES, gather_seconds=0.005) as outbox:
            tasks.start_soon(outbox.run)
            for number in range(first, first + 100_000):
                await put(outbox, number)
                print(number, flush=True)
                while number == first + 9 and await store.count() == 0:
                    await anyio.sleep(0.01)
                await anyio.sleep(0)


anyio.run(main, Path(sys.argv[1]), int(sys.argv[3]))
"""


async def test_killing_who_writes_and_carries_loses_and_doubles_nothing(tmp_path: Path) -> None:
    chance = random.Random(5)
    written: set[str] = set()
    for life in range(KILLS):
        command = [sys.executable, "-c", CHILD, str(tmp_path), str(Path(__file__).parent), str(life * 100_000)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            said = [child.stdout.readline() for _ in range(20)]
            time.sleep(chance.uniform(0.0, 0.2))
            child.send_signal(signal.SIGKILL)
            said += child.stdout.readlines()
        written |= {f"evt_{int(line)}" for line in said if line.endswith("\n")}
    async with store_in(tmp_path) as store:
        before = await store.count()
        with EventOutbox(tmp_path / "out.db", store, TYPES) as outbox:
            while await outbox.carry():
                pass
        stored: list[str] = []
        after = None
        while page := await store.read(after):
            stored += [one.id for one in page]
            after = page[-1].position
    assert before > 0
    assert written <= set(stored)
    assert len(stored) == len(set(stored)) <= len(written) + KILLS


async def test_two_that_carry_at_once_store_each_event_once(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(store_in(tmp_path))
        one, other = (stack.enter_context(EventOutbox(tmp_path / "out.db", store, TYPES)) for _ in range(2))
        for number in range(100):
            await put(one, number)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one.carry)
            tasks.start_soon(other.carry)
        assert await store.count() == 100
        assert await one.carry() == 0


async def test_while_the_store_is_away_events_wait_and_the_log_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with store_in(tmp_path) as gone:
        pass
    with EventOutbox(tmp_path / "out.db", gone, TYPES, gather_seconds=0.01) as outbox:
        await put(outbox, 1)
        with pytest.raises(Unavailable):
            await outbox.carry()
        with caplog.at_level(logging.WARNING):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(outbox.run)
                await anyio.sleep(1.2)
                await put(outbox, 2)
                tasks.cancel_scope.cancel()
        assert [one.message.partition(": ")[0] for one in caplog.records] == [
            f"Events stay in {tmp_path / 'out.db'} until they can be stored"
        ]
    async with store_in(tmp_path) as store:
        with EventOutbox(tmp_path / "out.db", store, TYPES) as outbox:
            assert await outbox.carry() == 2
        assert await store.count() == 2


async def test_what_the_store_will_never_take_stays_and_holds_nobody_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with store_in(tmp_path) as store:
        await store.append(scan_stream("scan_1"), 0, [NewEvent(ScanResumed(scan="scan_1", files_left=0))])
        with EventOutbox(tmp_path / "out.db", store, (*TYPES, ScanStarted)) as newer:
            begun = NewEvent(started("scan_0"))
            await newer.append(scan_stream("scan_0"), 0, [begun])
            await put(newer, 1)
            await put(newer, 2)
        with EventOutbox(tmp_path / "out.db", store, TYPES) as outbox:
            assert await outbox.carry() == 3
            assert await outbox.carry() == 0
        assert [one.stream for one in await store.read()] == [scan_stream("scan_1"), scan_stream("scan_2")]
        assert sum("stays in" in one.message for one in caplog.records) == 2
        with EventOutbox(tmp_path / "out.db", store, (*TYPES, ScanStarted)) as again:
            await again.carry()
        assert (await store.read())[-1].stream == scan_stream("scan_0")


async def test_what_no_outbox_takes_is_refused_at_once(tmp_path: Path) -> None:
    async with store_in(tmp_path) as store:
        with EventOutbox(tmp_path / "out.db", store, TYPES) as outbox:
            one = event(1)
            for version, events in ((1, [one]), (0, [one, event(2)]), (0, [])):
                with pytest.raises(CallerError, match="one event, the first"):
                    await outbox.append("qsecure.scan/x", version, events)
            with pytest.raises(CallerError, match=r"takes no qsecure\.scan\.started"):
                await outbox.append("qsecure.scan/x", 0, [NewEvent(started("s"))])
            personal = NewEvent(ScanResumed(scan="s", files_left=1), personal={"user:ann": {"name": "Ann"}})
            with pytest.raises(CallerError, match="nothing about a person"):
                await outbox.append("qsecure.scan/x", 0, [personal])
            assert await outbox.carry() == 0
