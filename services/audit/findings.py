"""What a verification of the audit chain says."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["altered", "dropped", "inserted"]
Subject = Literal["event", "record", "checkpoint"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was written."""

    kind: Kind
    subject: Subject
    """`event`: in the event log. `record`: in the chain. `checkpoint`: in the list of checkpoints or its file."""
    number: int
    """The record it is about, the first where it is about several. An inserted one stands before this record."""
    evidence: str
    """How that is known."""
    position: str | None = None
    """Of the event, where it is known."""
    event_id: str | None = None

    def __str__(self) -> str:
        where = f" (event {self.event_id})" if self.event_id else ""
        place = f" at position {self.position}" if self.position is not None else ""
        return f"{self.subject} {self.number}{place}{where} was {self.kind}: {self.evidence}"


@dataclass(frozen=True, slots=True)
class Report:
    """How a verification ended."""

    findings: tuple[Finding, ...]
    """The first one of each of: chain, events, checkpoints; in the order of their records. Empty: all is well."""
    records: int
    """How many records were followed."""
    events: int
    """How many events were compared with their records."""
    pending_events: int
    """Events that have no record yet."""
    checkpoints: int
    """Checkpoints with a good signature."""
    signed_number: int
    """The last record a good checkpoint vouches for. What follows is chained, but not signed yet."""
    signed_at: str | None
    """When that was signed."""
    notes: tuple[str, ...] = ()
    """What could not be checked, and why."""

    @property
    def intact(self) -> bool:
        """Whether everything is as it was written, as far as that can be told."""
        return not self.findings

    @property
    def first(self) -> Finding | None:
        """Return the first thing that is not as it was written."""
        return self.findings[0] if self.findings else None
