"""The relay brings every record of the journal into the event store once, whatever happens in between."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest

from quantum_suite.core.errors import Unavailable
from quantum_suite.core.events import Event, Fence, NewEvent
from quantum_suite.services.audit.call_events import CALL_EVENTS
from quantum_suite.services.audit.interface import AuditRecord
from quantum_suite.services.audit.journal_relay import JournalRelay, relay_lock
from quantum_suite.services.audit.jsonl import JsonlAuditLog
from quantum_suite.services.events.interface import EventStore
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.events.sqlite import SqliteEventStore

pytestmark = pytest.mark.anyio

RECORD = AuditRecord(
    time=datetime(2026, 11, 23, 12, 0, 0, 123456, UTC),
    call_id="call_0",
    principal="key:ci",
    transport="http",
    method="tools/call",
    target="ops_größe",
    upstream="ops",
    arguments_sha256="0" * 64,
    outcome="ok",
    reason=None,
    duration_ms=1.5,
    era="modern",
    protocol_version="2026-07-28",
    client_name="a client",
    client_version="1.0",
    trace_id="0af7651916cd43dd8448eb211c80319c",
)


def record(number: int, **changes: object) -> AuditRecord:
    changed: dict[str, object] = {"call_id": f"call_{number}", **changes}
    return replace(RECORD, **changed)  # type: ignore[arg-type]  # the changes are fields by name


def write(directory: Path, numbers: Sequence[int], **changes: object) -> None:
    with JsonlAuditLog(directory) as log:
        for number in numbers:
            log.write(record(number, **changes))


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    directory = tmp_path / "audit"
    directory.mkdir()
    return directory


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EventStore]:
    async with SqliteEventStore(tmp_path / "events.db", EventRegistry(CALL_EVENTS)) as store:
        yield store


async def everything(store: EventStore) -> list[Event]:
    events: list[Event] = []
    while page := await store.read(events[-1].position if events else None):
        events += page
    return events


async def calls(store: EventStore) -> list[str | None]:
    return [event.correlation_id for event in await everything(store)]


async def test_a_record_becomes_an_event_with_all_it_says(journal: Path, store: EventStore) -> None:
    write(journal, [1], outcome="accepted", duration_ms=None)
    write(journal, [1], outcome="refused", reason="hidden")
    assert await JournalRelay(journal, store).relay_once() == 2
    accepted, ended = await everything(store)
    assert (accepted.type, ended.type) == ("hub.call.accepted.v1", "hub.call.ended.v1")
    assert accepted.time == ended.time == RECORD.time
    assert (ended.principal, ended.correlation_id) == ("key:ci", "call_1")
    assert "outcome" not in accepted.data
    assert ended.data == {
        "transport": "http",
        "method": "tools/call",
        "target": "ops_größe",
        "upstream": "ops",
        "arguments_sha256": "0" * 64,
        "era": "modern",
        "protocol_version": "2026-07-28",
        "client_name": "a client",
        "client_version": "1.0",
        "trace_id": RECORD.trace_id,
        "outcome": "refused",
        "reason": "hidden",
        "duration_ms": 1.5,
    }


async def test_each_record_is_brought_over_once_in_order(journal: Path, store: EventStore) -> None:
    relay = JournalRelay(journal, store)
    for first in (0, 700, 1400):
        write(journal, range(first, first + 700))
        assert await relay.relay_once() == 700
        assert await relay.relay_once() == 0
    assert await calls(store) == [f"call_{n}" for n in range(2100)]


async def test_another_relay_goes_on_where_the_first_one_stopped(journal: Path, store: EventStore) -> None:
    write(journal, range(10))
    await JournalRelay(journal, store).relay_once()
    write(journal, range(10, 15))
    assert await JournalRelay(journal, store).relay_once() == 5
    assert await calls(store) == [f"call_{n}" for n in range(15)]


@pytest.mark.parametrize("note", [None, b"", b"[]", b'{"audit-2026-11-23.0000.jsonl": {"stream": 1}}'])
async def test_without_its_note_the_relay_doubles_nothing(
    journal: Path, store: EventStore, note: bytes | None
) -> None:
    write(journal, range(700))
    await JournalRelay(journal, store).relay_once()
    (journal / "relay.json").unlink() if note is None else (journal / "relay.json").write_bytes(note)
    write(journal, range(700, 720))
    await JournalRelay(journal, store).relay_once()
    assert await calls(store) == [f"call_{n}" for n in range(720)]


async def test_a_file_that_grows_after_a_later_one_was_begun_is_read_on(journal: Path, store: EventStore) -> None:
    relay = JournalRelay(journal, store)
    early = JsonlAuditLog(journal)
    early.write(record(1))
    write(journal, [2], time=RECORD.time.replace(day=24))
    assert await relay.relay_once() == 2
    early.write(record(3))
    early.close()
    assert await relay.relay_once() == 1
    assert sorted(map(str, await calls(store))) == ["call_1", "call_2", "call_3"]


async def test_lines_torn_or_foreign_are_passed_over_and_a_half_one_waits(
    journal: Path, store: EventStore
) -> None:
    write(journal, [1])
    path = next(journal.glob("audit-*"))
    whole = path.read_bytes()
    with path.open("ab") as file:
        file.write(b'{"torn\n\n{"time": "2026-11-23T12:00:00", "call_id": 1}\nnonsense\n')
        file.write(whole.replace(b'"method":"tools/call"', b'"method":7'))
        file.write(whole.replace(b"call_1", b"call_2") + whole.replace(b"call_1", b"call_3")[:-5])
    relay = JournalRelay(journal, store)
    assert await relay.relay_once() == 2
    with path.open("ab") as file:
        file.write(whole[-5:])
    assert await relay.relay_once() == 1
    assert await calls(store) == ["call_1", "call_2", "call_3"]


async def test_a_line_longer_than_a_batch_does_not_stop_it(journal: Path, store: EventStore) -> None:
    write(journal, [1])
    with next(journal.glob("audit-*")).open("ab") as file:
        file.write(b"x" * 3_000_000 + b"\n")
    write(journal, [2])
    assert await JournalRelay(journal, store).relay_once() == 2


async def test_a_file_made_anew_under_the_same_name_is_another_stream(journal: Path, store: EventStore) -> None:
    relay = JournalRelay(journal, store)
    write(journal, [1, 2, 3])
    await relay.relay_once()
    next(journal.glob("audit-*")).unlink()
    await relay.relay_once()
    write(journal, [4])
    assert await relay.relay_once() == 1
    assert await calls(store) == ["call_1", "call_2", "call_3", "call_4"]


async def test_two_hubs_with_journals_of_the_same_day_do_not_meet(tmp_path: Path, store: EventStore) -> None:
    for number, name in enumerate(("a", "b")):
        (tmp_path / name).mkdir()
        write(tmp_path / name, [number])
        assert await JournalRelay(tmp_path / name, store).relay_once() == 1


async def test_a_store_restored_from_a_backup_is_filled_again(journal: Path, store: EventStore) -> None:
    write(journal, range(600))
    await JournalRelay(journal, store).relay_once()
    emptied = MemoryEventStore(EventRegistry(CALL_EVENTS))
    for event in (await everything(store))[:250]:
        data = CALL_EVENTS[1].model_validate(dict(event.data))
        new = NewEvent(data, id=event.id, correlation_id=event.correlation_id)
        await emptied.append(event.stream, event.version - 1, [new])
    write(journal, [600])
    await JournalRelay(journal, emptied).relay_once()
    assert await calls(emptied) == [f"call_{n}" for n in range(601)]


class Outage(MemoryEventStore):
    """An event store that is away at times, or loses the answer to an append."""

    away = False
    lose_answers = False
    refused = 0

    async def append(
        self, stream: str, expected_version: int, events: Sequence[NewEvent], *, fence: Fence | None = None
    ) -> list[Event]:
        if self.away:
            self.refused += 1
            raise Unavailable("The store is away.")
        stored = await super().append(stream, expected_version, events, fence=fence)
        if self.lose_answers:
            raise Unavailable("The connection broke.")
        return stored


async def test_a_store_that_is_away_delays_and_loses_nothing(journal: Path) -> None:
    store = Outage(EventRegistry(CALL_EVENTS))
    store.away = True
    write(journal, range(5))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: JournalRelay(journal, store).run(poll_seconds=0.01))
        with anyio.fail_after(25):
            while not store.refused:
                await anyio.sleep(0.01)
        store.away, store.lose_answers = False, True
        with anyio.fail_after(25):
            while await store.count() < 5:
                await anyio.sleep(0.01)
        store.lose_answers = False
        write(journal, range(5, 8))
        with anyio.fail_after(25):
            while await store.count() < 8:
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    assert await calls(store) == [f"call_{n}" for n in range(8)]


async def test_a_directory_that_is_away_delays_and_ends_nothing(
    tmp_path: Path, store: EventStore, caplog: pytest.LogCaptureFixture
) -> None:
    mount, disk = tmp_path / "mount", tmp_path / "disk"
    mount.symlink_to(disk)
    write(disk, range(3))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: JournalRelay(mount, store).run(poll_seconds=0.01))
        with anyio.fail_after(25):
            while await store.count() < 3:
                await anyio.sleep(0.01)
            point(mount, tmp_path / "nothing")
            while "Calls stay in the journal" not in caplog.text:
                await anyio.sleep(0.01)
            write(disk, range(3, 5))
            point(mount, disk)
            while await store.count() < 5:
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    assert await calls(store) == [f"call_{n}" for n in range(5)]


def point(link: Path, target: Path) -> None:
    fresh = link.with_name("fresh")
    fresh.symlink_to(target)
    fresh.rename(link)


async def test_one_relay_works_and_another_takes_over_when_it_ends(journal: Path, store: EventStore) -> None:
    write(journal, [1])
    with relay_lock(journal) as mine:
        assert mine
        assert await JournalRelay(journal, store).relay_once() == 0
    assert await JournalRelay(journal, store).relay_once() == 1


CHILD = """
import anyio, sys
from pathlib import Path
from quantum_suite.services.audit.call_events import CALL_EVENTS
from quantum_suite.services.audit.journal_relay import JournalRelay
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.events.sqlite import SqliteEventStore

async def main():
    directory = Path(sys.argv[1])
    async with SqliteEventStore(directory / "events.db", EventRegistry(CALL_EVENTS)) as store:
        print("ready", flush=True)
        await JournalRelay(directory / "audit", store).run(poll_seconds=0.001)

anyio.run(main)
"""
KILLS = int(os.environ.get("QUANTUM_TEST_KILLS", "20"))


async def test_killing_the_relay_at_any_moment_loses_and_doubles_nothing(tmp_path: Path, journal: Path) -> None:
    chance = random.Random(7)
    log = JsonlAuditLog(journal, max_bytes=40_000)
    written = 0
    for _ in range(KILLS):
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        end = time.monotonic() + chance.uniform(0.0, 0.06)
        while time.monotonic() < end:
            for _ in range(chance.randrange(1, 40)):
                log.write(record(written))
                written += 1
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    log.close()
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(
            SqliteEventStore(tmp_path / "events.db", EventRegistry(CALL_EVENTS))
        )
        before = await store.count()
        await JournalRelay(journal, store).relay_once()
        assert 0 < before <= written
        assert await calls(store) == [f"call_{n}" for n in range(written)]
