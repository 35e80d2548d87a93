"""Ranks what may have caused an incident, from metrics, topology and changes."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.errors import CallerError
from quantum_suite.core.events import Event, EventFilter, type_and_version
from quantum_suite.core.principals import Principal
from quantum_suite.services.capacity.interface import Capacity
from quantum_suite.services.events.interface import EventStore
from quantum_suite.services.incidents.folding import moment
from quantum_suite.services.incidents.incidents import Incidents
from quantum_suite.services.metrics.interface import Notes, Window
from quantum_suite.services.metrics.promql import parse_query
from quantum_suite.services.metrics.sources import MetricSources
from quantum_suite.services.metrics.windows import (
    fitting_step,
    read_duration,
    read_time,
    shown_duration,
    shown_time,
)
from quantum_suite.services.root_cause.gathering import gather
from quantum_suite.services.root_cause.interface import KINDS, Change, Complaint, Diagnosis, Kind, Signal, Verdict
from quantum_suite.services.root_cause.onsets import find_onset
from quantum_suite.services.root_cause.ranking import LOOKBACK_SECONDS, diagnose
from quantum_suite.services.root_cause.shifts import measure
from quantum_suite.services.root_cause.system_file import MAX_BYTES, SignalQuery, System, read_system
from quantum_suite.services.workspaces import Workspaces

_BASELINE = "24h"
_DURING_STEPS = 20
_DURING_SECONDS = 1800.0
_CHANGE_TYPES = EventFilter(types=frozenset({"qsre.system.changed", "qinfra.run.ended"}))
_MOST_PAGES = 50
_TOLD_CHANGES = 5
_TOLD_NOTES = 20


class SuspectRow(BaseModel):
    """A node that may be the cause."""

    model_config = ConfigDict(frozen=True)

    node: str = Field(description="Its name, as in the signals' label.")
    confidence: float = Field(description="How likely it is the cause, 0 to 1.")
    score: float = Field(description="0 to 1: comparable within this diagnosis alone.")
    since: str | None = Field(description="When it was first seen to be off, UTC.")
    evidence: tuple[str, ...] = Field(description="What speaks for it, in words and numbers, strongest first.")


class ChangeRow(BaseModel):
    """Something that was done to the system."""

    model_config = ConfigDict(frozen=True)

    at: str = Field(description="When, UTC.")
    what: str = Field(description="What was changed.")
    service: str | None = Field(description="Where; null where that is not known.")
    source: str = Field(description="Where it is known from.")


class DiagnosisAnswer(BaseModel):
    """What may be the cause, and how far that can be trusted."""

    model_config = ConfigDict(frozen=True)

    verdict: Verdict = Field(
        description="suspects: the first is likelier the cause than not. unclear: none is likely enough. not "
        "enough data: what is complained of is not to be seen in the metrics, or cannot be compared."
    )
    reason: str = Field(description="Why the verdict is what it is.")
    service: str = Field(description="What complains.")
    kind: Kind = Field(description="What of it is bad.")
    onset: str = Field(description="About when it began, UTC.")
    suspects: tuple[SuspectRow, ...] = Field(description="Suspects, the likeliest first; ten at most.")
    changes: tuple[ChangeRow, ...] = Field(description="Changes in the six hours before the onset, nearest first.")
    signals: int = Field(description="Signals that were looked at.")
    notes: tuple[str, ...] = Field(description="What was missing, failed or could not be compared.")


@dataclass(frozen=True, slots=True)
class DiagnosisQuestion:
    """What a caller asks; times and durations as people write them."""

    incident: str | None = None
    service: str | None = None
    kind: Kind | None = None
    onset: str | None = None
    system: str | None = None
    signals: Sequence[SignalQuery] = ()
    source: str | None = None
    baseline: str | None = None
    step: str | None = None


@dataclass(frozen=True, slots=True)
class Diagnoser:
    """Diagnoses. One object serves every call."""

    incidents: Incidents
    sources: MetricSources
    events: EventStore
    workspaces: Workspaces
    capacity: Capacity
    clock: Callable[[], float] = time.time

    async def diagnose(self, question: DiagnosisQuestion, principal: Principal) -> DiagnosisAnswer:
        """Ask the source, look for changes, and rank. Changes nothing.

        Raises CallerError naming what is missing, and what the source raises where none of the queries answers.
        """
        service, onset, noticed = await self._what(question)
        system = await self._system(question, principal)
        for query in system.signals:
            parse_query(query.query)
        now = self.clock()
        if onset >= now:
            raise CallerError("The onset is not over yet.", "Give a time in the past.", argument="onset")
        window = _window(question, onset, now)
        notes: Notes = []
        async with self.capacity.place("a diagnosis"):
            signals = await gather(self.sources.get(question.source), system.signals, window, notes)
            if noticed:
                onset = await anyio.to_thread.run_sync(_before, service, question.kind, signals, onset, notes)
            changes = [*system.changes, *await self._told_changes(onset)]
            worst = await anyio.to_thread.run_sync(_worst, service, signals, onset, window.step)
            complaint = Complaint(service, question.kind or worst, onset, window.step)
            found = await anyio.to_thread.run_sync(diagnose, complaint, signals, system.topology, changes)
        if service not in {signal.node for signal in signals}:
            named = sorted({signal.node for signal in signals})[:10]
            notes.append(f"No signal is of {service}. There are signals of {', '.join(named) or 'nothing'}.")
        if not system.topology.edges:
            notes.append("Nothing is known of who depends on whom: causes cannot be told from consequences.")
        return _answer(found, complaint, len(signals), notes)

    async def _what(self, question: DiagnosisQuestion) -> tuple[str, float, bool]:
        """Return what complains, about since when, and whether that is when an alert noticed it."""
        service, onset, noticed = question.service, None, False
        if question.onset is not None:
            onset = read_time(question.onset, self.clock(), "onset")
        if question.incident is not None:
            incident = await self.incidents.get(question.incident)
            service = service or incident.service or None
            if onset is None:
                onset, noticed = incident.began_at.timestamp(), incident.origin == "alert"
        if service is None:
            raise CallerError("What complains is not known.", "Name the service.", argument="service")
        if onset is None:
            raise CallerError("It is not known when it began.", "Name an incident or the onset.", argument="onset")
        return service, onset, noticed

    async def _system(self, question: DiagnosisQuestion, principal: Principal) -> System:
        system = System()
        if question.system is not None:
            path = self.workspaces.resolve(question.system, principal, argument="system")

            def read_beside(name: str) -> str:
                return _read(self.workspaces.resolve(str(path.parent / name), principal, argument="system"))

            system = await anyio.to_thread.run_sync(lambda: read_system(_read(path), read_beside))
        signals = (*question.signals, *system.signals)
        if not signals:
            raise CallerError(
                "It is not known how the system is measured.",
                "Give signals, or a system file with some: a kind, a query, and the label that names the node.",
                argument="signals",
            )
        return System(system.topology, signals, system.changes)

    async def _told_changes(self, onset: float) -> list[Change]:
        """Return the changes that were told to the suite, and its own of infrastructure."""
        found: list[Change] = []
        position = None
        for _ in range(_MOST_PAGES):
            page = await self.events.read(position, _CHANGE_TYPES)
            if not page:
                break
            position = page[-1].position
            found += [one for one in map(_change, page) if onset - LOOKBACK_SECONDS <= one.at <= onset + 3600]
        return found


def _change(event: Event) -> Change:
    data: Mapping[str, Any] = event.data
    if type_and_version(event.type)[0] == "qsre.system.changed":
        return Change(moment(data["at"]).timestamp(), data["what"], data["service"] or None, data["by"] or "told")
    what = f"{data['verb']} of the stack {data['stack']} {data['state']}"
    return Change(event.time.timestamp(), what, None, f"infrastructure run {data['run']}")


def _read(path: Path) -> str:
    if not path.is_file() or path.stat().st_size > MAX_BYTES:
        raise CallerError(
            f"{path.name} is no file of at most {MAX_BYTES // 1024} kB.", "Name a smaller one.", argument="system"
        )
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CallerError(f"{path.name} is no UTF-8 text: {error}.", argument="system") from error


def _window(question: DiagnosisQuestion, onset: float, now: float) -> Window:
    baseline = read_duration(question.baseline or _BASELINE, "baseline")
    step = read_duration(question.step, "step") if question.step is not None else fitting_step(baseline / 2)
    end = min(now, onset + max(_DURING_SECONDS, _DURING_STEPS * step))
    start = onset - baseline // step * step
    return Window(start, start + (end - start) // step * step, step)


def _before(service: str, kind: Kind | None, signals: Sequence[Signal], noticed: float, notes: Notes) -> float:
    """Return when it began that an alert noticed: alerts wait until enough has gone wrong."""
    found = find_onset((one for one in signals if one.node == service and kind in (None, one.kind)), noticed)
    if found is None:
        return noticed
    notes.append(
        f"The alert began at {shown_time(noticed)}; {found.signal.name} had moved "
        f"{shown_duration(max(1, round(noticed - found.at)))} before, which is taken for the onset."
    )
    return found.at


def _worst(service: str, signals: Sequence[Signal], onset: float, step: float) -> Kind:
    """Return the kind of signal of a service that got worst; errors before others where none did."""
    strengths: dict[Kind, float] = {"errors": 0.0}
    for signal in signals:
        if signal.node == service:
            shift = measure(signal, onset, step)
            if shift is not None:
                strength = abs(shift.strength) / 2 if signal.kind == "traffic" else shift.strength
                strengths[signal.kind] = max(strength, strengths.get(signal.kind, 0.0))
    return max(KINDS, key=lambda kind: strengths.get(kind, -1.0))


def _answer(found: Diagnosis, complaint: Complaint, signals: int, notes: Notes) -> DiagnosisAnswer:
    return DiagnosisAnswer(
        verdict=found.verdict,
        reason=found.reason,
        service=complaint.node,
        kind=complaint.kind,
        onset=shown_time(complaint.onset),
        suspects=tuple(
            SuspectRow(
                node=one.node,
                confidence=one.confidence,
                score=one.score,
                since=shown_time(one.since) if one.since is not None else None,
                evidence=tuple(evidence.words for evidence in one.evidence),
            )
            for one in found.suspects
        ),
        changes=tuple(
            ChangeRow(at=shown_time(one.at), what=one.what, service=one.node, source=one.source)
            for one in found.changes[:_TOLD_CHANGES]
        ),
        signals=signals,
        notes=tuple(dict.fromkeys([*notes, *found.notes]))[:_TOLD_NOTES],
    )
