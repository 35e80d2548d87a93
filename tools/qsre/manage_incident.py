"""Opens incidents, and writes down what is found, thought and done about them."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from quantum_suite.core.errors import CallerError, Conflict
from quantum_suite.core.events import EventData
from quantum_suite.core.incident_events import (
    ActionTaken,
    EvidenceAdded,
    HypothesisJudged,
    HypothesisState,
    HypothesisStated,
    IncidentNoted,
    IncidentReopened,
    IncidentResolved,
    IncidentRole,
    IncidentSeverity,
    RoleAssigned,
    SeverityChanged,
)
from quantum_suite.core.masking import mask_text
from quantum_suite.core.principals import Principal
from quantum_suite.services.incidents.incidents import Incidents, next_hypothesis
from quantum_suite.services.incidents.interface import MAX_TEXT, MAX_TITLE, Incident
from quantum_suite.services.metrics.windows import read_time

IncidentAction = Literal[
    "open", "note", "severity", "role", "hypothesis", "evidence", "action", "resolve", "reopen"
]

_NEEDS: Mapping[IncidentAction, tuple[str, ...]] = {
    "open": ("text",),
    "note": ("incident", "text"),
    "severity": ("incident", "severity"),
    "role": ("incident", "role", "assignee"),
    "hypothesis": ("incident",),
    "evidence": ("incident", "text"),
    "action": ("incident", "text"),
    "resolve": ("incident", "text"),
    "reopen": ("incident", "text"),
}
_TAKES: Mapping[IncidentAction, tuple[str, ...]] = {
    "open": ("severity", "service", "began_at"),
    "severity": ("text",),
    "hypothesis": ("text", "hypothesis", "verdict", "confidence"),
    "evidence": ("hypothesis", "supports", "uri"),
    "action": ("outcome",),
    "resolve": ("cause",),
}
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class IncidentChange:
    """What a caller wants written down; which fields belong to which action, `change` checks."""

    action: IncidentAction
    incident: str | None = None
    text: str | None = None
    severity: IncidentSeverity | None = None
    service: str | None = None
    began_at: str | None = None
    role: IncidentRole | None = None
    assignee: str | None = None
    hypothesis: str | None = None
    verdict: HypothesisState | None = None
    confidence: float | None = None
    supports: bool | None = None
    outcome: str | None = None
    cause: str | None = None
    uri: str | None = None


class IncidentKeeper:
    """Makes changes under a caller's name."""

    def __init__(self, incidents: Incidents, clock: Callable[[], float] = time.time) -> None:
        self._incidents = incidents
        self._clock = clock

    async def change(self, change: IncidentChange, principal: Principal, correlation: str | None) -> Incident:
        """Make a change and return the incident after it.

        Where somebody else changed it at the same time, the change is made to what is there then. Raises
        CallerError naming the field that is missing, wrong or no part of the action, and NotFound.
        """
        _check_fields(change)
        if change.action == "open":
            return await self._open(change, principal, correlation)
        for attempt in range(_ATTEMPTS):
            incident = await self._incidents.get(change.incident or "")
            data = _event(change, incident)
            try:
                return await self._incidents.add(incident, [data], principal=principal.id, correlation=correlation)
            except Conflict:
                if attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _open(self, change: IncidentChange, principal: Principal, correlation: str | None) -> Incident:
        now = self._clock()
        began = read_time(change.began_at, now, "began_at") if change.began_at is not None else now
        if began > now + 60:
            raise CallerError(
                "It cannot have begun in the future.", "Leave it out where it began just now.", argument="began_at"
            )
        return await self._incidents.open(
            _text(change.text, MAX_TITLE, "text"),
            change.severity or "high",
            datetime.fromtimestamp(began, UTC),
            service=(change.service or "")[:100],
            principal=principal.id,
            correlation=correlation,
        )


def _check_fields(change: IncidentChange) -> None:
    action = change.action
    fields = {name: getattr(change, name) for name in change.__slots__ if name != "action"}
    given = {name for name, value in fields.items() if value is not None}
    for name in _NEEDS[action]:
        if name not in given:
            raise CallerError(f"The action '{action}' needs {name}.", argument=name)
    allowed = {*_NEEDS[action], *_TAKES.get(action, ())}
    for name in sorted(given - allowed):
        raise CallerError(
            f"{name} is no part of the action '{action}'.",
            f"It takes {', '.join(sorted(allowed))}.",
            argument=name,
        )


def _event(change: IncidentChange, incident: Incident) -> EventData:
    text = _text(change.text, MAX_TEXT, "text") if change.text is not None else ""
    name = incident.id
    match change.action:
        case "note":
            return IncidentNoted(incident=name, text=text)
        case "severity":
            severity = change.severity or incident.severity
            if severity == incident.severity:
                raise CallerError(f"{name} is {severity} already.", argument="severity")
            return SeverityChanged(incident=name, severity=severity, before=incident.severity, reason=text)
        case "role":
            role = change.role or "commander"
            return RoleAssigned(incident=name, role=role, assignee=_text(change.assignee, 100, "assignee"))
        case "hypothesis":
            return _hypothesis(change, incident, text)
        case "evidence":
            known = _known_hypothesis(change.hypothesis, incident) if change.hypothesis else ""
            if change.supports is not None and not known:
                raise CallerError("supports says nothing without a hypothesis.", argument="hypothesis")
            uri = _uri(change.uri)
            return EvidenceAdded(incident=name, text=text, hypothesis=known, supports=change.supports, uri=uri)
        case "action":
            outcome = _text(change.outcome, MAX_TEXT, "outcome") if change.outcome is not None else ""
            return ActionTaken(incident=name, action=text, outcome=outcome)
        case "resolve":
            cause = _text(change.cause, MAX_TEXT, "cause") if change.cause is not None else ""
            return IncidentResolved(incident=name, summary=text, cause=cause)
        case _:
            return IncidentReopened(incident=name, reason=text)


def _hypothesis(change: IncidentChange, incident: Incident, text: str) -> EventData:
    """A new hypothesis has a text; one that is judged is named, with a verdict."""
    if change.hypothesis is None:
        if not text or change.verdict is not None:
            raise CallerError(
                "A new hypothesis needs text, and no verdict; one that is judged needs hypothesis and verdict.",
                argument="text" if not text else "verdict",
            )
        number = next_hypothesis(incident)
        return HypothesisStated(
            incident=incident.id, hypothesis=number, statement=text, confidence=change.confidence
        )
    if change.verdict is None or change.confidence is not None:
        wrong = "verdict" if change.verdict is None else "confidence"
        raise CallerError("To judge a hypothesis, give hypothesis and verdict.", argument=wrong)
    known = _known_hypothesis(change.hypothesis, incident)
    return HypothesisJudged(incident=incident.id, hypothesis=known, state=change.verdict, reason=text)


def _known_hypothesis(hypothesis: str, incident: Incident) -> str:
    known = [one.id for one in incident.hypotheses]
    if hypothesis not in known:
        there = f"There are {', '.join(known)}." if known else "None was stated yet."
        raise CallerError(f"{incident.id} has no hypothesis '{hypothesis[:20]}'.", there, argument="hypothesis")
    return hypothesis


def _text(given: str | None, most: int, argument: str) -> str:
    text = mask_text((given or "").strip())
    if not text:
        raise CallerError(f"{argument} is empty.", argument=argument)
    if len(text) > most:
        raise CallerError(f"{argument} has {len(text)} characters.", f"{most} is the most.", argument=argument)
    return text


def _uri(given: str | None) -> str:
    if given is None:
        return ""
    if not given.startswith(("quantum://", "https://", "http://")) or len(given) > 1000:
        raise CallerError("uri is no address.", "Give quantum://... or https://...", argument="uri")
    return given
