"""Which events may start workflows, and what is told when one should have and could not."""

from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field

from quantum_suite.core.events import EventData


class TriggerFailed(EventData):
    """An event fits a definition's trigger, or may do so, and no run was started. Its principal is the owner."""

    event_type: ClassVar[str] = "orchestrator.trigger.failed"

    definition: str = Field(description="The definition.")
    version: int = Field(description="Its version.")
    event: str = Field(description="The event's id.")
    type: str = Field(description="The event's type.")
    message: str = Field(description="What is wrong, and what would be right.")


TRIGGER_EVENTS: tuple[type[EventData], ...] = (TriggerFailed,)
"""Every type, for the registry."""

_STARTS_NOTHING = ("hub.", "events.", "saga.", "llm.", "orchestrator.step.", "orchestrator.trigger.")
"""Events of the machinery: every run leaves many of them, so a run they started would go round in circles."""


def starting_events(types: Iterable[type[EventData]]) -> dict[str, type[EventData]]:
    """Return those of the registered types that may start workflows, by type without version."""
    return {one.event_type: one for one in types if not one.event_type.startswith(_STARTS_NOTHING)}


def trigger_stream(definition: str) -> str:
    """Return the stream of what is told of one definition's triggers."""
    return f"orchestrator.trigger/{definition}"
