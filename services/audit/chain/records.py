"""What a record of the chain is made of.

    digest = SHA-256(four lengths | position, stream, version, id, type, time | attributes | payload | personal)
    record = number (8 bytes) | digest (32 bytes) | position
    hash   = SHA-256(hash of the record before | record)

The digest is taken over the bytes as they are stored, ciphertext where encryption is on: checking it needs no key,
and erasing a person's key changes none of it. Records are compact, so that a chain is checked as fast as it is
read.
"""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from quantum_suite.core.errors import Damaged
from quantum_suite.core.events import Position
from quantum_suite.services.events.interface import StoredEvent

GENESIS = bytes(32)
"""What stands before the first record."""

ChainRow = tuple[int, bytes, bytes]
"""Number, record and hash, as they are stored."""

_LENGTHS = struct.Struct(">IIII")
_DIGEST_ENDS = 40


class ChainHead(NamedTuple):
    """The last record of a chain, or of a part of it."""

    number: int
    hash: bytes
    position: Position | None
    """Of the event it stands for; None before the first record."""


START = ChainHead(0, GENESIS, None)


def digest_of(event: StoredEvent) -> bytes:
    """Return the digest of everything that is stored of an event."""
    # Joined by line feeds, which none of these fields holds when it is written: no two events give the same text.
    text = f"{event.position}\n{event.stream}\n{event.version}\n{event.id}\n{event.type}\n{event.time}".encode(
        errors="surrogatepass"
    )
    attributes, payload, personal = event.attributes, event.payload, event.personal
    lengths = _LENGTHS.pack(len(text), len(attributes), len(payload), len(personal))
    return hashlib.sha256(lengths + text + attributes + payload + personal).digest()


def record_of(number: int, digest: bytes, position: str) -> bytes:
    """Return a record's bytes."""
    return number.to_bytes(8, "big") + digest + position.encode()


def contents_of(record: bytes) -> bytes:
    """Return a record without its number: digest and position."""
    return record[8:]


def position_in(record: bytes) -> Position:
    """Return the position a record is about; raises Damaged when the record holds none."""
    try:
        return Position(record[_DIGEST_ENDS:].decode())
    except UnicodeDecodeError as error:
        raise Damaged("An audit record is not in its format.", "See `quantum audit verify`.") from error


def hash_of(previous: bytes, record: bytes) -> bytes:
    """Return a record's hash."""
    return hashlib.sha256(previous + record).digest()


def chained(head: ChainHead, events: Iterable[StoredEvent]) -> list[ChainRow]:
    """Return the rows that follow `head` for these events."""
    rows: list[ChainRow] = []
    number, previous, _ = head
    for event in events:
        number += 1
        record = record_of(number, digest_of(event), event.position)
        previous = hash_of(previous, record)
        rows.append((number, record, previous))
    return rows


def follow(previous: bytes, rows: Sequence[ChainRow]) -> tuple[bytes, int | None]:
    """Check that rows follow one another, the first one `previous`.

    Returns the hash of the last row that does, and the index of the first that does not (None: all do). The rows'
    numbers are not looked at. The one hot loop of verification: nothing is made for a row but its hash.
    """
    sha256 = hashlib.sha256
    for index, (_, record, stored) in enumerate(rows):
        computed = sha256(previous + record).digest()
        if computed != stored:
            return previous, index
        previous = stored
    return previous, None
