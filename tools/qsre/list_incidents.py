"""Lists incidents."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.incident_events import IncidentOrigin, IncidentSeverity
from quantum_suite.services.incidents.incidents import Incidents
from quantum_suite.services.incidents.interface import Incident
from quantum_suite.services.metrics.windows import shown_time

MOST_LISTED = 50


class IncidentRow(BaseModel):
    """An incident in short."""

    model_config = ConfigDict(frozen=True)

    incident: str = Field(description="Its id.")
    title: str = Field(description="What is wrong.")
    severity: IncidentSeverity = Field(description="How bad it is.")
    state: Literal["open", "resolved"] = Field(description="Whether it is being dealt with.")
    origin: IncidentOrigin = Field(description="Who noticed: a person, an alert, a watch for anomalies.")
    service: str = Field(description="What is concerned; empty where that is not known.")
    began_at: str = Field(description="About when it began, UTC.")
    opened_at: str = Field(description="When it was opened, UTC.")
    resolved_at: str | None = Field(description="When it was resolved, UTC.")
    firing: int = Field(description="Alerts and anomalies of it that are firing.")
    entries: int = Field(description="Entries of its timeline.")
    uri: str = Field(description="Where it is to be read whole.")


class IncidentList(BaseModel):
    """Incidents, the one that changed last first."""

    model_config = ConfigDict(frozen=True)

    found: int = Field(description="How many there are of what was asked for.")
    incidents: tuple[IncidentRow, ...] = Field(description="The first fifty.")


def incident_row(incident: Incident) -> IncidentRow:
    """Return an incident in short."""
    return IncidentRow(
        incident=incident.id,
        title=incident.title,
        severity=incident.severity,
        state="open" if incident.is_open else "resolved",
        origin=incident.origin,
        service=incident.service,
        began_at=shown_time(incident.began_at.timestamp()),
        opened_at=shown_time(incident.opened_at.timestamp()),
        resolved_at=shown_time(incident.resolved_at.timestamp()) if incident.resolved_at else None,
        firing=incident.firing,
        entries=incident.version,
        uri=f"quantum://qsre/incidents/{incident.id}",
    )


async def list_incidents(
    incidents: Incidents, state: Literal["open", "resolved", "all"], service: str | None
) -> IncidentList:
    """Return the incidents of a state, and of a service where one is given."""
    found = [
        one
        for one in await incidents.all()
        if state in ("all", "open" if one.is_open else "resolved") and service in (None, one.service)
    ]
    return IncidentList(found=len(found), incidents=tuple(incident_row(one) for one in found[:MOST_LISTED]))
