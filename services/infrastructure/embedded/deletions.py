"""Deletes resources in the order their dependencies allow, as many at once as do not need one another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import anyio

from quantum_suite.services.infrastructure.embedded.approved import Approved
from quantum_suite.services.infrastructure.embedded.changer import Changer
from quantum_suite.services.infrastructure.embedded.hosts import ProviderFailed
from quantum_suite.services.infrastructure.embedded.live_state import LiveState
from quantum_suite.services.infrastructure.embedded.providers import Providers
from quantum_suite.services.infrastructure.embedded.recorder import Recorder
from quantum_suite.services.infrastructure.embedded.registration import PROVIDER_TYPE, is_default_provider
from quantum_suite.services.infrastructure.interface import IDENTITY_KEY, Progress, ResourceState, StepReport
from quantum_suite.services.infrastructure.state.format import dependents, in_order, needs
from quantum_suite.services.infrastructure.state.journal import key_of
from quantum_suite.services.infrastructure.values import UNKNOWN_VALUE, plain


@dataclass(slots=True)
class Deletions:
    """Deletes what is to go: all of it, what a program left out, or what stands in the way of a replacement."""

    live: LiveState
    providers: Providers
    changer: Changer
    recorder: Recorder
    progress: Progress
    dry_run: bool
    approved: Approved | None = None
    failed: bool = False
    done: dict[str, int] = field(default_factory=dict)

    async def leftovers(
        self, seen: set[str], providers_used: set[str], targets: frozenset[str] = frozenset()
    ) -> None:
        """Delete what is not in `seen`, and what replacements left to be deleted."""
        await self.settle_creations(seen)
        gone = [
            resource
            for resource in self.live.all()
            if (resource.delete or resource.urn not in seen)
            and not (resource.type.startswith(PROVIDER_TYPE) and resource.urn in providers_used)
            and (not targets or resource.urn in targets)
        ]
        await self._delete(self._with_free_providers(gone))

    async def everything(self, targets: frozenset[str] = frozenset()) -> None:
        """Delete all of the stack; with targets, those and what needs them."""
        if not targets:
            await self.settle_creations(set())
        resources = self.live.all()
        wanted = targets | dependents(set(targets), resources) if targets else None
        gone = [resource for resource in resources if wanted is None or resource.urn in wanted]
        await self._delete(gone)

    def _with_free_providers(self, gone: list[ResourceState]) -> list[ResourceState]:
        """Leave providers out that something which stays was made by."""
        leaving = {key_of(resource) for resource in gone}
        needed = {
            resource.provider.rpartition("::")[0]
            for resource in self.live.all()
            if key_of(resource) not in leaving
        }
        return [one for one in gone if not (one.type.startswith(PROVIDER_TYPE) and one.urn in needed)]

    async def settle_creations(self, seen: set[str]) -> None:
        """Find out what became of interrupted creations of what is not in `seen`; what exists joins the state."""
        for urn, pending in list(self.live.pending.items()):
            if pending.type != "creating" or urn in seen or self.live.get(urn) is not None:
                continue
            identity = plain(pending.resource.inputs.get(IDENTITY_KEY))
            if not isinstance(identity, str):
                self.recorder.unsettled(pending.resource)
                continue
            host = await self.providers.of_state(pending.resource)
            found = await self.changer.read(host, replace(pending.resource, id=identity))
            await self.live.change(put=[found] if found is not None else [], settled=[urn])

    async def before_replacement(self, old: ResourceState, replacing: set[str]) -> None:
        """Delete a resource that its successor cannot stand beside, and first what cannot outlive it.

        What is deleted along with it stays in the state as `pendingReplacement` until it is made again.
        """
        falling = await self._falling_with(old, replacing)
        for resource in reversed(in_order([old, *falling])):
            if resource.protect:
                message = f"{resource.name} is protected, and would have to go for {old.name} to be replaced."
                self.recorder.problem("protected", message, resource.urn)
                raise ProviderFailed(message)
        for resource in reversed(in_order([old, *falling])):
            host = await self.providers.of_state(resource)
            await self.changer.delete(host, resource, replace(resource, pending_replacement=True))

    async def _falling_with(self, old: ResourceState, replacing: set[str]) -> list[ResourceState]:
        """Return the dependents of a resource that would be replaced if what they take from it changed."""
        falling: dict[str, ResourceState] = {}
        resources = {one.urn: one for one in self.live.all() if not one.delete and one.custom}
        near = dependents({old.urn}, list(resources.values()))
        for resource in in_order([one for urn, one in resources.items() if urn in near]):
            sources = {old.urn, *falling}
            touched = [key for key, urns in resource.property_dependencies.items() if sources.intersection(urns)]
            if not touched or resource.external or resource.pending_replacement:
                continue
            host = await self.providers.of_state(resource)
            open_inputs = {**resource.inputs, **dict.fromkeys(touched, UNKNOWN_VALUE)}
            differs = await host.diff(resource.urn, resource.id, (resource.inputs, resource.outputs), open_inputs)
            if differs.replaces:
                falling[resource.urn] = resource
        return list(falling.values())

    async def _delete(self, resources: Sequence[ResourceState]) -> None:
        if self._forbidden(resources):
            return
        waiting = {key_of(resource): resource for resource in resources}
        order = list(reversed(in_order(resources)))
        for resource in order:
            self._plan(resource)
        if self.recorder.problems and not self.dry_run:
            return
        gone = {key: anyio.Event() for key in waiting}
        kept: set[str] = set()
        users: Mapping[str, list[str]] = _users(resources)

        async def remove(resource: ResourceState) -> None:
            key = key_of(resource)
            try:
                for user in users.get(resource.urn, ()):
                    if user != key:
                        await gone[user].wait()
                if any(user in kept for user in users.get(resource.urn, ())) or not await self._remove(
                    resource, resources
                ):
                    kept.add(key)
            finally:
                gone[key].set()

        async with anyio.create_task_group() as tasks:
            for resource in order:
                tasks.start_soon(remove, resource)

    def _forbidden(self, resources: Sequence[ResourceState]) -> bool:
        protected = [one for one in resources if one.protect and not one.delete]
        for resource in protected:
            self.recorder.problem(
                "protected",
                f"{resource.name} is protected and would be deleted: take `protect` off first.",
                resource.urn,
            )
        if protected and self.dry_run:
            for resource in reversed(in_order(resources)):
                self._plan(resource)
        return bool(protected)

    def _plan(self, resource: ResourceState) -> None:
        hidden = is_default_provider(resource.urn) or resource.pending_replacement
        if not hidden and not self._ends_a_replacement(resource):
            self.recorder.step("delete", resource, resource)

    def _ends_a_replacement(self, resource: ResourceState) -> bool:
        """Whether a deletion is the second half of a replacement that the plan tells as one step."""
        step = self.recorder.steps.get(resource.urn)
        return resource.delete and step is not None and step.operation == "replace"

    async def _remove(self, resource: ResourceState, leaving: Sequence[ResourceState]) -> bool:
        """Delete one; returns whether it is gone."""
        unmanaged = resource.pending_replacement or not resource.custom or resource.external
        if self.dry_run or unmanaged or resource.type.startswith(PROVIDER_TYPE):
            await self.live.change(drop=[resource])
            return True
        swept = resource.deleted_with and any(one.urn == resource.deleted_with for one in leaving)
        replaced_earlier = resource.delete
        try:
            if self.approved is not None and not replaced_earlier:
                self.approved.check("delete", resource)
            await self._report(resource, "started")
            if swept:
                await self.live.change(drop=[resource])
            else:
                await self.changer.delete(await self.providers.of_state(resource), resource)
        except ProviderFailed as error:
            self.failed = True
            self.recorder.failed(resource.urn, error.message)
            await self._report(resource, "failed", self.recorder.masks.masked(error.message))
            return False
        await self._report(resource, "done")
        return True

    async def _report(self, resource: ResourceState, state: str, message: str = "") -> None:
        if self.dry_run or self._ends_a_replacement(resource):
            return
        if state == "done":
            self.done["delete"] = self.done.get("delete", 0) + 1
        total = len(self.approved.changing) if self.approved is not None else None
        await self.progress(
            StepReport(resource.urn, "delete", state, message, self.done.get("delete", 0), total)  # type: ignore[arg-type]  # one of the three states
        )


def _users(resources: Sequence[ResourceState]) -> dict[str, list[str]]:
    """Return, by URN, the keys of the resources that need it."""
    users: dict[str, list[str]] = {}
    for resource in resources:
        for urn in needs(resource):
            users.setdefault(urn, []).append(key_of(resource))
    return users
