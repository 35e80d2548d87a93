"""Which definitions listen to which events."""

from dataclasses import dataclass
from datetime import datetime

from quantum_suite.services.definitions.interface import DefinitionStore, StoredDefinition
from quantum_suite.services.workflows.composite.composites import Composites
from quantum_suite.services.workflows.composite.model import Definition
from quantum_suite.services.workflows.composite.problems import InvalidDefinition


@dataclass(frozen=True, slots=True)
class Listener:
    """The newest version of a definition with triggers."""

    stored: StoredDefinition
    definition: Definition


@dataclass(frozen=True, slots=True)
class _Read:
    version: int
    stored_at: datetime
    definition: Definition | None
    """None without triggers."""


class Listeners:
    """Finds them in the store anew for every event, so that what was kept counts at once; reads each text once."""

    def __init__(self, definitions: DefinitionStore, composites: Composites) -> None:
        self._definitions = definitions
        self._composites = composites
        self._read: dict[str, _Read] = {}

    async def of(self, event_type: str) -> list[Listener]:
        """Return who listens to events of a type (without version). Those that come with the suite never do."""
        newest = await self._definitions.newest()
        self._read = {one.name: await self._known(one) for one in newest}
        found = []
        for stored in newest:
            definition = self._read[stored.name].definition
            if definition is not None and any(one.event == event_type for one in definition.triggers):
                found.append(Listener(stored, definition))
        return found

    async def _known(self, stored: StoredDefinition) -> _Read:
        known = self._read.get(stored.name)
        if known is not None and (known.version, known.stored_at) == (stored.version, stored.stored_at):
            return known
        try:
            definition = await self._composites.read(stored.source)
        except InvalidDefinition:  # kept by an earlier release that took it for right
            return _Read(stored.version, stored.stored_at, None)
        return _Read(stored.version, stored.stored_at, definition if definition.triggers else None)
