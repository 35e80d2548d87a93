"""Says what happened to a stretch of the chain that does not verify, by holding it against the events.

Chain and event log were written from the same bytes, so whichever of the two still gives a hash that is vouched
for (by a signed checkpoint, or by a later record that nobody touched) is the true one, and the other is compared
to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from quantum_suite.services.audit.chain.checkpoints import Checkpoint
from quantum_suite.services.audit.chain.records import (
    ChainHead,
    ChainRow,
    chained,
    contents_of,
    follow,
    hash_of,
)
from quantum_suite.services.audit.findings import Finding
from quantum_suite.services.events.interface import StoredEvent


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the chain, the events from its beginning on, and what vouches for its end."""

    start: ChainHead
    rows: Sequence[ChainRow]
    events: Sequence[StoredEvent] | None
    """None where there are no events to compare with."""
    checkpoint: Checkpoint | None
    """A good one over the last record the stretch should have."""
    signed_number: int = 0
    """The last record that any good checkpoint is over."""


def diagnose_events(start: ChainHead, rows: Sequence[ChainRow], events: Sequence[StoredEvent]) -> Finding | None:
    """Compare events with records that verify; returns the first event that is not as it was recorded.

    Both begin after `start`. More events than records are no finding.
    """
    expected = chained(start, events[: len(rows)])
    for index, (number, record, _) in enumerate(rows):
        if index >= len(expected):
            position = _position(record)
            return Finding(
                "dropped", "event", number, "its record is there and the event log ends before.", position
            )
        if expected[index][1] == record:
            continue
        return _name_event(number, record, rows[index:], events[index:])
    return None


def diagnose_records(stretch: Stretch) -> Finding:
    """Name what was done to a stretch of records that does not verify."""
    _, broken = follow(stretch.start.hash, stretch.rows)
    jump = next((i for i, row in enumerate(stretch.rows) if row[0] != stretch.start.number + 1 + i), None)
    if jump is not None and (broken is None or jump <= broken):
        broken = jump
    if stretch.events is not None:
        expected = chained(stretch.start, stretch.events)
        if _vouched(expected, stretch, broken):
            found = _compare_records(stretch, expected)
            if found is not None:
                return found
    if broken is not None:
        return _name_break(stretch, broken)
    return _name_rewritten(stretch)


def _name_event(number: int, record: bytes, rows: Sequence[ChainRow], events: Sequence[StoredEvent]) -> Finding:
    event, position = events[0], _position(record)
    if event.position == position:
        evidence = "its stored bytes no longer give the digest in its record, which verifies."
        return Finding("altered", "event", number, evidence, position, event.id)
    if any(event.position == _position(later) for _, later, _ in rows[1:]):
        evidence = "its record verifies, and the event log goes on with the event of a later record."
        return Finding("dropped", "event", number, evidence, position)
    if any(later.position == position for later in events[1:]):
        evidence = "it stands among events whose records follow one another without it."
        return Finding("inserted", "event", number, evidence, event.position, event.id)
    evidence = f"in the place of the event recorded there stands one at position {event.position}."
    return Finding("altered", "event", number, evidence, position, event.id)


def _vouched(expected: Sequence[ChainRow], stretch: Stretch, broken: int | None) -> bool:
    """Whether records made anew from the events lead to a hash that is vouched for."""
    checkpoint = stretch.checkpoint
    if checkpoint is not None:
        index = checkpoint.number - stretch.start.number - 1
        return index < len(expected) and expected[index][2].hex() == checkpoint.hash
    if broken is None:
        return False
    # Hashes cannot be guessed: one that also stands in the chain after the break is the one that was written.
    after = {row[2] for row in stretch.rows[broken:]}
    return any(row[2] in after for row in expected)


def _compare_records(stretch: Stretch, expected: Sequence[ChainRow]) -> Finding | None:
    rows = stretch.rows
    for index, (number, record, stored_hash) in enumerate(expected):
        position = _position(record)
        if stretch.checkpoint is not None and number > stretch.checkpoint.number:
            return None
        if index >= len(rows):
            if stretch.checkpoint is None:
                return None
            evidence = f"the chain ends before it, and a signed checkpoint says it had {stretch.signed_number}."
            return Finding("dropped", "record", number, evidence, position)
        row = rows[index]
        if row == expected[index]:
            continue
        if row[:2] == (number, record):
            evidence = "its content is that of its event, and its hash is not the one that follows from it."
            return Finding("altered", "record", number, evidence, position)
        content = contents_of(record)
        if row[0] == number and any(contents_of(later[1]) == content for later in rows[index + 1 :]):
            if any(contents_of(row[1]) == contents_of(other[1]) for other in expected[index + 1 :]):
                evidence = (
                    "it holds a later event, and its own event stands in a later record: they were reordered."
                )
                return Finding("altered", "record", number, evidence, position)
            evidence = "no event belongs to it, and the record that should be there comes later."
            return Finding("inserted", "record", number, evidence, _position(row[1]))
        if any(contents_of(row[1]) == contents_of(other[1]) for other in expected[index + 1 :]):
            evidence = f"its event is there and vouched for, and the chain goes on with record {row[0]}."
            return Finding("dropped", "record", number, evidence, position)
        evidence = f"its event is unchanged and vouched for; {stored_hash.hex()[:16]} is what its hash was."
        return Finding("altered", "record", number, evidence, position)
    return None


def _name_break(stretch: Stretch, broken: int) -> Finding:
    """Name a break from the chain alone: the events say nothing, or were changed as well."""
    rows, number = stretch.rows, stretch.start.number + 1 + broken
    previous = stretch.start.hash if broken == 0 else rows[broken - 1][2]
    stored_number, record, stored_hash = rows[broken]
    position = _position(record)
    if stored_number != number:
        evidence = f"the chain goes on with record {stored_number}."
        return Finding("dropped", "record", number, evidence)
    if broken + 1 < len(rows):
        _, after, after_hash = rows[broken + 1]
        if hash_of(previous, number.to_bytes(8, "big") + contents_of(after)) == after_hash:
            evidence = "without it the next record follows from the one before, under this number."
            return Finding("inserted", "record", number, evidence, position)
        if hash_of(stored_hash, (number + 2).to_bytes(8, "big") + contents_of(after)) == after_hash:
            evidence = "the records from here on were numbered one higher when they were written."
            return Finding("dropped", "record", number, evidence)
    return Finding(
        "altered", "record", number, "its hash does not follow from it and the record before.", position
    )


def _name_rewritten(stretch: Stretch) -> Finding:
    """Name what was done where records follow one another and still do not lead to the signed hash."""
    checkpoint, first = stretch.checkpoint, stretch.start.number + 1
    assert checkpoint is not None
    span = f"records {first} to {checkpoint.number} were made anew without the signing key, and so were the events"
    place = next((row[0] for row in stretch.rows if _position(row[1]) == checkpoint.position), None)
    signed = f"the signed checkpoint {checkpoint.number} is of the event at {checkpoint.position}"
    if place is not None and place < checkpoint.number:
        return Finding("dropped", "record", first, f"{span}: {signed}, which is record {place} now.")
    if place is not None and place > checkpoint.number:
        return Finding("inserted", "record", first, f"{span}: {signed}, which is record {place} now.")
    last = stretch.rows[-1][0] if stretch.rows else stretch.start.number
    if last < checkpoint.number:
        evidence = f"the chain ends at record {last}, and a signed checkpoint says it had {stretch.signed_number}."
        return Finding("dropped", "record", last + 1, evidence)
    return Finding(
        "altered", "record", first, f"{span}: they do not lead to the hash in checkpoint {checkpoint.number}."
    )


def _position(record: bytes) -> str:
    """Return the position a record is about, as far as it can be read."""
    return record[40:].decode(errors="replace")
