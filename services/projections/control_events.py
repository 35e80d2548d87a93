"""What operators ask of projections and consumers, as events: whoever runs them does it, in whichever process."""

from typing import ClassVar

from pydantic import Field

from quantum_suite.core.events import EventData


class ReplayRequested(EventData):
    """Somebody wants a parked event to be dealt with again."""

    event_type: ClassVar[str] = "events.replay.requested"

    consumer: str = Field(description="Who parked it.")
    position: str = Field(description="The parked event's position.")


class RebuildRequested(EventData):
    """Somebody wants a projection to be made anew from the first event."""

    event_type: ClassVar[str] = "events.rebuild.requested"

    projection: str = Field(description="Which one.")


CONTROL_EVENTS: tuple[type[EventData], ...] = (ReplayRequested, RebuildRequested)
"""Every type, for the registry."""


def control_stream(name: str) -> str:
    """Return the stream of what is asked of one projection or consumer."""
    return f"events.control/{name}"
