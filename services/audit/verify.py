"""Verifies the audit chain: records, checkpoints, and the events against their records."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio.to_thread

from quantum_suite.services.audit.chain.checkpoints import Checkpoint, CheckpointFile, PublicKeys
from quantum_suite.services.audit.chain.interface import AuditChain
from quantum_suite.services.audit.chain.records import (
    START,
    ChainHead,
    ChainRow,
    chained,
    follow,
    position_in,
)
from quantum_suite.services.audit.checkpoint_check import check_checkpoints
from quantum_suite.services.audit.diagnosis import Stretch, diagnose_events, diagnose_records
from quantum_suite.services.audit.findings import Finding, Report
from quantum_suite.services.events.interface import MAX_BATCH, EventStore, StoredEvent

_MARGIN = 2_000
_STRETCH_RECORDS = 60_000
"""Most records that are looked at closely; of a longer stretch, those around the break."""


@dataclass(slots=True)
class _Walk:
    """How far the chain was followed."""

    head: ChainHead = START
    sound: ChainHead = START
    """The last record that a good checkpoint vouches for, or the beginning."""
    broken: int | None = None
    """The first number whose record does not follow from the one before."""
    refuted: Checkpoint | None = None
    """The first good checkpoint that the chain does not lead to."""
    good: Sequence[Checkpoint] = field(default_factory=tuple)


async def verify(
    chain: AuditChain,
    keys: PublicKeys,
    *,
    events: EventStore | None = None,
    checkpoint_file: CheckpointFile | None = None,
) -> Report:
    """Verify the chain, with `events` the event log as well, and name the first thing that is not as written.

    `keys` says whose signatures count. Works beside a hub that is writing. Raises Unavailable, and nothing for
    what was tampered with: that is in the report.
    """
    filed = await anyio.to_thread.run_sync(checkpoint_file.read) if checkpoint_file is not None else None
    checked = check_checkpoints(await chain.checkpoints(), filed, keys)
    walk = await _follow(chain, checked.good)
    findings = []
    if walk.broken is not None or walk.refuted is not None:
        findings.append(diagnose_records(await _stretch(chain, events, walk)))
    compared, pending = 0, 0
    if events is not None:
        compared, pending, found = await _compare(chain, events, walk)
        findings += [found] if found is not None else []
    # Of what is said of one record, that about the record itself explains the rest.
    findings += checked.findings
    vouched = walk.sound
    signed_at = next((c.time for c in checked.good if c.number == vouched.number), None)
    return Report(
        tuple(sorted(findings, key=lambda finding: (finding.number, finding.subject == "checkpoint"))),
        walk.head.number,
        compared,
        pending,
        len(checked.good),
        vouched.number,
        signed_at,
        checked.notes,
    )


async def _follow(chain: AuditChain, good: Sequence[Checkpoint]) -> _Walk:
    """Follow the chain until it breaks or ends."""
    walk = _Walk(good=good)
    while rows := await chain.page(walk.head.number):
        await anyio.to_thread.run_sync(_follow_page, walk, rows)
        if walk.broken is not None or walk.refuted is not None:
            break
    else:
        walk.refuted = next((checkpoint for checkpoint in good if checkpoint.number > walk.head.number), None)
    if walk.refuted is None:
        walk.refuted = next((c for c in good if c.number > walk.sound.number), None)
    return walk


def _follow_page(walk: _Walk, rows: list[ChainRow]) -> None:
    """Follow a page from checkpoint to checkpoint."""
    first = walk.head.number + 1
    whole = rows[-1][0] == walk.head.number + len(rows)
    numbers = [checkpoint.number for checkpoint in walk.good]
    begin = 0
    while begin < len(rows):
        index = bisect_right(numbers, walk.head.number)
        end = min(numbers[index] - first + 1, len(rows)) if index < len(numbers) else len(rows)
        part = rows[begin:end]
        previous, broken = follow(walk.head.hash, part)
        if not whole:
            jump = next((i for i, row in enumerate(part) if row[0] != first + begin + i), None)
            broken = jump if broken is None or (jump is not None and jump < broken) else broken
        if broken is not None:
            walk.broken = first + begin + broken
            if broken:
                walk.head = ChainHead(walk.broken - 1, part[broken - 1][2], position_in(part[broken - 1][1]))
            return
        walk.head = ChainHead(part[-1][0], previous, position_in(part[-1][1]))
        for checkpoint in walk.good[index:]:
            if checkpoint.number != walk.head.number:
                break
            if (checkpoint.hash, checkpoint.position) != (walk.head.hash.hex(), walk.head.position):
                walk.refuted = checkpoint
                return
            walk.sound = walk.head
        begin = end


async def _stretch(chain: AuditChain, events: EventStore | None, walk: _Walk) -> Stretch:
    """Read the part of the chain that something was done to, from the last checkpoint it leads to."""
    start, checkpoint = walk.sound, walk.refuted
    last = checkpoint.number if checkpoint is not None else (walk.broken or start.number)
    if last - start.number > _STRETCH_RECORDS and walk.broken is not None:
        start, checkpoint = await _before(chain, walk, walk.broken - _MARGIN), None
        last = walk.broken
    count = last - start.number + _MARGIN
    rows = await _rows(chain, start.number, count)
    found = None if events is None else await _events(events, start, count)
    return Stretch(start, rows, found, checkpoint, walk.good[-1].number if walk.good else 0)


async def _before(chain: AuditChain, walk: _Walk, number: int) -> ChainHead:
    """Return a record before the break that follows from what was before, `number` or thereabouts."""
    if number <= walk.sound.number:
        return walk.sound
    ((number, record, stored),) = await chain.page(number - 1, 1)
    return ChainHead(number, stored, position_in(record))


async def _compare(chain: AuditChain, events: EventStore, walk: _Walk) -> tuple[int, int, Finding | None]:
    """Compare events with records, as far as these are sound; returns how many, and how many events follow."""
    intact = walk.broken is None and walk.refuted is None
    last = walk.head.number if intact else walk.sound.number
    head, rows = START, list[ChainRow]()
    while head.number < last:
        if not rows:
            rows = (await chain.page(head.number))[: last - head.number]
        stored = await events.read_stored(head.position, limit=MAX_BATCH)
        part, rows = rows[: len(stored) or MAX_BATCH], rows[len(stored) or MAX_BATCH :]
        expected = await anyio.to_thread.run_sync(chained, head, stored[: len(part)])
        if expected != part:
            more = await _events(events, head, len(part) + _MARGIN)
            behind = await _rows(chain, head.number, len(part) + _MARGIN)
            return head.number, 0, diagnose_events(head, behind, more)
        head = ChainHead(part[-1][0], part[-1][2], position_in(part[-1][1]))
    return head.number, await events.count(head.position) if intact else 0, None


async def _rows(chain: AuditChain, after: int, count: int) -> list[ChainRow]:
    rows: list[ChainRow] = []
    while len(rows) < count and (page := await chain.page(rows[-1][0] if rows else after)):
        rows += page
    return rows[:count]


async def _events(store: EventStore, start: ChainHead, count: int) -> list[StoredEvent]:
    found: list[StoredEvent] = []
    after = start.position
    while len(found) < count and (page := await store.read_stored(after)):
        found += page
        after = page[-1].position
    return found[:count]
