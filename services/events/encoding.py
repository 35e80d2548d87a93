"""Events as bytes and back: what is checked before an event is stored, and how it is read again."""

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from pydantic_core import PydanticSerializationError, from_json

from quantum_suite.core.errors import CallerError, Damaged
from quantum_suite.core.events import Event, NewEvent, Position
from quantum_suite.services.events.interface import (
    ANY_VERSION,
    MAX_BATCH,
    MAX_BATCH_BYTES,
    MAX_EVENT_BYTES,
    StoredEvent,
)
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.events.sealing import EventCipher, Seal, place_of

MAX_ATTRIBUTES_BYTES = 8 * 1024
_STREAM = re.compile(r"[a-z][a-z0-9_-]{0,63}\.[a-z][a-z0-9_-]{0,63}/[A-Za-z0-9._:@+~=/-]{1,200}")
_ID = re.compile(r"[\x21-\x7e]{1,128}")
_NO_ATTRIBUTES = b"{}"

Row = tuple[Position, str, int, str, str, str, bytes, bytes, bytes]
"""The fields of a `StoredEvent`, in their order: pages of them are made without a dataclass each."""


@dataclass(slots=True)
class Draft:
    """An event that was checked and encoded, not yet at a place."""

    id: str
    type: str
    time: str
    attributes: bytes
    payload: bytes
    personal: tuple[tuple[str, bytes], ...]
    event: NewEvent
    data: Mapping[str, Any]
    """The payload as it will be read."""

    def sealed(self, stream: str, version: int, seal: Seal) -> tuple[bytes, bytes]:
        """Return the payload and the personal part as they are stored at a place."""
        place = place_of(stream, version, self.id)
        payload = seal.seal(self.payload, place)
        if not self.personal:
            return payload, b""
        parts = {
            subject: b64encode(seal.seal_personal(subject, plain, place)).decode()
            for subject, plain in self.personal
        }
        return payload, orjson.dumps(parts)


def encode(registry: EventRegistry, stream: str, expected_version: int, events: Sequence[NewEvent]) -> list[Draft]:
    """Check an append and return its events encoded; raises CallerError for what no store may hold.

    What comes back was read from the bytes that are stored, so nothing is stored that cannot be read.
    """
    if not is_stream(stream):
        raise CallerError(
            f"{stream[:100]!r} names no stream.",
            "A stream is <module>.<aggregate>/<id>, such as qsecure.scan/scan_01: letters, digits and ._:@+~=/-",
            argument="stream",
        )
    if expected_version < ANY_VERSION:
        raise CallerError("A stream's version is 0 or more.", argument="expected_version")
    if len(events) > MAX_BATCH:
        raise CallerError(
            f"{len(events)} events are too many at once.", f"Append up to {MAX_BATCH}.", argument="events"
        )
    drafts = [_encode_one(registry, event) for event in events]
    if len({draft.id for draft in drafts}) != len(drafts):
        raise CallerError("Two of the events have the same id.", argument="events")
    if sum(len(draft.payload) for draft in drafts) > MAX_BATCH_BYTES:
        raise CallerError(
            f"The events are too large together: more than {MAX_BATCH_BYTES} bytes.",
            "Append fewer at once.",
            argument="events",
        )
    return drafts


def is_stream(name: str) -> bool:
    """Whether there can be a stream of that name."""
    return _STREAM.fullmatch(name) is not None


def subjects_of(drafts: Iterable[Draft]) -> set[str]:
    """Return whom the events say something about."""
    return {subject for draft in drafts if draft.personal for subject, _ in draft.personal}


def appended(stream: str, first_version: int, positions: Iterable[Position], drafts: list[Draft]) -> list[Event]:
    """Return the events of an append, now that their places are known."""
    return [
        Event(
            position,
            stream,
            version,
            draft.id,
            draft.type,
            (event := draft.event).time,
            draft.data,
            event.subject,
            {subject: from_json(plain) for subject, plain in draft.personal} if draft.personal else {},
            event.principal,
            event.correlation_id,
            event.causation_id,
            event.traceparent,
        )
        for version, (position, draft) in enumerate(zip(positions, drafts, strict=True), first_version)
    ]


async def decode(rows: Sequence[Row], registry: EventRegistry, cipher: EventCipher) -> list[Event]:
    """Return stored events as they are read; raises Damaged for one that does not decrypt or parse."""
    if not rows:
        return []
    personal = [_parts(row) if row[8] else {} for row in rows]
    opening = await cipher.opening(
        [row[7] for row in rows], [part for parts in personal for part in parts.values()]
    )
    events = []
    for (position, stream, version, id_, type_, time, attributes, sealed, _), parts in zip(
        rows, personal, strict=True
    ):
        place = place_of(stream, version, id_)
        said = {}
        for subject, part in parts.items():
            plain = opening.open_personal(subject, part, place)
            said[subject] = None if plain is None else _parsed(plain, position)
        data = registry.upcast(type_, _parsed(opening.open(sealed, place), position))
        more = {} if attributes == _NO_ATTRIBUTES else _parsed(attributes, position)
        happened = datetime.fromisoformat(time)
        events.append(Event(position, stream, version, id_, type_, happened, data, personal=said, **more))
    return events


def as_stored(rows: Iterable[Row]) -> list[StoredEvent]:
    """Return rows as the port's type."""
    return [StoredEvent(*row) for row in rows]


def _encode_one(registry: EventRegistry, event: NewEvent) -> Draft:
    type_ = registry.check(event.data)
    if not _ID.fullmatch(event.id):
        raise CallerError(f"{event.id[:100]!r} is no event id.", "Leave ids to `NewEvent`.", argument="events")
    if event.time.tzinfo is None:
        raise CallerError(f"The time of {event.id} has no time zone.", "Give an aware time.", argument="events")
    try:
        payload = event.data.__pydantic_serializer__.to_json(event.data)
        data = from_json(payload)
        attributes = _attributes(event)
        personal = _personal(event) if event.personal else ()
    except (PydanticSerializationError, ValueError, TypeError) as error:
        raise CallerError(
            f"{type_} is not JSON: {error}.", "Events hold text, numbers, lists and objects.", argument="events"
        ) from error
    size = len(payload)
    for subject, said in personal:
        size += len(subject) + len(said)
    if size > MAX_EVENT_BYTES or len(attributes) > MAX_ATTRIBUTES_BYTES:
        raise CallerError(
            f"{type_} is too large: {max(size, len(attributes))} bytes.",
            f"Up to {MAX_EVENT_BYTES} bytes are stored; keep what is longer as an object and link to it.",
            argument="events",
        )
    return Draft(event.id, type_, _time(event.time), attributes, payload, personal, event, data)


def _time(time: datetime) -> str:
    if time.tzinfo is UTC and time.microsecond:
        return orjson.dumps(time, option=orjson.OPT_UTC_Z)[1:-1].decode()  # the same, at a quarter of the cost
    return time.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def _personal(event: NewEvent) -> tuple[tuple[str, bytes], ...]:
    parts = tuple((subject, orjson.dumps(said)) for subject, said in event.personal.items())
    for subject, said in parts:
        subject.encode()
        from_json(said)
    return parts


def _attributes(event: NewEvent) -> bytes:
    if event.principal is event.correlation_id is event.subject is event.causation_id is event.traceparent is None:
        return _NO_ATTRIBUTES
    given: dict[str, str] = {}
    if event.subject is not None:
        given["subject"] = event.subject
    if event.principal is not None:
        given["principal"] = event.principal
    if event.correlation_id is not None:
        given["correlation_id"] = event.correlation_id
    if event.causation_id is not None:
        given["causation_id"] = event.causation_id
    if event.traceparent is not None:
        given["traceparent"] = event.traceparent
    return orjson.dumps(given)


def _parts(row: Row) -> dict[str, bytes]:
    try:
        return {subject: b64decode(part, validate=True) for subject, part in orjson.loads(row[8]).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise _damaged(row[0]) from error


def _parsed(plain: bytes, position: Position) -> Any:
    try:
        return from_json(plain)
    except ValueError as error:
        raise _damaged(position) from error


def _damaged(position: Position) -> Damaged:
    return Damaged(f"The event at {position} is not what was written.", "Restore the event store from a backup.")
