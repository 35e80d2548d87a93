"""What happens in incidents, as events. Stream: `qsre.incident/<incident id>`."""

from typing import ClassVar, Literal

from pydantic import Field

from quantum_suite.core.events import EventData

IncidentSeverity = Literal["critical", "high", "medium", "low"]
SEVERITIES: tuple[IncidentSeverity, ...] = ("low", "medium", "high", "critical")
"""From the least bad to the worst."""
IncidentRole = Literal["commander", "operations", "communication", "scribe"]
IncidentOrigin = Literal["hand", "alert", "anomaly"]
HypothesisState = Literal["open", "supported", "refuted", "confirmed"]


class IncidentOpened(EventData):
    """Something is wrong, and is being looked into."""

    event_type: ClassVar[str] = "qsre.incident.opened"

    incident: str = Field(description="The incident's id.")
    title: str = Field(description="What is wrong, in one line.")
    severity: IncidentSeverity = Field(description="How bad it is.")
    origin: IncidentOrigin = Field(description="Who noticed: a person, an alert, a watch for anomalies.")
    began_at: str = Field(description="About when it began, RFC 3339.")
    service: str = Field(default="", description="What is concerned, where that is known.")
    group: str = Field(default="", description="Signals of this group belong to it; empty for one opened by hand.")


class SignalSeen(EventData):
    """An alert or anomaly that belongs to the incident came, or ended."""

    event_type: ClassVar[str] = "qsre.incident.signal_seen"

    incident: str = Field(description="The incident's id.")
    signal: str = Field(description="Tells it from all others, and from its next time.")
    state: Literal["firing", "resolved"] = Field(description="Whether it came or ended.")
    name: str = Field(description="What it is called.")
    summary: str = Field(default="", description="What it says.")
    labels: dict[str, str] = Field(default_factory=dict, description="What it is about.")
    at: str = Field(description="When it came or ended, RFC 3339.")
    uri: str = Field(default="", description="Where more is to be read.")


class IncidentNoted(EventData):
    """Somebody wrote something down."""

    event_type: ClassVar[str] = "qsre.incident.noted"

    incident: str = Field(description="The incident's id.")
    text: str = Field(description="What was written.")


class SeverityChanged(EventData):
    """It is worse than thought, or less bad."""

    event_type: ClassVar[str] = "qsre.incident.severity_changed"

    incident: str = Field(description="The incident's id.")
    severity: IncidentSeverity = Field(description="How bad it is.")
    before: IncidentSeverity = Field(description="How bad it was thought to be.")
    reason: str = Field(default="", description="Why.")


class RoleAssigned(EventData):
    """Somebody took a role, or gave it to somebody."""

    event_type: ClassVar[str] = "qsre.incident.role_assigned"

    incident: str = Field(description="The incident's id.")
    role: IncidentRole = Field(description="The role.")
    assignee: str = Field(description="Id of a principal, or a team's name; never a person's name.")


class HypothesisStated(EventData):
    """Somebody said what may be the cause."""

    event_type: ClassVar[str] = "qsre.incident.hypothesis_stated"

    incident: str = Field(description="The incident's id.")
    hypothesis: str = Field(description="Its number within the incident: h1, h2, ...")
    statement: str = Field(description="What may be the cause.")
    confidence: float | None = Field(default=None, description="How likely, 0 to 1, where somebody said so.")


class HypothesisJudged(EventData):
    """A hypothesis was found right, wrong or likelier."""

    event_type: ClassVar[str] = "qsre.incident.hypothesis_judged"

    incident: str = Field(description="The incident's id.")
    hypothesis: str = Field(description="Its number within the incident.")
    state: HypothesisState = Field(description="What it is held to be.")
    reason: str = Field(default="", description="Why.")


class EvidenceAdded(EventData):
    """Something that speaks for or against a cause."""

    event_type: ClassVar[str] = "qsre.incident.evidence_added"

    incident: str = Field(description="The incident's id.")
    text: str = Field(description="What was found, with its numbers.")
    hypothesis: str = Field(default="", description="The hypothesis it bears on.")
    supports: bool | None = Field(default=None, description="Whether it speaks for it; None: neither.")
    uri: str = Field(default="", description="Where it is to be seen.")


class ActionTaken(EventData):
    """Something was done about it."""

    event_type: ClassVar[str] = "qsre.incident.action_taken"

    incident: str = Field(description="The incident's id.")
    action: str = Field(description="What was done.")
    outcome: str = Field(default="", description="What came of it.")
    run: str = Field(default="", description="The workflow run that did it.")
    step: str = Field(default="", description="The step of the run.")


class IncidentResolved(EventData):
    """Users are well again."""

    event_type: ClassVar[str] = "qsre.incident.resolved"

    incident: str = Field(description="The incident's id.")
    summary: str = Field(description="What it was and what ended it.")
    cause: str = Field(default="", description="The cause, where it is known.")


class IncidentReopened(EventData):
    """It was not over."""

    event_type: ClassVar[str] = "qsre.incident.reopened"

    incident: str = Field(description="The incident's id.")
    reason: str = Field(description="Why.")


class SystemChanged(EventData):
    """A change of the system that was told to the suite: a deployment, a setting. Stream: `qsre.changes/all`."""

    event_type: ClassVar[str] = "qsre.system.changed"

    what: str = Field(description="What was changed.")
    service: str = Field(default="", description="What was changed there; empty where that is not known.")
    at: str = Field(description="When, RFC 3339.")
    by: str = Field(default="", description="The program or team that did it; never a person's name.")


INCIDENT_EVENTS: tuple[type[EventData], ...] = (
    IncidentOpened,
    SignalSeen,
    IncidentNoted,
    SeverityChanged,
    RoleAssigned,
    HypothesisStated,
    HypothesisJudged,
    EvidenceAdded,
    ActionTaken,
    IncidentResolved,
    IncidentReopened,
    SystemChanged,
)
"""Every type, for the registry."""

CHANGES_STREAM = "qsre.changes/all"


def incident_stream(incident: str) -> str:
    """Return the stream of an incident."""
    return f"qsre.incident/{incident}"
