"""The incidents there are: read from their events, changed by appending to them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from quantum_suite.core.errors import CallerError, Conflict, NotFound
from quantum_suite.core.events import Event, EventData, EventFilter, NewEvent, Position
from quantum_suite.core.ids import new_id
from quantum_suite.core.incident_events import (
    SEVERITIES,
    HypothesisStated,
    IncidentOpened,
    IncidentOrigin,
    IncidentReopened,
    IncidentResolved,
    IncidentSeverity,
    SeverityChanged,
    SignalSeen,
    incident_stream,
)
from quantum_suite.services.events.interface import EventStore
from quantum_suite.services.incidents.folding import fold
from quantum_suite.services.incidents.interface import MAX_ENTRIES, Incident

_ATTEMPTS = 8
_OF_INCIDENTS = EventFilter(types=frozenset({"qsre.incident."}))


@dataclass(frozen=True, slots=True)
class Report:
    """Signals of one group, as an alerting program or a watch tells them."""

    group: str
    """What belongs together: while an incident of the group is open, its signals go there."""
    title: str
    severity: IncidentSeverity
    origin: IncidentOrigin
    began_at: datetime
    service: str
    signals: Sequence[SignalSeen]
    """Their `incident` is filled in."""
    severities: Mapping[str, IncidentSeverity] = field(default_factory=dict)
    """How bad a signal says it is, by its name; those that do not say so are left out."""


class Incidents:
    """Reads and changes incidents. Any number of processes may, at once: a change is made to what was read, or
    made anew to what is there now."""

    def __init__(self, events: EventStore) -> None:
        self._events = events
        self._known: dict[str, Incident] = {}
        self._position: Position | None = None

    async def get(self, incident: str) -> Incident:
        """Return an incident; raises NotFound."""
        found = fold(await self._read(incident))
        if found is None:
            raise NotFound(
                f"There is no incident '{incident[:60]}'.",
                "list_incidents names those there are.",
                argument="incident",
            )
        return found

    async def all(self) -> list[Incident]:
        """Return every incident, the one that changed last first.

        A projection kept in memory: only events that came since the last call are read, and of each timeline the
        last entry alone is kept; `get` has it whole.
        """
        await self._catch_up()
        return sorted(self._known.values(), key=lambda one: (one.timeline[-1].at, one.id), reverse=True)

    async def open(
        self,
        title: str,
        severity: IncidentSeverity,
        began_at: datetime,
        *,
        service: str = "",
        principal: str,
        correlation: str | None,
    ) -> Incident:
        """Open an incident by hand; two of the same words are two incidents."""
        incident = new_id("inc")
        data = IncidentOpened(
            incident=incident,
            title=title,
            severity=severity,
            origin="hand",
            began_at=began_at.isoformat(),
            service=service,
        )
        event = NewEvent(data, principal=principal, correlation_id=correlation)
        stored = await self._events.append(incident_stream(incident), 0, [event])
        found = fold(stored)
        assert found is not None
        return found

    async def add(
        self,
        incident: Incident,
        data: Sequence[EventData],
        *,
        principal: str | None,
        correlation: str | None,
    ) -> Incident:
        """Append to an incident as it was read.

        Raises Conflict when somebody else changed it since, CallerError for an incident that is full or closed.
        """
        _check_open(incident, data)
        events = [NewEvent(one, principal=principal, correlation_id=correlation) for one in data]
        stored = await self._events.append(incident_stream(incident.id), incident.version, events)
        found = fold(stored, incident)
        assert found is not None
        return found

    async def report(
        self, report: Report, *, principal: str, correlation: str | None
    ) -> tuple[Incident | None, bool]:
        """Take signals in: to the group's open incident, else to a new one. Returns it, and whether it is new.

        A signal that was told before is passed over, so that a report may come any number of times, from any
        number of senders at once. One that says it is worse than the incident raises its severity. Signals that
        have ended open nothing; where there is nothing to add to, None is returned.
        """
        for _ in range(_ATTEMPTS):
            await self._catch_up()
            of_group = sorted(
                (one for one in self._known.values() if one.group == report.group), key=lambda one: one.opened_at
            )
            current = next((one for one in reversed(of_group) if one.is_open), None)
            try:
                if current is not None:
                    return await self._take_in(current, report, principal, correlation), False
                seen = {signal for one in of_group for signal in one.signals}
                fresh = [one for one in report.signals if one.state == "firing" and one.signal not in seen]
                if not fresh:
                    return None, False
                return await self._open_for(report, len(of_group), fresh, principal, correlation), True
            except Conflict:
                continue
        raise Conflict(
            f"The incident of {report.group[:100]} changes too fast.", "Send it again.", argument="incident"
        )

    async def _take_in(
        self, incident: Incident, report: Report, principal: str, correlation: str | None
    ) -> Incident:
        fresh: list[SignalSeen] = []
        for signal in report.signals:
            known = incident.signals.get(signal.signal)
            if known == signal.state or (known == "resolved" and signal.state == "firing"):
                continue
            if known is None and signal.state == "resolved":
                continue
            fresh.append(signal.model_copy(update={"incident": incident.id}))
        data: list[EventData] = [*fresh, *_raised(incident, fresh, report.severities)]
        room = max(0, MAX_ENTRIES - incident.version)
        if not data or not room:
            return await self.get(incident.id)
        return await self.add(incident, data[:room], principal=principal, correlation=correlation)

    async def _open_for(
        self, report: Report, number: int, fresh: Sequence[SignalSeen], principal: str, correlation: str | None
    ) -> Incident:
        """Open the group's next incident. Its id follows from the group and the number, so that of many senders
        that see none one opens it, and the others find it open."""
        digest = hashlib.sha256(f"{report.group}\0{number}".encode()).hexdigest()[:26]
        incident = f"inc_{digest}"
        opened = IncidentOpened(
            incident=incident,
            title=report.title,
            severity=report.severity,
            origin=report.origin,
            began_at=report.began_at.isoformat(),
            service=report.service,
            group=report.group,
        )
        data: list[EventData] = [opened, *(one.model_copy(update={"incident": incident}) for one in fresh)]
        events = [NewEvent(one, principal=principal, correlation_id=correlation) for one in data]
        found = fold(await self._events.append(incident_stream(incident), 0, events))
        assert found is not None
        return found

    async def _read(self, incident: str) -> list[Event]:
        if not incident.startswith("inc_") or not incident.replace("_", "").isalnum() or len(incident) > 40:
            return []
        found: list[Event] = []
        while page := await self._events.read_stream(incident_stream(incident), found[-1].version if found else 0):
            found += page
        return found

    async def _catch_up(self) -> None:
        while page := await self._events.read(self._position, _OF_INCIDENTS):
            for event in page:
                name = event.data["incident"]
                known = self._known.get(name)
                # Two calls may read the same page at once: what is known already is passed over.
                if known is None or event.version > known.version:
                    found = fold([event], known)
                    assert found is not None
                    self._known[name] = replace(found, timeline=found.timeline[-1:])
            self._position = page[-1].position


def next_hypothesis(incident: Incident) -> str:
    """Return the number of the next hypothesis."""
    return f"h{len(incident.hypotheses) + 1}"


def _raised(
    incident: Incident, fresh: Sequence[SignalSeen], severities: Mapping[str, IncidentSeverity]
) -> list[SeverityChanged]:
    """Return the change of severity that new signals which fire bring about, if any."""
    firing = [one for one in fresh if one.state == "firing" and one.signal in severities]
    worst = max(firing, key=lambda one: SEVERITIES.index(severities[one.signal]), default=None)
    if worst is None:
        return []
    severity = severities[worst.signal]
    if SEVERITIES.index(severity) <= SEVERITIES.index(incident.severity):
        return []
    return [
        SeverityChanged(
            incident=incident.id, severity=severity, before=incident.severity, reason=f"{worst.name} fires"
        )
    ]


def _check_open(incident: Incident, data: Sequence[EventData]) -> None:
    ends = any(isinstance(one, IncidentResolved) for one in data)
    if incident.version + len(data) > MAX_ENTRIES and not ends:
        raise CallerError(
            f"{incident.id} has {incident.version} entries, and takes no more but its end.",
            "Resolve it and open another one.",
            argument="incident",
        )
    if not incident.is_open and (ends or any(isinstance(one, HypothesisStated) for one in data)):
        raise CallerError(
            f"{incident.id} was resolved at {incident.resolved_at}.", "Reopen it first.", argument="incident"
        )
    if incident.is_open and any(isinstance(one, IncidentReopened) for one in data):
        raise CallerError(f"{incident.id} is open.", "Only a resolved one is reopened.", argument="incident")
