"""Incidents: the fold, what is told twice, and two who write at once."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest

from quantum_suite.core.anomaly_events import ANOMALY_EVENTS, AnomalyDetected, watch_stream
from quantum_suite.core.errors import CallerError, Conflict, NotFound
from quantum_suite.core.events import NewEvent
from quantum_suite.core.incident_events import INCIDENT_EVENTS, IncidentNoted, IncidentResolved, SeverityChanged
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.incidents.alertmanager_webhook import read_report
from quantum_suite.services.incidents.anomaly_incidents import AnomalyIncidents
from quantum_suite.services.incidents.folding import fold
from quantum_suite.services.incidents.incidents import Incidents
from quantum_suite.services.incidents.interface import MAX_ENTRIES

pytestmark = pytest.mark.anyio

BEGAN = datetime(2026, 11, 27, 10, tzinfo=UTC)


def store() -> MemoryEventStore:
    return MemoryEventStore(EventRegistry((*INCIDENT_EVENTS, *ANOMALY_EVENTS)))


def message(alerts: Sequence[dict[str, Any]], group: str = "{}:{}") -> dict[str, Any]:
    return {"version": "4", "groupKey": group, "alerts": [*alerts]}


def alert(
    fingerprint: str, state: str = "firing", begun: str = "2026-11-27T10:00:00Z", **labels: str
) -> dict[str, Any]:
    return {
        "status": state,
        "labels": {"alertname": "Burns", **labels},
        "startsAt": begun,
        "endsAt": "2026-11-27T11:00:00Z",
        "fingerprint": fingerprint,
    }


async def report(incidents: Incidents, *alerts: dict[str, Any], group: str = "{}:{}") -> tuple[str | None, bool]:
    found, opened = await incidents.report(
        read_report(message(alerts, group)), principal="key:am", correlation=None
    )
    return (found.id if found else None), opened


async def test_an_incident_is_the_same_however_its_events_are_cut_into_pieces() -> None:
    events = store()
    incidents = Incidents(events)
    name, _ = await report(incidents, alert("a"), alert("b"))
    assert name is not None
    incident = await incidents.get(name)
    notes = [IncidentNoted(incident=name, text=f"note {number}") for number in range(5)]
    whole = await incidents.add(incident, notes, principal="p", correlation=None)
    stored = await events.read_stream(f"qsre.incident/{name}")
    assert fold(stored) == whole
    for cut in range(1, len(stored)):
        assert fold(stored[cut:], fold(stored[:cut])) == whole


async def test_events_that_do_not_begin_with_an_opening_are_no_incident() -> None:
    events = store()
    note = NewEvent(IncidentNoted(incident="inc_x", text="x"))
    stored = await events.append("qsre.incident/inc_x", 0, [note])
    with pytest.raises(ValueError, match="begins with"):
        fold(stored)


async def test_the_same_alerts_told_by_many_at_once_open_one_incident() -> None:
    events = store()
    replicas = [Incidents(events) for _ in range(4)]
    opened: list[tuple[str | None, bool]] = []

    async def tell(incidents: Incidents) -> None:
        opened.append(await report(incidents, alert("a"), alert("b")))

    async with anyio.create_task_group() as tasks:
        for incidents in replicas * 3:
            tasks.start_soon(tell, incidents)
    assert len({name for name, _ in opened}) == 1
    assert sum(new for _, new in opened) == 1
    (incident,) = await Incidents(events).all()
    assert (incident.version, incident.firing) == (3, 2)


async def test_an_alert_is_told_by_fingerprint_and_beginning() -> None:
    incidents = Incidents(store())
    first, _ = await report(incidents, alert("a"))
    await report(incidents, alert("a", "resolved"))
    await report(incidents, alert("a"))  # comes late: it has ended
    assert first is not None
    assert (await incidents.get(first)).firing == 0
    await report(incidents, alert("a", begun="2026-11-27T12:00:00Z"))
    again = await incidents.get(first)
    assert (again.firing, again.version) == (1, 4)


async def test_where_an_alert_is_to_be_seen_is_told_when_it_begins_and_not_again() -> None:
    incidents = Incidents(store())
    for state in ("firing", "resolved"):
        name, _ = await report(incidents, {**alert("a", state), "generatorURL": "http://prometheus/graph?x"})
    assert name is not None
    _, *seen = (await incidents.get(name)).timeline
    assert [entry.uri for entry in seen] == ["http://prometheus/graph?x", ""]


async def test_groups_have_incidents_of_their_own_and_an_end_alone_opens_none() -> None:
    incidents = Incidents(store())
    assert await report(incidents, alert("z", "resolved")) == (None, False)
    one, _ = await report(incidents, alert("a"), group="one")
    two, _ = await report(incidents, alert("a"), group="two")
    assert one != two
    assert len(await incidents.all()) == 2


async def test_what_fires_after_an_incident_was_resolved_opens_the_next() -> None:
    incidents = Incidents(store())
    name, _ = await report(incidents, alert("a"))
    assert name is not None
    end = IncidentResolved(incident=name, summary="over")
    await incidents.add(await incidents.get(name), [end], principal="p", correlation=None)
    assert await report(incidents, alert("a")) == (None, False)
    following, opened = await report(incidents, alert("a", begun="2026-11-28T10:00:00Z"))
    assert opened
    assert following != name


async def test_a_change_to_what_somebody_else_has_changed_is_refused() -> None:
    incidents = Incidents(store())
    read = await incidents.open("Slow", "low", BEGAN, principal="p", correlation=None)
    note = IncidentNoted(incident=read.id, text="mine")
    await incidents.add(read, [note], principal="p", correlation=None)
    with pytest.raises(Conflict):
        await incidents.add(read, [note], principal="q", correlation=None)


async def test_a_full_incident_takes_its_end_alone() -> None:
    incidents = Incidents(store())
    incident = await incidents.open("Slow", "low", BEGAN, principal="p", correlation=None)
    left = MAX_ENTRIES - 1
    while left:
        many = min(left, 900)
        notes = [IncidentNoted(incident=incident.id, text="n")] * many
        incident = await incidents.add(incident, notes, principal="p", correlation=None)
        left -= many
    with pytest.raises(CallerError, match="takes no more"):
        await incidents.add(incident, notes[:1], principal="p", correlation=None)
    end = IncidentResolved(incident=incident.id, summary="over")
    assert not (await incidents.add(incident, [end], principal="p", correlation=None)).is_open


async def test_names_that_are_no_incidents_are_not_found() -> None:
    incidents = Incidents(store())
    for name in ("inc_unknown", "../etc", "", "inc_" + "a" * 100, "inc_a/b"):
        with pytest.raises(NotFound):
            await incidents.get(name)


async def test_what_an_alert_says_is_cut_and_masked() -> None:
    told = alert("a", severity="nonsense", service="shop")
    told["annotations"] = {"summary": "key AKIAABCDEFGHIJKLMNOP\n# heading " + "x" * 5000}
    told["generatorURL"] = "javascript:alert(1)"
    found = read_report(message([told]))
    assert "AKIA" not in found.title
    assert "\n" not in found.title
    assert len(found.signals[0].summary) <= 500
    assert found.signals[0].uri == ""
    assert (found.severity, found.service) == ("high", "shop")


async def test_an_alert_of_an_slo_says_its_service_and_how_bad_it_is() -> None:
    page = alert("a", sloth_severity="page", sloth_service="shop", sloth_id="shop-orders", job="scraper")
    found = read_report(message([page]))
    assert (found.severity, found.service) == ("critical", "shop")
    ticket = read_report(message([alert("b", sloth_severity="ticket", sloth_service="shop")]))
    assert (ticket.severity, ticket.service) == ("medium", "shop")
    said = read_report(message([alert("c", severity="low", sloth_severity="page", service="cart")]))
    assert (said.severity, said.service) == ("low", "cart")


async def test_an_alert_that_is_worse_than_its_incident_raises_it_once_and_none_lowers_it() -> None:
    events = store()
    incidents = Incidents(events)
    ticket, page = alert("a", severity="ticket"), alert("b", severity="page")
    name, _ = await report(incidents, ticket)
    assert name is not None
    assert (await incidents.get(name)).severity == "medium"
    for _ in range(2):
        await report(incidents, ticket, page)
    raised = await incidents.get(name)
    assert (raised.severity, raised.version) == ("critical", 4)
    assert raised.timeline[-1].text == "Severity medium -> critical: Burns fires"
    calmed = SeverityChanged(incident=name, severity="low", before="critical", reason="One customer")
    await incidents.add(raised, [calmed], principal="p", correlation=None)
    await report(incidents, ticket, page, alert("c", severity="info"), alert("d", severity="nonsense"))
    assert (await incidents.get(name)).severity == "low"
    await report(incidents, alert("e", "resolved", severity="page"))
    assert (await incidents.get(name)).severity == "low"


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ([], "the message"),
        ({"version": "4", "groupKey": "g", "alerts": []}, "alerts"),
        ({"version": "4", "groupKey": "g", "alerts": [alert("a")] * 501}, "alerts"),
        ({"version": "4", "groupKey": "", "alerts": [alert("a")]}, "groupKey"),
        ({"version": "4", "groupKey": "g", "alerts": [{**alert("a"), "startsAt": "yesterday"}]}, "startsAt"),
        (
            {"version": "4", "groupKey": "g", "alerts": [{**alert("a"), "startsAt": "2026-01-01T00:00:00"}]},
            "startsAt",
        ),
        ({"version": "4", "groupKey": "g", "alerts": [{**alert("a"), "labels": {"a": 5}}]}, "labels"),
    ],
)
async def test_a_message_that_is_none_names_its_member(body: Any, place: str) -> None:
    with pytest.raises(CallerError, match=place):
        read_report(body)


async def test_an_anomaly_opens_an_incident_and_the_next_of_its_watch_joins_it() -> None:
    events = store()
    incidents = Incidents(events)
    consumer = AnomalyIncidents(incidents)
    anomaly = AnomalyDetected(
        watch="watch_1",
        name="Orders",
        source="live",
        query="orders",
        series="{}",
        at=1_795_000_000.0,
        since=1_794_999_900.0,
        value=3,
        expected_low=90,
        expected_high=110,
        score=0.9,
        strength=2.5,
        reasons=("level: far below",),
    )
    first, second = await events.append(watch_stream("watch_1"), 0, [NewEvent(anomaly), NewEvent(anomaly)])
    for event in (first, first, second):
        await consumer.handle(event)
    (incident,) = await incidents.all()
    assert (incident.origin, incident.title, incident.version) == ("anomaly", "Orders is unusual", 3)
    assert incident.began_at.timestamp() == 1_794_999_900.0
