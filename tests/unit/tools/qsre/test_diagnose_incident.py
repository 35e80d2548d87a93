"""Diagnoses over a source in memory: changes that were told, and what a source does not have."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from quantum_suite.core.errors import CallerError, Unavailable
from quantum_suite.core.events import NewEvent
from quantum_suite.core.incident_events import CHANGES_STREAM, INCIDENT_EVENTS, SignalSeen, SystemChanged
from quantum_suite.core.infrastructure_events import INFRASTRUCTURE_EVENTS, StackRunEnded, run_stream
from quantum_suite.core.principals import LOCAL
from quantum_suite.services.capacity.memory import MemoryCapacity
from quantum_suite.services.events.interface import ANY_VERSION
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.incidents.incidents import Incidents, Report
from quantum_suite.services.metrics.interface import Series, Window
from quantum_suite.services.metrics.memory import MemorySource
from quantum_suite.services.metrics.sources import MetricSources
from quantum_suite.services.root_cause.gathering import MOST_NODES, gather
from quantum_suite.services.root_cause.system_file import SignalQuery
from quantum_suite.services.workspaces import Workspaces
from quantum_suite.tools.qsre.diagnose_incident import Diagnoser, DiagnosisQuestion

pytestmark = pytest.mark.anyio

ONSET = 1_795_000_020.0
LATENCY = SignalQuery("latency", "latency", "service")


def series(service: str, level: float, extra: float, **labels: str) -> Series:
    times = [ONSET + 60.0 * number for number in range(-60, 10)]
    values = [level * (1 + (number % 5) / 100) + (extra if number >= 0 else 0.0) for number in range(-60, 10)]
    return Series({"__name__": "latency", "service": service, **labels}, times, values)


def diagnoser(tmp_path: Path, source: Any) -> tuple[Diagnoser, MemoryEventStore]:
    events = MemoryEventStore(EventRegistry((*INCIDENT_EVENTS, *INFRASTRUCTURE_EVENTS)))
    sources = MetricSources({"live": source})
    made = Diagnoser(
        Incidents(events), sources, events, Workspaces((tmp_path,)), MemoryCapacity(1), clock=lambda: ONSET + 600
    )
    return made, events


async def test_changes_told_to_the_suite_and_its_own_are_evidence(tmp_path: Path) -> None:
    source = MemorySource("live", [series("front", 0.2, 0.1), series("cart", 0.1, 0.1)])
    diagnosing, events = diagnoser(tmp_path, source)
    at = datetime.fromtimestamp(ONSET - 60, UTC)
    release = SystemChanged(what="release 41", service="cart", at=at.isoformat(), by="pipeline")
    early = SystemChanged(what="release 1", service="cart", at="2020-01-01T00:00:00+00:00")
    await events.append(CHANGES_STREAM, ANY_VERSION, [NewEvent(early), NewEvent(release)])
    stack = StackRunEnded(run="r1", verb="up", folder="/x", stack="prod", state="succeeded")
    await events.append(run_stream("r1"), 0, [NewEvent(stack, time=datetime.fromtimestamp(ONSET - 300, UTC))])
    (tmp_path / "system.yaml").write_text("edges: [[front, cart]]")
    question = DiagnosisQuestion(
        service="front", onset=str(ONSET), system="system.yaml", signals=[LATENCY], baseline="1h", step="60s"
    )
    found = await diagnosing.diagnose(question, LOCAL)
    assert [one.what for one in found.changes] == ["release 41", "up of the stack prod succeeded"]
    assert found.suspects[0].node == "cart"
    assert found.kind == "latency"


async def test_the_onset_of_an_alert_is_looked_for_before_it_and_a_told_one_is_not(tmp_path: Path) -> None:
    """An alert that needed nine minutes: by then the level right before it is the bad one."""
    source = MemorySource("live", [series("front", 0.2, 0.1), series("cart", 0.1, 0.1)])
    diagnosing, _ = diagnoser(tmp_path, source)
    late = datetime.fromtimestamp(ONSET + 540, UTC)
    signal = SignalSeen(incident="", signal="f@1", state="firing", name="Slow", at=late.isoformat())
    report = Report("g", "Slow", "high", "alert", late, "front", [signal])
    incident, _ = await diagnosing.incidents.report(report, principal="key:am", correlation=None)
    assert incident is not None
    (tmp_path / "system.yaml").write_text("edges: [[front, cart]]")
    asked = DiagnosisQuestion(
        incident=incident.id, system="system.yaml", signals=[LATENCY], baseline="1h", step="60s"
    )
    found = await diagnosing.diagnose(asked, LOCAL)
    assert (found.verdict, found.suspects[0].node) == ("suspects", "cart")
    assert found.onset == datetime.fromtimestamp(ONSET, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert "latency of front had moved 9m before, which is taken for the onset." in found.notes[0]
    told = await diagnosing.diagnose(replace(asked, onset=str(ONSET + 540)), LOCAL)
    assert told.onset == datetime.fromtimestamp(ONSET + 540, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def test_a_service_without_signals_is_told_with_those_there_are(tmp_path: Path) -> None:
    diagnosing, _ = diagnoser(tmp_path, MemorySource("live", [series("cart", 0.1, 0.1)]))
    question = DiagnosisQuestion(service="front", onset=str(ONSET), signals=[LATENCY], baseline="1h", step="60s")
    found = await diagnosing.diagnose(question, LOCAL)
    assert found.verdict == "not enough data"
    assert "No signal is of front. There are signals of cart." in found.notes


@pytest.mark.parametrize("content", [b"\xff\xfe", b" " * 3_000_000])
async def test_files_that_are_no_text_or_too_long_are_refused(tmp_path: Path, content: bytes) -> None:
    diagnosing, _ = diagnoser(tmp_path, MemorySource("live"))
    (tmp_path / "system.yaml").write_bytes(content)
    question = DiagnosisQuestion(service="front", onset=str(ONSET), system="system.yaml")
    with pytest.raises(CallerError) as caught:
        await diagnosing.diagnose(question, LOCAL)
    assert caught.value.argument == "system"


class HalfAway(MemorySource):
    """A source that answers one query alone."""

    async def range(self, query: str, window: Window, notes: Any = None) -> list[Series]:
        if query != "latency":
            raise Unavailable("live is away.")
        return await super().range(query, window, notes)


async def test_queries_that_fail_are_told_and_the_others_count() -> None:
    window = Window(ONSET - 3600, ONSET + 540, 60.0)
    notes: list[str] = []
    source = HalfAway(
        "live", [series("a", 1, 0), series("a", 2, 0, pod="2"), Series({"__name__": "latency"}, [], [])]
    )
    errors = SignalQuery("errors", "errors", "service")
    (signal,) = await gather(source, [errors, LATENCY], window, notes)
    assert (signal.node, len(signal.times)) == ("a", window.points)
    assert any("errors could not be asked: live is away." in note for note in notes)
    assert any("several series for service=a" in note for note in notes)
    with pytest.raises(Unavailable):
        await gather(source, [errors], window, [])
    with pytest.raises(CallerError, match="larger step"):
        await gather(source, [LATENCY], Window(0, 1e6, 1.0), [])


async def test_more_nodes_than_are_looked_at_are_told() -> None:
    many = [series(f"s{number}", 1, 0) for number in range(MOST_NODES + 1)]
    notes: list[str] = []
    found = await gather(MemorySource("live", many), [LATENCY], Window(ONSET - 600, ONSET, 60.0), notes)
    assert len(found) == MOST_NODES
    assert "301 nodes" in notes[0]
    assert (
        await gather(
            MemorySource("live", many),
            [SignalQuery("latency", "latency", "pod")],
            Window(ONSET - 600, ONSET, 60.0),
            notes,
        )
        == []
    )
    assert "none has the label pod" in notes[-1]
