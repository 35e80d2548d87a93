"""How fast the audit chain is written and verified, on SQLite and on PostgreSQL.

Written: from events in the store to records that are durable, checkpoints included. Verified: every record
followed and every checkpoint's signature checked (`records`), and the same with every event compared to its
record (`events`). Figures of verification are the median of several runs over the same chain.
"""

import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from quantum_suite.core.events import EventData, Fence, NewEvent
from quantum_suite.services.audit.chain.checkpoints import CheckpointFile, public_keys
from quantum_suite.services.audit.chain.interface import AuditChain
from quantum_suite.services.audit.chain.postgres import PostgresAuditChain
from quantum_suite.services.audit.chain.records import ChainRow, hash_of, record_of
from quantum_suite.services.audit.chain.sqlite import open_sqlite_audit_chain
from quantum_suite.services.audit.chain.writer import ChainWriter
from quantum_suite.services.audit.findings import Report
from quantum_suite.services.audit.verify import verify
from quantum_suite.services.databases.postgres import open_postgres
from quantum_suite.services.encryption.event_cipher import KeyedEventCipher
from quantum_suite.services.encryption.memory import MemoryKeyProvider
from quantum_suite.services.encryption.subjects.memory import memory_subject_keys
from quantum_suite.services.events.interface import ANY_VERSION, MAX_BATCH, EventStore
from quantum_suite.services.events.postgres import PostgresEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.events.sqlite import SqliteEventStore

FENCE = Fence("audit-chain", 1)
CHECKPOINT_RECORDS = 10_000


class Recorded(EventData):
    """An event of the bench's own, about as long as that of a call."""

    event_type: ClassVar[str] = "bench.audit.recorded"
    number: int
    text: str = "x" * 300


@dataclass(frozen=True, slots=True)
class Ground:
    """A chain, and the events it is written from."""

    chain: AuditChain
    events: EventStore
    provider: MemoryKeyProvider
    file: CheckpointFile


@dataclass(frozen=True, slots=True)
class AuditFigures:
    """What was measured on one adapter, per second."""

    records_written_per_s: float
    records_verified_per_s: float
    events_verified_per_s: float
    records: int
    """In the long chain that `records_verified_per_s` is taken over."""


@asynccontextmanager
async def embedded(directory: Path) -> AsyncIterator[Ground]:
    """Open the chain and encrypted events on SQLite, below `directory`."""
    provider = MemoryKeyProvider()
    cipher = KeyedEventCipher(provider, memory_subject_keys(provider))
    registry, file = EventRegistry([Recorded]), CheckpointFile(directory / "checkpoints.jsonl")
    with open_sqlite_audit_chain(directory / "audit.db") as chain:
        async with SqliteEventStore(directory / "events.db", registry, cipher) as events:
            yield Ground(chain, events, provider, file)


@asynccontextmanager
async def distributed(postgres_url: str, directory: Path) -> AsyncIterator[Ground]:
    """Open the chain and encrypted events in an empty PostgreSQL database."""
    provider = MemoryKeyProvider()
    cipher = KeyedEventCipher(provider, memory_subject_keys(provider))
    registry, file = EventRegistry([Recorded]), CheckpointFile(directory / "checkpoints.jsonl")
    async with open_postgres(postgres_url) as database, PostgresEventStore(database, registry, cipher) as events:
        yield Ground(PostgresAuditChain(database), events, provider, file)


async def measure_audit(ground: Ground, *, events: int, records: int, runs: int = 5) -> AuditFigures:
    """Write a chain over `events` events and verify it; then lengthen it to `records` records and follow it.

    The longer part stands for no events: following it needs none. Raises RuntimeError when it does not verify.
    """
    await _append(ground.events, events)
    writer = ChainWriter(
        ground.events, ground.chain, ground.provider, ground.file, checkpoint_records=CHECKPOINT_RECORDS
    )
    began = time.perf_counter()
    written = await writer.catch_up(FENCE)
    seconds = time.perf_counter() - began
    await writer.sign(FENCE)
    keys = await public_keys(ground.provider)

    async def with_events() -> Report:
        return await verify(ground.chain, keys, events=ground.events, checkpoint_file=ground.file)

    async def alone() -> Report:
        return await verify(ground.chain, keys, checkpoint_file=ground.file)

    compared = await _rate(with_events, events, runs)
    await _lengthen(ground, writer, records)
    followed = await _rate(alone, records, runs)
    return AuditFigures(written / seconds, followed, compared, records)


async def _append(store: EventStore, count: int) -> None:
    for first in range(0, count, MAX_BATCH):
        batch = [NewEvent(Recorded(number=n)) for n in range(first, min(first + MAX_BATCH, count))]
        await store.append(f"bench.audit/{first}", ANY_VERSION, batch)


async def _lengthen(ground: Ground, writer: ChainWriter, records: int) -> None:
    while (head := await ground.chain.head()).number < records:
        rows: list[ChainRow] = []
        number, previous = head.number, head.hash
        while len(rows) < CHECKPOINT_RECORDS and number < records:
            number += 1
            record = record_of(number, previous, str(number))
            previous = hash_of(previous, record)
            rows.append((number, record, previous))
        await ground.chain.append(head, rows, FENCE)
        await writer.sign(FENCE)


async def _rate(measured: Callable[[], Awaitable[Report]], count: int, runs: int) -> float:
    rates = []
    for _ in range(runs):
        began = time.perf_counter()
        report = await measured()
        rates.append(count / (time.perf_counter() - began))
        if not report.intact or report.records < count:
            raise RuntimeError(f"The chain does not verify: {report.first}")
    return statistics.median(rates)
