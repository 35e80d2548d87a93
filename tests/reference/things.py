"""A type of event of the tests' own."""

from typing import ClassVar

from quantum_suite.core.events import EventData, NewEvent
from quantum_suite.services.events.registry import EventRegistry


class ThingHappened(EventData):
    """Something happened."""

    event_type: ClassVar[str] = "test.thing.happened"
    number: int


SUBJECT = "quantum.events.test.thing.happened"


def registry() -> EventRegistry:
    """Return a registry that knows the type."""
    return EventRegistry([ThingHappened])


def things(first: int, count: int) -> list[NewEvent]:
    """Return events numbered from `first`."""
    return [NewEvent(ThingHappened(number=number)) for number in range(first, first + count)]
