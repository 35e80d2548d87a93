"""An incident as it stands, and what may be asked of incidents."""

from dataclasses import dataclass, field
from datetime import datetime

from quantum_suite.core.incident_events import (
    HypothesisState,
    IncidentOrigin,
    IncidentRole,
    IncidentSeverity,
)

MAX_TITLE = 200
MAX_TEXT = 4_000
MAX_ENTRIES = 2_000
"""Most events of one incident; then it takes no more but its end."""


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One thing that happened, in one line."""

    at: datetime
    """When it happened; when it was written down, where nobody said."""
    what: str
    """The kind of thing, as in the event's type: opened, noted, signal_seen, ..."""
    text: str
    by: str | None
    """Principal on whose behalf it was written down."""
    uri: str = ""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What may be the cause."""

    id: str
    statement: str
    state: HypothesisState = "open"
    confidence: float | None = None
    evidence_for: int = 0
    evidence_against: int = 0


@dataclass(frozen=True, slots=True)
class Incident:
    """An incident, made by folding its events in order; nothing else is kept of it."""

    id: str
    title: str
    severity: IncidentSeverity
    origin: IncidentOrigin
    began_at: datetime
    opened_at: datetime
    service: str = ""
    group: str = ""
    resolved_at: datetime | None = None
    summary: str = ""
    cause: str = ""
    roles: dict[IncidentRole, str] = field(default_factory=dict)
    hypotheses: tuple[Hypothesis, ...] = ()
    signals: dict[str, str] = field(default_factory=dict)
    """State (firing or resolved) by signal."""
    timeline: tuple[TimelineEntry, ...] = ()
    version: int = 0
    """How many events it is made of."""

    @property
    def is_open(self) -> bool:
        """Whether it is still being dealt with."""
        return self.resolved_at is None

    @property
    def firing(self) -> int:
        """How many of its signals are firing."""
        return sum(state == "firing" for state in self.signals.values())
