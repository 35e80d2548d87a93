"""From an incident's events to the incident: a pure function, the same for the same events."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from quantum_suite.core.events import Event, type_and_version
from quantum_suite.services.incidents.interface import Hypothesis, Incident, TimelineEntry

_PREFIX = "qsre.incident."


def fold(events: Iterable[Event], start: Incident | None = None) -> Incident | None:
    """Return the incident after `events`, in order; None where there are none.

    Events of types that a later release adds are counted and otherwise passed over. Raises ValueError where the
    first one does not open it.
    """
    incident = start
    for event in events:
        name = type_and_version(event.type)[0].removeprefix(_PREFIX)
        if incident is None:
            if name != "opened":
                raise ValueError(f"{event.stream} begins with {event.type}")
            incident = _opened(event)
        else:
            step = _STEPS.get(name)
            if step is not None:
                incident = step(incident, event.data, event)
        incident = replace(incident, version=event.version)
    return incident


def moment(text: str) -> datetime:
    """Return an RFC 3339 time; raises ValueError for one without an offset."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"'{text}' has no offset")
    return found


def _opened(event: Event) -> Incident:
    data = event.data
    began = moment(data["began_at"])
    text = f"{data['title']} ({data['severity']})"
    return Incident(
        id=data["incident"],
        title=data["title"],
        severity=data["severity"],
        origin=data["origin"],
        began_at=began,
        opened_at=event.time,
        service=data["service"],
        group=data["group"],
        timeline=(TimelineEntry(event.time, "opened", text, event.principal),),
    )


def _told(
    incident: Incident, event: Event, text: str, *, at: datetime | None = None, uri: str = "", **changed: Any
) -> Incident:
    what = type_and_version(event.type)[0].removeprefix(_PREFIX)
    entry = TimelineEntry(at or event.time, what, text, event.principal, uri)
    return replace(incident, timeline=(*incident.timeline, entry), **changed)


def _signal_seen(incident: Incident, data: Mapping[str, Any], event: Event) -> Incident:
    summary = f": {data['summary']}" if data["summary"] else ""
    text = f"{data['name']} {data['state']}{summary}"
    signals = {**incident.signals, data["signal"]: data["state"]}
    # Where it is to be seen was said when it began; such addresses hold whole queries.
    uri = data["uri"] if data["state"] == "firing" else ""
    return _told(incident, event, text, at=moment(data["at"]), uri=uri, signals=signals)


def _noted(incident: Incident, data: Mapping[str, Any], event: Event) -> Incident:
    return _told(incident, event, data["text"])


def _severity_changed(incident: Incident, data: Mapping[str, Any], event: Event) -> Incident:
    reason = f": {data['reason']}" if data["reason"] else ""
    text = f"Severity {data['before']} -> {data['severity']}{reason}"
    return _told(incident, event, text, severity=data["severity"])


def _role_assigned(incident: Incident, data: Mapping[str, Any], event: Event) -> Incident:
    roles = {**incident.roles, data["role"]: data["assignee"]}
    return _told(incident, event, f"{data['role']}: {data['assignee']}", roles=roles)


def _hypothesis_stated(incident: Incident, data: Mapping[str, Any], event: Event) -> Incident:
    stated = Hypothesis(data["hypothesis"], data["statement"], confidence=data["confidence"])
    sure = f" (confidence {stated.confidence:.2f})" if stated.confidence is not None else ""
    text = f"{stated.id}: {stated.statement}{sure}"
    return _told(incident, event, text, hypotheses=(*incident.hypotheses, stated))


def _hypothesis_judged(incident: Incident, data: Mapping[str, Any], event: Event) -> Incident:
    reason = f": {data['reason']}" if data["reason"] else ""
    judged = tuple(
        replace(one, state=data["state"]) if one.id == data["hypothesis"] else one for one in incident.hypotheses
    )
    return _told(incident, event, f"{data['hypothesis']} {data['state']}{reason}", hypotheses=judged)


def _evidence_added(incident: Incident, data: Mapping[str, Any], event: Event) -> Incident:
    supports = data["supports"]
    side = {True: "for", False: "against", None: "on"}[supports]
    text = f"{data['text']} ({side} {data['hypothesis']})" if data["hypothesis"] else data["text"]
    weighed = tuple(
        replace(
            one,
            evidence_for=one.evidence_for + (supports is True),
            evidence_against=one.evidence_against + (supports is False),
        )
        if one.id == data["hypothesis"]
        else one
        for one in incident.hypotheses
    )
    return _told(incident, event, text, uri=data["uri"], hypotheses=weighed)


def _action_taken(incident: Incident, data: Mapping[str, Any], event: Event) -> Incident:
    outcome = f" -> {data['outcome']}" if data["outcome"] else ""
    uri = f"quantum://orchestrator/runs/{data['run']}" if data["run"] else ""
    return _told(incident, event, f"{data['action']}{outcome}", uri=uri)


def _resolved(incident: Incident, data: Mapping[str, Any], event: Event) -> Incident:
    changed = {"resolved_at": event.time, "summary": data["summary"], "cause": data["cause"]}
    return _told(incident, event, data["summary"], **changed)


def _reopened(incident: Incident, data: Mapping[str, Any], event: Event) -> Incident:
    return _told(incident, event, data["reason"], resolved_at=None)


_STEPS: Mapping[str, Callable[[Incident, Mapping[str, Any], Event], Incident]] = {
    "signal_seen": _signal_seen,
    "noted": _noted,
    "severity_changed": _severity_changed,
    "role_assigned": _role_assigned,
    "hypothesis_stated": _hypothesis_stated,
    "hypothesis_judged": _hypothesis_judged,
    "evidence_added": _evidence_added,
    "action_taken": _action_taken,
    "resolved": _resolved,
    "reopened": _reopened,
}
