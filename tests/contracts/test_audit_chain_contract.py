"""What the audit chain guarantees on every adapter, and what its verification says of every kind of tampering."""

import re
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import psycopg
import pytest
from reference.backends import Postgres

from quantum_suite.core.errors import Conflict, Fenced
from quantum_suite.core.events import EventData, Fence, NewEvent
from quantum_suite.services.audit.chain.checkpoints import Checkpoint, CheckpointFile, public_keys, sign_checkpoint
from quantum_suite.services.audit.chain.interface import AuditChain
from quantum_suite.services.audit.chain.memory import MemoryAuditChain
from quantum_suite.services.audit.chain.postgres import PostgresAuditChain
from quantum_suite.services.audit.chain.records import START, ChainHead, ChainRow, contents_of, hash_of
from quantum_suite.services.audit.chain.sqlite import MIGRATIONS, SqliteAuditChain
from quantum_suite.services.audit.chain.writer import ChainWriter
from quantum_suite.services.audit.findings import Report
from quantum_suite.services.audit.verify import verify
from quantum_suite.services.databases.postgres import SCHEMA, open_postgres
from quantum_suite.services.databases.sqlite import SqliteDatabase
from quantum_suite.services.encryption.event_cipher import KeyedEventCipher
from quantum_suite.services.encryption.memory import MemoryKeyProvider
from quantum_suite.services.encryption.subjects.memory import memory_subject_keys
from quantum_suite.services.events.interface import ANY_VERSION, EventStore
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.postgres import PostgresEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.events.sqlite import SqliteEventStore

pytestmark = pytest.mark.anyio

FENCE = Fence("audit-chain", 1)
EMPTY = "TRUNCATE events, streams, event_types, fences, audit_records, audit_checkpoints RESTART IDENTITY"


class Happened(EventData):
    event_type: ClassVar[str] = "test.thing.happened"
    number: int


Statement = tuple[Any, ...]
"""SQL with `?`, and its values."""


class Intruder(Protocol):
    """What somebody with the database's password can do."""

    async def run(self, *statements: Statement) -> None: ...


class SqliteIntruder:
    def __init__(self, chain: Path, events: Path) -> None:
        self._chain = chain
        self._events = events

    async def run(self, *statements: Statement) -> None:
        path = self._events if " events" in statements[0][0] else self._chain
        with closing(sqlite3.connect(path)) as connection, connection:
            for statement, *values in statements:
                assert connection.execute(statement, values).rowcount > 0


class PostgresIntruder:
    def __init__(self, url: str) -> None:
        self._url = url

    async def run(self, *statements: Statement) -> None:
        options = f"-c search_path={SCHEMA}"
        async with await psycopg.AsyncConnection.connect(self._url, options=options) as connection:
            for statement, *values in statements:
                named = re.sub(r"(FROM|UPDATE|INTO) (records|checkpoints) ", r"\1 audit_\2 ", statement)
                assert (await connection.execute(named.replace("?", "%s"), values)).rowcount > 0


class World:
    """A chain over an event store, whose events of one stream are numbered like its records."""

    def __init__(
        self, chain: AuditChain, events: EventStore, provider: MemoryKeyProvider, file: CheckpointFile
    ) -> None:
        self.chain, self.events, self.provider, self.file = chain, events, provider, file
        self.writer = ChainWriter(events, chain, provider, file, checkpoint_seconds=1e9)
        self.intruder: Intruder

    async def tamper(self, statement: str, *values: Any) -> None:
        await self.intruder.run((statement, *values))

    async def happen(self, count: int, *, personal: bool = False) -> None:
        said = {"key:ann": {"name": "Ann"}} if personal else {}
        new = [NewEvent(Happened(number=n), personal=said, principal="key:ann") for n in range(count)]
        for event in new:
            await self.events.append("test.thing/one", ANY_VERSION, [event])

    async def chained(self, *counts: int) -> None:
        """Let so many events happen, with a checkpoint after each number of them."""
        for count in counts:
            await self.happen(count)
            await self.writer.catch_up(FENCE)
            await self.writer.sign(FENCE)

    async def verify(self, *, events: bool = True, file: bool = True) -> Report:
        return await verify(
            self.chain,
            await public_keys(self.provider),
            events=self.events if events else None,
            checkpoint_file=self.file if file else None,
        )

    async def first(self, *, events: bool = True, file: bool = True) -> tuple[str, str, int]:
        """Return kind, subject and number of the first finding."""
        report = await self.verify(events=events, file=file)
        assert report.first is not None
        assert not report.intact
        return report.first.kind, report.first.subject, report.first.number

    async def replace_records(self, rows: Sequence[ChainRow]) -> None:
        """Put these in the place of all the records there are."""
        added = [("INSERT INTO records (number, record, hash) VALUES (?, ?, ?)", *row) for row in rows]
        await self.intruder.run(("DELETE FROM records WHERE number > ?", 0), *added)

    async def drop_event(self, version: int) -> None:
        await self.tamper("DELETE FROM events WHERE version = ?", version)


def renumbered(rows: Sequence[ChainRow]) -> list[ChainRow]:
    """Number rows through, and leave their hashes as they are."""
    return [(n, n.to_bytes(8, "big") + contents_of(record), kept) for n, (_, record, kept) in enumerate(rows, 1)]


def made_anew(rows: Sequence[ChainRow]) -> list[ChainRow]:
    """Number rows through and chain them: what can be done without the signing key."""
    previous, anew = START.hash, []
    for number, record, _ in renumbered(rows):
        previous = hash_of(previous, record)
        anew.append((number, record, previous))
    return anew


@pytest.fixture(scope="module")
def database(postgres_server: Postgres) -> str:
    """One database for the module: making one takes longer than most of these tests."""
    return postgres_server.new_database("audit_chain")


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    provider = MemoryKeyProvider()
    cipher = KeyedEventCipher(provider, memory_subject_keys(provider))
    registry, file = EventRegistry([Happened]), CheckpointFile(tmp_path / "checkpoints.jsonl")
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            yield World(MemoryAuditChain(), MemoryEventStore(registry, cipher), provider, file)
        elif request.param == "sqlite":
            database = stack.enter_context(SqliteDatabase(tmp_path / "audit.db", MIGRATIONS))
            path = tmp_path / "events.db"
            events = await stack.enter_async_context(SqliteEventStore(path, registry, cipher))
            world = World(SqliteAuditChain(database), events, provider, file)
            world.intruder = SqliteIntruder(tmp_path / "audit.db", path)
            yield world
        else:
            url = request.getfixturevalue("database")
            opened = await stack.enter_async_context(open_postgres(url))
            async with opened.connection() as connection:
                await connection.execute(EMPTY)
            store = await stack.enter_async_context(PostgresEventStore(opened, registry, cipher))
            world = World(PostgresAuditChain(opened), store, provider, file)
            world.intruder = PostgresIntruder(url)
            yield world


on_databases = pytest.mark.parametrize("world", ["sqlite", "postgres"], indirect=True)


async def test_every_event_gets_a_record_and_the_chain_verifies(world: World) -> None:
    await world.chained(3, 4)
    await world.happen(2)
    report = await world.verify()
    assert report.intact, report.findings
    assert (report.records, report.events, report.pending_events) == (7, 7, 2)
    assert (report.checkpoints, report.signed_number) == (2, 7)


async def test_an_empty_chain_verifies(world: World) -> None:
    report = await world.verify()
    assert report.intact
    assert (report.records, report.signed_at) == (0, None)
    assert await world.chain.head() == START
    assert await world.writer.sign(FENCE) is None


async def test_the_chain_goes_on_where_another_writer_left_it(world: World) -> None:
    await world.chained(3)
    another = ChainWriter(world.events, world.chain, world.provider, world.file)
    await world.happen(2)
    assert await another.catch_up(Fence("audit-chain", 2)) == 2
    assert await another.catch_up(Fence("audit-chain", 2)) == 0
    assert (await world.verify()).records == 5
    await world.happen(1)
    with pytest.raises(Fenced):
        await world.writer.catch_up(FENCE)


async def test_checkpoints_come_by_themselves(world: World) -> None:
    writer = ChainWriter(
        world.events, world.chain, world.provider, world.file, checkpoint_records=3, checkpoint_seconds=1e9
    )
    for _ in range(4):
        await world.happen(2)
        await writer.catch_up(FENCE)
    assert [checkpoint.number for checkpoint in await world.chain.checkpoints()] == [4, 8]
    kept = world.file.read()
    assert kept == (await world.chain.checkpoints(), [])


async def test_rows_are_added_after_the_head_alone_and_under_the_newest_token_alone(world: World) -> None:
    await world.chained(2)
    head = await world.chain.head()
    row = (3, b"\x00" * 7 + b"\x03" + b"d" * 32 + b"9", b"h" * 32)
    with pytest.raises(Conflict):
        await world.chain.append(ChainHead(1, b"x" * 32, head.position), [row], FENCE)
    await world.chain.append(head, [row], Fence("audit-chain", 5))
    with pytest.raises(Fenced):
        await world.chain.append(await world.chain.head(), [], Fence("audit-chain", 4))
    checkpoint = await world.chain.last_checkpoint()
    assert checkpoint is not None
    with pytest.raises(Fenced):
        await world.chain.add_checkpoint(replace(checkpoint, number=3), Fence("audit-chain", 4))
    with pytest.raises(Conflict):
        await world.chain.add_checkpoint(checkpoint, Fence("audit-chain", 5))
    assert await world.chain.page(1, 1) == [(await world.chain.page(0))[1]]


async def test_erasing_a_person_leaves_the_chain_as_it_is(world: World) -> None:
    await world.happen(5, personal=True)
    await world.writer.catch_up(FENCE)
    await world.writer.sign(FENCE)
    assert (await world.events.read())[0].personal == {"key:ann": {"name": "Ann"}}
    assert await world.events.erase("key:ann")
    assert (await world.events.read())[0].personal == {"key:ann": None}
    assert (await world.verify()).intact


async def test_checkpoints_of_keys_before_a_rotation_still_count(world: World) -> None:
    await world.chained(2)
    await world.provider.rotate()
    await world.chained(2)
    assert len({checkpoint.key_id for checkpoint in await world.chain.checkpoints()}) == 2
    assert (await world.verify()).intact


async def test_a_file_that_a_crash_left_behind_is_completed(world: World) -> None:
    await world.chained(2, 2)
    lines = world.file.path.read_bytes().splitlines(keepends=True)
    world.file.path.write_bytes(lines[0] + lines[1][:20])
    assert (await world.verify()).intact
    another = ChainWriter(world.events, world.chain, world.provider, world.file, checkpoint_seconds=1e9)
    await another.catch_up(FENCE)
    assert world.file.read() == (await world.chain.checkpoints(), [])


EVENT_CHANGES = {
    "payload": "UPDATE events SET payload = ? WHERE version = ?",
    "attributes": "UPDATE events SET attributes = ? WHERE version = ?",
    "time": "UPDATE events SET time = ? WHERE version = ?",
    "personal": "UPDATE events SET personal = ? WHERE version = ?",
    "id": "UPDATE events SET id = ? WHERE version = ?",
}


@on_databases
@pytest.mark.parametrize("column", list(EVENT_CHANGES))
async def test_an_event_that_was_altered_is_named(world: World, column: str) -> None:
    await world.chained(5, 5)
    text = column in ("time", "id")
    await world.tamper(EVENT_CHANGES[column], "2001-01-01" if text else b"{}", 4)
    await world.tamper(EVENT_CHANGES[column], "2001-01-01" if text else b"{}", 8)
    assert await world.first() == ("altered", "event", 4)


@on_databases
async def test_an_event_whose_type_was_altered_is_named(world: World, request: pytest.FixtureRequest) -> None:
    await world.chained(5)
    table = "types" if isinstance(world.events, SqliteEventStore) else "event_types"
    await world.tamper(f"UPDATE {table} SET name = ? /* events */", "test.thing.undone.v1")
    assert await world.first() == ("altered", "event", 1)


@on_databases
@pytest.mark.parametrize("version", [1, 4, 5, 10])
async def test_an_event_that_was_dropped_is_named(world: World, version: int) -> None:
    await world.chained(5, 5)
    await world.drop_event(version)
    assert await world.first() == ("dropped", "event", version)


@on_databases
async def test_an_event_that_was_inserted_is_named(world: World) -> None:
    await world.chained(3)
    await world.happen(1)
    await world.happen(3)
    await world.writer.catch_up(FENCE)
    rows = await world.chain.page(0)
    # The chain as it would be, had the fourth event not been there when it was written.
    await world.tamper("DELETE FROM checkpoints WHERE number > ?", 0)
    world.file.path.unlink()
    await world.replace_records(made_anew([*rows[:3], *rows[4:]]))
    world.writer = ChainWriter(world.events, world.chain, world.provider, world.file)
    await world.writer.sign(FENCE)
    assert await world.first() == ("inserted", "event", 4)


@on_databases
@pytest.mark.parametrize("number", [1, 3, 5, 6, 8])
async def test_a_record_that_was_altered_is_named(world: World, number: int) -> None:
    await world.chained(5)
    await world.happen(3)
    await world.writer.catch_up(FENCE)
    rows = await world.chain.page(0)
    record = bytearray(rows[number - 1][1])
    record[20] ^= 1
    await world.tamper("UPDATE records SET record = ? WHERE number = ?", bytes(record), number)
    assert await world.first() == ("altered", "record", number)
    assert await world.first(events=False) == ("altered", "record", number)


@on_databases
@pytest.mark.parametrize("number", [3, 6, 8])
async def test_a_hash_that_was_altered_is_named(world: World, number: int) -> None:
    await world.chained(5)
    await world.happen(3)
    await world.writer.catch_up(FENCE)
    await world.tamper("UPDATE records SET hash = ? WHERE number = ?", b"\x07" * 32, number)
    assert await world.first() == ("altered", "record", number)


@on_databases
@pytest.mark.parametrize("number", [1, 3, 7])
async def test_a_record_that_was_dropped_is_named(world: World, number: int) -> None:
    await world.chained(5)
    await world.happen(4)
    await world.writer.catch_up(FENCE)
    left = [row for row in await world.chain.page(0) if row[0] != number]
    for rows in (left, renumbered(left)):
        await world.replace_records(rows)
        assert await world.first(events=True) == ("dropped", "record", number)
        assert await world.first(events=False) == ("dropped", "record", number)


@on_databases
async def test_an_event_dropped_together_with_its_record_is_named(world: World) -> None:
    await world.chained(5, 5)
    await world.tamper("DELETE FROM records WHERE number = ?", 4)
    await world.drop_event(4)
    assert await world.first() == ("dropped", "record", 4)


@on_databases
@pytest.mark.parametrize("number", [1, 3, 7])
async def test_a_record_that_was_inserted_is_named(world: World, number: int) -> None:
    await world.chained(5)
    await world.happen(4)
    await world.writer.catch_up(FENCE)
    rows = list(await world.chain.page(0))
    false = number.to_bytes(8, "big") + b"\x01" * 32 + b"77"
    rows.insert(number - 1, (number, false, b"\x02" * 32))
    await world.replace_records(renumbered(rows))
    assert await world.first(events=True) == ("inserted", "record", number)
    assert await world.first(events=False) == ("inserted", "record", number)


@on_databases
async def test_records_that_were_reordered_are_named_at_the_first(world: World) -> None:
    await world.chained(8)
    rows = list(await world.chain.page(0))
    rows[2], rows[5] = rows[5], rows[2]
    await world.replace_records(renumbered(rows))
    assert await world.first() == ("altered", "record", 3)
    await world.replace_records(made_anew(rows))
    report = await world.verify()
    assert report.first is not None
    assert (report.first.kind, report.first.subject, report.first.number) == ("altered", "record", 3)
    assert "reordered" in report.first.evidence


@on_databases
@pytest.mark.parametrize("events", [True, False])
async def test_a_tail_that_was_cut_off_is_named_by_the_checkpoint_file(world: World, events: bool) -> None:
    await world.chained(5, 3)
    await world.tamper("DELETE FROM records WHERE number > ?", 4)
    await world.tamper("DELETE FROM checkpoints WHERE number > ?", 4)
    assert await world.first(events=events) == ("dropped", "record", 5)
    for version in range(5, 9):
        await world.drop_event(version)
    report = await world.verify(events=events)
    assert report.first is not None
    assert (report.first.kind, report.first.subject, report.first.number) == ("dropped", "record", 5)
    assert "8" in report.first.evidence


@on_databases
async def test_where_the_file_is_gone_as_well_the_report_says_what_it_cannot_tell(world: World) -> None:
    await world.chained(5, 3)
    world.file.path.unlink()
    report = await world.verify()
    assert report.intact
    assert "would not show" in report.notes[0]


@on_databases
@pytest.mark.parametrize("made", ["dropped", "inserted", "altered"])
async def test_a_chain_made_anew_without_the_signing_key_is_told_by_the_events(world: World, made: str) -> None:
    await world.chained(3, 5)
    rows = list(await world.chain.page(0))
    false = bytes(8) + b"\x01" * 32 + b"77"
    if made == "dropped":
        del rows[4]
    elif made == "inserted":
        rows.insert(4, (5, false, bytes(32)))
    else:
        rows[4] = (5, false, bytes(32))
    await world.replace_records(made_anew(rows))
    assert await world.first() == (made, "record", 5)


@on_databases
async def test_a_chain_made_anew_over_changed_events_is_told_by_the_checkpoint(world: World) -> None:
    await world.chained(3, 5)
    await world.drop_event(5)
    rows = list(await world.chain.page(0))
    await world.replace_records(made_anew([*rows[:4], *rows[5:]]))
    report = await world.verify()
    assert report.first is not None
    assert (report.first.kind, report.first.subject, report.first.number) == ("dropped", "record", 4)
    assert "without the signing key" in report.first.evidence


@on_databases
async def test_a_checkpoint_that_was_altered_is_named(world: World) -> None:
    await world.chained(3, 5)
    await world.tamper("UPDATE checkpoints SET hash = ? WHERE number = ?", "00" * 32, 8)
    assert await world.first() == ("altered", "checkpoint", 8)
    assert await world.first(file=False) == ("altered", "checkpoint", 8)


@on_databases
async def test_a_checkpoint_that_was_swapped_for_another_one_is_named(world: World) -> None:
    await world.chained(3, 2, 3)
    _, other, swapped = await world.chain.checkpoints()
    await world.tamper("DELETE FROM checkpoints WHERE number = ?", 8)
    await insert(world, replace(other, number=8))
    assert await world.first(file=False) == ("altered", "checkpoint", 8)
    await world.tamper("DELETE FROM checkpoints WHERE number = ?", 8)
    foreign = sign_checkpoint(await world.chain.head(), other, await MemoryKeyProvider().current())
    await insert(world, foreign)
    report = await world.verify(file=False)
    assert report.first is not None
    assert (report.first.kind, report.first.number) == ("altered", 8)
    assert "none of this installation's" in report.first.evidence
    assert swapped.number == 8


@on_databases
async def test_a_checkpoint_that_was_dropped_is_named(world: World) -> None:
    await world.chained(3, 2, 3)
    await world.tamper("DELETE FROM checkpoints WHERE number = ?", 5)
    assert await world.first() == ("dropped", "checkpoint", 5)
    assert await world.first(file=False) == ("dropped", "checkpoint", 8)


async def test_a_line_in_the_file_that_was_altered_is_named(world: World) -> None:
    await world.chained(3, 2)
    content = world.file.path.read_bytes()
    world.file.path.write_bytes(content.replace(b'"number":3', b'"number":4'))
    assert await world.first() == ("dropped", "checkpoint", 3) or await world.first() == (
        "altered",
        "checkpoint",
        4,
    )
    world.file.path.write_bytes(b"nonsense\n" + content)
    assert await world.first() == ("altered", "checkpoint", 0)


async def insert(world: World, checkpoint: Checkpoint) -> None:
    await world.tamper(
        "INSERT INTO checkpoints (number, position, hash, time, key_id, previous, signature) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        *astuple(checkpoint),
    )
