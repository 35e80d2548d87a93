"""Postures: how the security of somebody's workspaces stood at one time, one after the other.

Each is an event; the findings it names are an object that the event links to.
"""

import hashlib
from typing import ClassVar

from pydantic import Field

from quantum_suite.core.events import Event, EventData, EventFilter
from quantum_suite.services.events.interface import EventStore


class PostureRecorded(EventData):
    """A posture was taken and compared with the one before."""

    event_type: ClassVar[str] = "orchestrator.posture.recorded"

    run: str = Field(description="The run that took it.")
    series: str = Field(description="Which of the owner's series of postures it belongs to.")
    snapshot: str = Field(description="Digest of the object with the findings by workspace.")
    report: str = Field(description="Digest of the report.")
    workspaces: int = Field(description="Workspaces looked at.")
    not_scanned: int = Field(description="Workspaces that could not be scanned.")
    findings: int = Field(description="Findings at least as bad as the threshold.")
    appeared: int = Field(description="Findings that were not there the last time.")
    gone: int = Field(description="Findings that are no longer there.")


POSTURE_EVENTS: tuple[type[EventData], ...] = (PostureRecorded,)
"""To be registered with the event registry."""


def posture_stream(owner: str, series: str) -> str:
    """Return the stream of one of a principal's series."""
    digest = hashlib.sha256(f"{owner}\n{series}".encode()).hexdigest()
    return f"orchestrator.posture/{digest[:32]}"


async def last_posture(events: EventStore, owner: str, series: str, *, before_run: str) -> Event | None:
    """Return the newest posture of a series, leaving out what a run itself recorded."""
    where = EventFilter(types=frozenset({PostureRecorded.event_type}), stream=posture_stream(owner, series))
    newest: Event | None = None
    position = None
    while page := await events.read(position, where):
        position = page[-1].position
        for event in page:
            if event.data["run"] != before_run:
                newest = event
    return newest
