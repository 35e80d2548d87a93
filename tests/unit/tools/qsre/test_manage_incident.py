"""What may be written into an incident, field by field."""

from typing import Any

import pytest

from quantum_suite.core.errors import CallerError
from quantum_suite.core.events import Event, NewEvent
from quantum_suite.core.incident_events import INCIDENT_EVENTS, IncidentNoted
from quantum_suite.core.principals import LOCAL
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.incidents.incidents import Incidents
from quantum_suite.tools.qsre.manage_incident import IncidentChange, IncidentKeeper

pytestmark = pytest.mark.anyio


async def opened() -> tuple[IncidentKeeper, str]:
    keeper = IncidentKeeper(
        Incidents(MemoryEventStore(EventRegistry(INCIDENT_EVENTS))), clock=lambda: 1_795_000_000.0
    )
    incident = await keeper.change(IncidentChange("open", text="Slow", began_at="-10m"), LOCAL, None)
    assert incident.began_at.timestamp() == 1_794_999_400.0
    return keeper, incident.id


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"action": "open", "text": "x", "began_at": "2999-01-01T00:00:00Z"}, "began_at"),
        ({"action": "open", "text": "x" * 201}, "text"),
        ({"action": "open", "text": "x", "incident": "inc_1"}, "incident"),
        ({"action": "note", "text": "  "}, "text"),
        ({"action": "role", "role": "commander"}, "assignee"),
        ({"action": "hypothesis"}, "text"),
        ({"action": "hypothesis", "text": "x", "verdict": "confirmed"}, "verdict"),
        ({"action": "hypothesis", "hypothesis": "h1"}, "verdict"),
        ({"action": "hypothesis", "hypothesis": "h1", "verdict": "refuted", "confidence": 0.5}, "confidence"),
        ({"action": "evidence", "text": "x", "supports": True}, "hypothesis"),
        ({"action": "evidence", "text": "x", "uri": "file:///etc/passwd"}, "uri"),
        ({"action": "evidence", "text": "x", "hypothesis": "h1"}, "hypothesis"),
    ],
)
async def test_what_does_not_fit_names_its_field(change: dict[str, Any], argument: str) -> None:
    keeper, incident = await opened()
    given = change if change["action"] == "open" else {"incident": incident, **change}
    with pytest.raises(CallerError) as caught:
        await keeper.change(IncidentChange(**given), LOCAL, None)
    assert caught.value.argument == argument


async def test_what_is_written_is_masked_and_a_resolved_incident_can_be_reopened() -> None:
    keeper, incident = await opened()
    note = IncidentChange("note", incident, text="key AKIAABCDEFGHIJKLMNOP found")
    assert "AKIA" not in (await keeper.change(note, LOCAL, None)).timeline[-1].text
    link = IncidentChange("evidence", incident, text="see", uri="quantum://qsre/queries/query_1")
    assert (await keeper.change(link, LOCAL, None)).timeline[-1].uri == "quantum://qsre/queries/query_1"
    end = IncidentChange("resolve", incident, text="over")
    assert not (await keeper.change(end, LOCAL, None)).is_open
    with pytest.raises(CallerError, match="Reopen it first"):
        await keeper.change(end, LOCAL, None)
    again = await keeper.change(IncidentChange("reopen", incident, text="It came back"), LOCAL, None)
    assert again.is_open


class OvertakenStore(MemoryEventStore):
    """A store in which somebody else always writes first, a number of times."""

    def __init__(self, times: int) -> None:
        super().__init__(EventRegistry(INCIDENT_EVENTS))
        self.left = times

    async def append(self, stream: str, expected_version: int, events: Any, *, fence: Any = None) -> list[Event]:
        if self.left and expected_version > 0:
            self.left -= 1
            await super().append(stream, expected_version, [NewEvent(IncidentNoted(incident="x", text="first"))])
        return await super().append(stream, expected_version, events, fence=fence)


async def test_a_change_that_is_overtaken_is_made_to_what_is_there_then() -> None:
    keeper = IncidentKeeper(Incidents(OvertakenStore(3)))
    incident = await keeper.change(IncidentChange("open", text="Slow"), LOCAL, None)
    after = await keeper.change(IncidentChange("note", incident.id, text="mine"), LOCAL, None)
    assert [entry.text for entry in after.timeline[1:]] == ["first", "first", "first", "mine"]
