"""The state of a stack while a run is at it: every change is in the journal before the run goes on."""

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import anyio.to_thread

from quantum_suite.services.infrastructure.interface import Deployment, PendingOperation, ResourceState
from quantum_suite.services.infrastructure.state.journal import Change, Journal, key_of
from quantum_suite.services.infrastructure.state.secrets import StateSecrets


class LiveState:
    """Resources by URN, secrets open. Without a journal (a preview) nothing leaves the memory."""

    def __init__(
        self, base: Deployment, journal: Journal | None = None, secrets: StateSecrets | None = None
    ) -> None:
        self.base = base
        self.entries: dict[str, ResourceState] = {key_of(resource): resource for resource in base.resources}
        self.pending: dict[str, PendingOperation] = {one.resource.urn: one for one in base.pending}
        """What earlier runs left open, and what this one does (or lost sight of)."""
        self._journal = journal
        self._secrets = secrets

    def get(self, urn: str) -> ResourceState | None:
        """Return the resource of that URN, if there is one that is not just waiting for its deletion."""
        return self.entries.get(urn)

    def all(self) -> list[ResourceState]:
        """Return every entry, those included that wait for their deletion."""
        return list(self.entries.values())

    async def begin(self, operation: PendingOperation) -> int:
        """Write down what is about to be done."""
        number = 0
        if self._journal is not None and self._secrets is not None:
            sealed = PendingOperation(operation.type, self._secrets.sealed(operation.resource))
            number = await anyio.to_thread.run_sync(self._journal.begin, sealed)
        self.pending[operation.resource.urn] = operation
        return number

    async def end(
        self,
        number: int,
        urn: str,
        put: Sequence[ResourceState] = (),
        drop: Sequence[ResourceState] = (),
    ) -> None:
        """Write down how it ended, and change the state by it."""
        change = self._change(put, drop, (urn,))
        if self._journal is not None:
            await anyio.to_thread.run_sync(functools.partial(self._journal.end, number, change))
        self._apply(put, drop, (urn,))

    async def change(
        self,
        put: Sequence[ResourceState] = (),
        drop: Sequence[ResourceState] = (),
        settled: Sequence[str] = (),
    ) -> None:
        """Change the state where nothing happens outside."""
        if not put and not drop and not settled:
            return
        if self._journal is not None:
            await anyio.to_thread.run_sync(self._journal.change, self._change(put, drop, settled))
        self._apply(put, drop, settled)

    def _change(
        self, put: Sequence[ResourceState], drop: Sequence[ResourceState], settled: Sequence[str]
    ) -> Change:
        sealed = [self._secrets.sealed(resource) if self._secrets else resource for resource in put]
        return Change(sealed, [key_of(resource) for resource in drop], settled)

    def _apply(self, put: Sequence[ResourceState], drop: Sequence[ResourceState], settled: Sequence[str]) -> None:
        for resource in drop:
            self.entries.pop(key_of(resource), None)
        for resource in put:
            self.entries[key_of(resource)] = resource
        for urn in settled:
            self.pending.pop(urn, None)

    async def rename(self, old: ResourceState, urn: str, kind: str) -> ResourceState:
        """Give a resource its new URN, wherever it is spoken of."""
        renamed = replace(old, urn=urn, type=kind)
        speaking = [
            changed
            for resource in self.all()
            if resource is not old and (changed := _speaking_of(resource, old.urn, urn)) != resource
        ]
        await self.change(put=[renamed, *speaking], drop=[old])
        return renamed

    def deployment(self, project: str, stack: str, serial: int) -> Deployment:
        """Return the state as it is now; secrets sealed where there is what seals them."""
        seal: Any = self._secrets.sealed if self._secrets else (lambda resource: resource)
        return Deployment(
            project,
            stack,
            serial,
            tuple(seal(resource) for resource in self.all()),
            tuple(PendingOperation(one.type, seal(one.resource)) for one in self.pending.values()),
        )


def _speaking_of(resource: ResourceState, old: str, new: str) -> ResourceState:
    def told(urn: str) -> str:
        return new if urn == old else urn

    provider, _, provider_id = resource.provider.rpartition("::")
    return replace(
        resource,
        parent=told(resource.parent),
        provider=f"{new}::{provider_id}" if provider == old else resource.provider,
        dependencies=tuple(map(told, resource.dependencies)),
        deleted_with=told(resource.deleted_with),
        property_dependencies={
            key: tuple(map(told, urns)) for key, urns in resource.property_dependencies.items()
        },
    )
