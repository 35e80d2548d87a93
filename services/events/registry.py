"""Which types of event there are, and how old shapes become new ones."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from quantum_suite.core.errors import CallerError, Damaged
from quantum_suite.core.events import Event, EventData, type_and_version

Data = TypeVar("Data", bound=EventData)
Upcaster = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Turns a payload of one version into the next one's. Pure: no clock, no I/O, the same answer for ever."""


class EventRegistry:
    """The types a process knows. A type is registered once, with an upcaster from each version before its own."""

    def __init__(self, types: Iterable[type[EventData]] = ()) -> None:
        self._types: dict[str, type[EventData]] = {}
        self._upcasters: dict[tuple[str, int], Upcaster] = {}
        self._stored: dict[type[EventData], str] = {}
        self._newest: set[str] = set()
        for one in types:
            self.register(one)

    def register(self, data: type[EventData], upcasters: Mapping[int, Upcaster] | None = None) -> None:
        """Add a type; `upcasters[n]` turns version n into n + 1.

        Registering the same class again is fine. Raises ValueError when the name is taken by another class or a
        version has no upcaster.
        """
        name, version = data.event_type, data.event_version
        if self._types.get(name, data) is not data:
            raise ValueError(f"The event type {name} is registered already, by another class.")
        given = dict(upcasters or {})
        if given.keys() != set(range(1, version)):
            raise ValueError(f"{name} is at version {version}: it needs upcasters from 1 to {version - 1}.")
        self._types[name] = data
        self._stored[data] = f"{name}.v{version}"
        self._newest.add(self._stored[data])
        for older, upcaster in given.items():
            self._upcasters[(name, older)] = upcaster

    def types(self) -> dict[str, type[EventData]]:
        """Return the payload models by bare type name."""
        return dict(self._types)

    def check(self, data: EventData) -> str:
        """Return the name `data` is stored under; raises CallerError for a type that is not registered."""
        stored = self._stored.get(type(data))
        if stored is None:
            raise CallerError(
                f"The event type {data.event_type} is not registered.",
                "Register its class with the event registry when the suite is put together.",
                argument="events",
            )
        return stored

    def upcast(self, stored: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """Bring a payload to the newest version known here.

        Types not known here (of a module that is not installed) come back unchanged. Raises Damaged for a version
        newer than this process knows.
        """
        if stored in self._newest:
            return payload
        name, version = type_and_version(stored)
        known = self._types.get(name)
        if known is None:
            return payload
        if version > known.event_version:
            raise Damaged(
                f"An event of type {stored} was written by a newer release; this one knows version "
                f"{known.event_version}.",
                "Update this process.",
            )
        for older in range(version, known.event_version):
            payload = self._upcasters[(name, older)](payload)
        return payload

    def parse(self, event: Event, data: type[Data]) -> Data:
        """Return the payload of `event` as a model; raises ValueError when it is of another type."""
        if type_and_version(event.type)[0] != data.event_type:
            raise ValueError(f"{event.type} is no {data.event_type}")
        return data.model_validate(dict(event.data))
