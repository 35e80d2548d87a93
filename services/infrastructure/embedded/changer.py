"""Carries out one change of one resource, written down before and after; in a preview, says what would be."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import anyio

from quantum_suite.services.infrastructure.embedded.hosts import (
    Difference,
    Found,
    InitFailed,
    ProviderFailed,
    ProviderHost,
)
from quantum_suite.services.infrastructure.embedded.live_state import LiveState
from quantum_suite.services.infrastructure.embedded.recorder import Recorder
from quantum_suite.services.infrastructure.interface import IDENTITY_KEY, PendingOperation, ResourceState
from quantum_suite.services.infrastructure.values import has_unknown, plain, secret


class Open(ProviderFailed):
    """Nobody knows how it ended; the operation stays pending."""


@dataclass(slots=True)
class Changer:
    """Creates, updates, deletes and reads through providers, a bounded number at once."""

    live: LiveState
    recorder: Recorder
    dry_run: bool
    places: anyio.CapacityLimiter
    stopping: anyio.Event
    """Once set, nothing new is begun."""

    def _check_stopping(self) -> None:
        if self.stopping.is_set():
            raise ProviderFailed("The run was interrupted before this.")

    async def create(
        self, host: ProviderHost, new: ResourceState, beside: ResourceState | None = None
    ) -> ResourceState:
        """Create a resource; `beside` is its predecessor, which is deleted later. Returns it as it is now."""
        if self.dry_run:
            made = await self._predicted(host, new)
            await self._put_beside(made, beside)
            return made
        async with self.places:
            earlier = self.live.pending.get(new.urn)
            interrupted = earlier is not None and earlier.type == "creating"
            identity = _identity(new)
            if interrupted and earlier is not None and _identity(earlier.resource) not in ("", identity):
                await self._set_aside(host, earlier.resource)
            if identity and (beside is None or beside.id != identity):
                there = await self._look(host, new, identity)
                if there is not None and not interrupted:
                    raise ProviderFailed(
                        f"{identity} exists already, and this stack did not make it. Import it, or use another "
                        "name."
                    )
                if there is not None and earlier is not None:
                    # A resource may be asked for otherwise than when it was interrupted.
                    asked = there.inputs if there.inputs is not None else earlier.resource.inputs
                    adopted = replace(self._found(new, there), inputs=asked)
                    put, drop = _beside(adopted, beside)
                    await self.live.change(put=put, drop=drop, settled=[new.urn])
                    return await self._brought_up(host, adopted, new)
            return await self._create(host, new, beside, identity)

    async def _create(
        self, host: ProviderHost, new: ResourceState, beside: ResourceState | None, identity: str
    ) -> ResourceState:
        self._check_stopping()
        number = await self.live.begin(PendingOperation("creating", new))
        try:
            made_id, outputs = await host.create(
                new.urn, new.inputs, seconds=new.custom_timeouts.get("create", 0.0)
            )
            made = replace(new, id=made_id, outputs=self._secretive(new, outputs))
        except InitFailed as error:
            made = replace(
                new,
                id=error.resource_id,
                outputs=self._secretive(new, error.outputs),
                init_errors=tuple(map(self.recorder.masks.masked, error.reasons)),
            )
            await self.live.end(number, new.urn, *_beside(made, beside))
            raise
        except ProviderFailed as error:
            if error.lost:
                raise Open(f"its provider was lost while it was created: {error.message}", lost=True) from error
            half_made = await self._look(host, new, identity) if identity else None
            if half_made is None:
                await self.live.end(number, new.urn)
                raise
            # It was not there before, so what is there now is what the failed creation left.
            said = (self.recorder.masks.masked(error.message),)
            made = replace(self._found(new, half_made), init_errors=said)
            await self.live.end(number, new.urn, *_beside(made, beside))
            raise
        await self.live.end(number, new.urn, *_beside(made, beside))
        return made

    async def _set_aside(self, host: ProviderHost, asked: ResourceState) -> None:
        """Have what an interrupted creation made under an identity that is not wanted any more deleted later."""
        there = await self._look(host, asked, _identity(asked))
        aside = [replace(self._found(asked, there), delete=True)] if there is not None else []
        await self.live.change(put=aside, settled=[asked.urn])

    async def _put_beside(self, made: ResourceState, beside: ResourceState | None) -> None:
        put, drop = _beside(made, beside)
        await self.live.change(put=put, drop=drop)

    async def _look(self, host: ProviderHost, new: ResourceState, identity: str) -> Found | None:
        return await host.read(new.urn, identity, new.inputs)

    async def _brought_up(self, host: ProviderHost, there: ResourceState, new: ResourceState) -> ResourceState:
        """Update what an interrupted creation had made already, where it differs from what it was to be."""
        differs = await host.diff(new.urn, there.id, (there.inputs, there.outputs), new.inputs)
        wanted = replace(new, id=there.id, outputs=there.outputs)
        changed = differs.changed
        if changed is None:
            changed = _visible(there.inputs) != _visible(new.inputs)
        if changed:
            return await self._update(host, there, wanted)
        await self.live.change(put=[wanted])
        return wanted

    async def update(
        self,
        host: ProviderHost,
        old: ResourceState,
        new: ResourceState,
        difference: Difference,
        ignored: tuple[str, ...],
    ) -> ResourceState:
        """Update a resource; returns it as it is now."""
        if self.dry_run:
            made = await self._predicted_update(host, old, new, difference, ignored)
            await self.live.change(put=[made])
            return made
        async with self.places:
            return await self._update(host, old, new, ignored)

    async def _update(
        self, host: ProviderHost, old: ResourceState, new: ResourceState, ignored: tuple[str, ...] = ()
    ) -> ResourceState:
        self._check_stopping()
        number = await self.live.begin(PendingOperation("updating", old))
        try:
            outputs = await host.update(
                new.urn,
                old.id,
                (old.inputs, old.outputs),
                new.inputs,
                ignored=ignored,
                seconds=new.custom_timeouts.get("update", 0.0),
            )
        except InitFailed as error:
            reasons = tuple(map(self.recorder.masks.masked, error.reasons))
            made = replace(new, id=old.id, outputs=self._secretive(new, error.outputs), init_errors=reasons)
            await self.live.end(number, new.urn, [made])
            raise
        except ProviderFailed as error:
            if error.lost:
                raise Open(f"its provider was lost while it was updated: {error.message}", lost=True) from error
            await self.live.end(number, new.urn)
            raise
        made = replace(new, id=old.id, outputs=self._secretive(new, outputs), init_errors=())
        await self.live.end(number, new.urn, [made])
        return made

    async def delete(self, host: ProviderHost, old: ResourceState, becomes: ResourceState | None = None) -> None:
        """Delete a resource; `becomes` is what the state keeps in its place, if anything."""
        put = [becomes] if becomes is not None else []
        if self.dry_run or old.external or old.retain_on_delete or not old.custom:
            await self.live.change(put=put, drop=[old])
            return
        async with self.places:
            earlier = self.live.pending.get(old.urn)
            if earlier is not None and earlier.type == "deleting" and await self._is_gone(host, old):
                await self.live.change(put=put, drop=[old], settled=[old.urn])
                return
            self._check_stopping()
            number = await self.live.begin(PendingOperation("deleting", old))
            try:
                await host.delete(old.urn, old.id, old.inputs, old.outputs, old.custom_timeouts.get("delete", 0.0))
            except ProviderFailed as error:
                if error.lost:
                    raise Open(
                        f"its provider was lost while it was deleted: {error.message}", lost=True
                    ) from error
                await self.live.end(number, old.urn)
                raise
            await self.live.end(number, old.urn, put, [old])

    async def _is_gone(self, host: ProviderHost, old: ResourceState) -> bool:
        return await host.read(old.urn, old.id, old.inputs, old.outputs) is None

    async def read(self, host: ProviderHost, resource: ResourceState) -> ResourceState | None:
        """Return a resource as the world has it; None when it is gone."""
        async with self.places:
            found = await host.read(resource.urn, resource.id, resource.inputs, resource.outputs)
        if found is None:
            return None
        inputs = found.inputs if found.inputs is not None else resource.inputs
        kept = {key: value for key, value in resource.inputs.items() if key.startswith("__")}
        return replace(
            resource,
            id=found.id,
            inputs={**inputs, **kept},
            outputs=self._secretive(resource, found.outputs),
        )

    def _found(self, new: ResourceState, found: Found) -> ResourceState:
        return replace(new, id=found.id, outputs=self._secretive(new, found.outputs))

    def _secretive(self, resource: ResourceState, outputs: Mapping[str, Any]) -> dict[str, Any]:
        """Mark the outputs that the program wants secret, and learn all of them."""
        marked = {
            key: secret(value) if key in resource.additional_secret_outputs else value
            for key, value in outputs.items()
        }
        self.recorder.masks.learn(marked)
        return marked

    async def _predicted(self, host: ProviderHost, new: ResourceState) -> ResourceState:
        if host.previews and host.configured and not has_unknown(new.inputs):
            _, outputs = await host.create(new.urn, new.inputs, preview=True)
            return replace(new, outputs=self._secretive(new, outputs))
        return replace(new, outputs=self._secretive(new, new.inputs))

    async def _predicted_update(
        self,
        host: ProviderHost,
        old: ResourceState,
        new: ResourceState,
        difference: Difference,
        ignored: tuple[str, ...],
    ) -> ResourceState:
        if host.previews and host.configured and not has_unknown(new.inputs):
            outputs = await host.update(
                new.urn, old.id, (old.inputs, old.outputs), new.inputs, ignored=ignored, preview=True
            )
        else:
            stable = {key: old.outputs[key] for key in difference.stables if key in old.outputs}
            outputs = {**stable, **new.inputs}
        return replace(new, id=old.id, outputs=self._secretive(new, outputs))


def _identity(new: ResourceState) -> str:
    """Return under which id the provider will find the resource, if it says so and it is known."""
    identity = plain(new.inputs.get(IDENTITY_KEY))
    return identity if isinstance(identity, str) and not has_unknown(identity) else ""


def _beside(made: ResourceState, beside: ResourceState | None) -> tuple[list[ResourceState], list[ResourceState]]:
    """Return what enters the state and what leaves it when a resource is made, beside its predecessor maybe."""
    if beside is None:
        return [made], []
    return [made, replace(beside, delete=True)], [beside]


def _visible(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in plain(inputs).items() if not key.startswith("__")}
