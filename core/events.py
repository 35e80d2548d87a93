"""Events: what happened, as facts that are never changed. The envelope is CloudEvents 1.0.

A payload is a frozen model that names its type; the type's version is part of the name it is stored under
(`qsecure.scan.completed.v1`), so that renaming or moving a class never touches history.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, NewType

from pydantic import BaseModel, ConfigDict

from quantum_suite.core.ids import new_id

Position = NewType("Position", str)
"""Where an event stands in the log. Opaque: give it back to the store it came from; compare for equality alone."""


class EventData(BaseModel):
    """The payload of one type of event.

    A subclass sets `event_type` (`<module>.<aggregate>.<past participle>`) and, from its second shape on,
    `event_version`. Fields hold JSON. Nothing secret and nothing about a person goes in here: the latter belongs
    into `NewEvent.personal`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    event_type: ClassVar[str]
    event_version: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event that is about to be appended."""

    data: EventData
    subject: str | None = None
    """CloudEvents `subject`: the thing it happened to, where the stream does not say it already."""
    personal: Mapping[str, Any] = field(default_factory=dict)
    """JSON about people, by data subject (a principal's id). Kept under that subject's own key: erasing the key
    erases what is said of the person, here and everywhere."""
    principal: str | None = None
    """On whose behalf it happened."""
    correlation_id: str | None = None
    """The call or workflow run it belongs to."""
    causation_id: str | None = None
    """The event that led to it."""
    traceparent: str | None = None
    """W3C trace context (the CloudEvents extension of that name)."""
    id: str = field(default_factory=lambda: new_id("evt"))
    """Unique for ever. Retrying an append with the same ids changes nothing."""
    time: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When it happened; aware."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event as it is read back, brought up to the newest version of its type."""

    position: Position
    stream: str
    version: int
    """Its place in the stream, from 1, without gaps."""
    id: str
    type: str
    """`<module>.<aggregate>.<past participle>.v<version as stored>`."""
    time: datetime
    data: Mapping[str, Any]
    """The payload in its newest shape; `EventRegistry.parse` makes a model of it."""
    subject: str | None = None
    personal: Mapping[str, Any] = field(default_factory=dict)
    """By data subject; None where the subject's key was erased."""
    principal: str | None = None
    correlation_id: str | None = None
    causation_id: str | None = None
    traceparent: str | None = None

    def as_cloud_event(self) -> dict[str, Any]:
        """Return the CloudEvents 1.0 JSON form; personal data is left out."""
        body: dict[str, Any] = {
            "specversion": "1.0",
            "id": self.id,
            "source": f"quantum://{self.type.partition('.')[0]}",
            "type": self.type,
            "time": self.time.isoformat().replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "stream": self.stream,
            "streamversion": self.version,
            "position": self.position,
            "data": dict(self.data),
        }
        optional = {
            "subject": self.subject,
            "principal": self.principal,
            "correlationid": self.correlation_id,
            "causationid": self.causation_id,
            "traceparent": self.traceparent,
        }
        body.update({name: value for name, value in optional.items() if value is not None})
        return body


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are wanted. Everything given must hold; nothing given means all."""

    types: frozenset[str] = frozenset()
    """Types without their version, exact (`qsecure.scan.completed`) or by prefix (`qsecure.`, `qsecure.scan.`)."""
    stream: str | None = None

    def matches(self, event_type: str, stream: str) -> bool:
        """Whether an event of the stored type `event_type` in `stream` is wanted."""
        if self.stream is not None and stream != self.stream:
            return False
        if not self.types:
            return True
        bare = type_and_version(event_type)[0]
        return any(bare == wanted or (wanted.endswith(".") and bare.startswith(wanted)) for wanted in self.types)


@dataclass(frozen=True, slots=True)
class Fence:
    """Proof of holding a lease, checked in the SQL that writes: a token lower than one seen before is refused."""

    name: str
    token: int


def stored_type(data: EventData) -> str:
    """Return the name a payload is stored under, version included."""
    return f"{data.event_type}.v{data.event_version}"


def type_and_version(name: str) -> tuple[str, int]:
    """Split a stored type into its bare name and version; raises ValueError for anything else."""
    bare, separator, version = name.rpartition(".v")
    if not separator or not version.isdigit():
        raise ValueError(f"'{name}' is no stored event type: <module>.<aggregate>.<event>.v<number>")
    return bare, int(version)
