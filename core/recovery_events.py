"""What happens in disaster recovery, as events. Stream: `qinfra.drill/<drill id>`."""

from typing import ClassVar, Literal

from pydantic import Field

from quantum_suite.core.events import EventData


class DrillFinished(EventData):
    """A recovery drill ended, well or not."""

    event_type: ClassVar[str] = "qinfra.drill.finished"

    drill: str = Field(description="The drill's id.")
    kind: Literal["failover", "point_in_time"] = Field(description="What was drilled.")
    state: Literal["met", "missed", "measured", "failed", "cancelled"] = Field(
        description="Objectives met or missed, none given (measured), or the drill itself did not come to its end."
    )
    copy_of_live: bool = Field(default=False, description="Whether a copy of a live system was drilled with.")
    rto_seconds: float | None = Field(default=None, description="From the disaster to the first accepted write.")
    acknowledged: int = Field(default=0, description="Rows that were acknowledged before the disaster.")
    lost: int | None = Field(default=None, description="Acknowledged rows that were missing afterwards.")
    problem: str = Field(default="", description="Why it did not come to its end; secrets masked.")
    digest: str = Field(default="", description="SHA-256 of the evidence.")


RECOVERY_EVENTS: tuple[type[EventData], ...] = (DrillFinished,)
"""Every type, for the registry."""


def drill_stream(drill: str) -> str:
    """Return the stream of a drill."""
    return f"qinfra.drill/{drill}"
