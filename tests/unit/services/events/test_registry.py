"""Types of events, and how old shapes become new ones."""

import pytest

from quantum_suite.core.errors import CallerError, Damaged
from quantum_suite.core.events import EventData
from quantum_suite.services.events.registry import EventRegistry


class Moved(EventData):
    event_type = "demo.thing.moved"
    event_version = 2
    metres: float


def test_a_type_needs_an_upcaster_from_each_version_before_its_own() -> None:
    registry = EventRegistry()
    for upcasters in ({}, {2: dict}, {1: dict, 2: dict}):
        with pytest.raises(ValueError, match="upcasters from 1 to 1"):
            registry.register(Moved, upcasters)
    with pytest.raises(CallerError):
        registry.check(Moved(metres=1))


def test_a_name_belongs_to_one_class() -> None:
    class Other(EventData):
        event_type = "demo.thing.moved"

    registry = EventRegistry()
    for _ in range(2):
        registry.register(Moved, {1: lambda old: {"metres": old["feet"] * 0.3048}})
    with pytest.raises(ValueError, match="another class"):
        registry.register(Other)
    assert registry.check(Moved(metres=1)) == "demo.thing.moved.v2"
    with pytest.raises(CallerError):
        registry.check(Other())
    assert registry.types() == {"demo.thing.moved": Moved}


def test_payloads_are_brought_to_the_newest_version_and_no_further() -> None:
    registry = EventRegistry()
    registry.register(Moved, {1: lambda old: {"metres": old["feet"] * 0.3048}})
    assert registry.upcast("demo.thing.moved.v1", {"feet": 10}) == {"metres": 3.048}
    assert registry.upcast("demo.thing.moved.v2", {"metres": 3}) == {"metres": 3}
    assert registry.upcast("other.thing.moved.v9", {"any": 1}) == {"any": 1}
    with pytest.raises(Damaged, match="newer release"):
        registry.upcast("demo.thing.moved.v3", {})
