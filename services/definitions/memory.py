"""Definitions in memory: for tests, and for a suite that should leave no trace."""

from dataclasses import replace
from datetime import UTC, datetime

from quantum_suite.services.definitions.interface import (
    MAX_NAMES,
    StoredDefinition,
    definition_not_found,
    next_version,
    too_many_names,
)


class MemoryDefinitionStore:
    """Holds definitions for as long as the process lives."""

    def __init__(self) -> None:
        self._names: dict[str, dict[int, StoredDefinition]] = {}

    async def put(
        self, name: str, source: str, owner: str, *, version: int | None = None, shared: bool = False
    ) -> StoredDefinition:
        there = self._names.get(name, {})
        number = next_version(await self.versions(name), source, owner, version)
        if not there and sum(one.owner == owner for one in await self.newest()) >= MAX_NAMES:
            raise too_many_names(owner)
        known = there.get(number)
        if known is not None and known.source == source:
            return known
        stored = StoredDefinition(name, number, owner, shared, source, has_run=False, stored_at=datetime.now(UTC))
        self._names.setdefault(name, {})[number] = stored
        return stored

    async def get(self, name: str, version: int | None = None) -> StoredDefinition:
        there = self._names.get(name, {})
        number = max(there, default=0) if version is None else version
        if number not in there:
            raise definition_not_found(name, version)
        return there[number]

    async def versions(self, name: str) -> list[StoredDefinition]:
        there = self._names.get(name, {})
        return [there[number] for number in sorted(there, reverse=True)]

    async def newest(self, visible_to: str | None = None) -> list[StoredDefinition]:
        newest = [versions[max(versions)] for _, versions in sorted(self._names.items())]
        return [one for one in newest if visible_to is None or one.shared or one.owner == visible_to]

    async def mark_run(self, name: str, version: int) -> StoredDefinition:
        marked = replace(await self.get(name, version), has_run=True)
        self._names[name][version] = marked
        return marked

    async def remove(self, name: str) -> None:
        there = self._names.get(name)
        if there is None:
            raise definition_not_found(name)
        kept = {number: one for number, one in there.items() if one.has_run}
        if kept:
            self._names[name] = kept
        else:
            del self._names[name]
