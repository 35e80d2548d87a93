"""One run of a program against a stack: what the program registers is compared with the state, and made so."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

import anyio

from quantum_suite.services.infrastructure.embedded.analysis import Analysis
from quantum_suite.services.infrastructure.embedded.approved import Approved
from quantum_suite.services.infrastructure.embedded.changer import Changer
from quantum_suite.services.infrastructure.embedded.deletions import Deletions
from quantum_suite.services.infrastructure.embedded.hosts import Difference, ProviderFailed, ProviderHost
from quantum_suite.services.infrastructure.embedded.live_state import LiveState
from quantum_suite.services.infrastructure.embedded.providers import Providers
from quantum_suite.services.infrastructure.embedded.recorder import Recorder
from quantum_suite.services.infrastructure.embedded.registration import (
    PROVIDER_TYPE,
    STACK_TYPE,
    Names,
    Registration,
    is_default_provider,
    split_reference,
)
from quantum_suite.services.infrastructure.interface import ImportRequest, Progress, ResourceState, StepReport
from quantum_suite.services.infrastructure.plan import Operation, ReplaceOrder
from quantum_suite.services.infrastructure.values import (
    UNKNOWN_VALUE,
    covers,
    differing_paths,
    has_unknown,
    plain,
    with_kept,
)


@dataclass(frozen=True, slots=True)
class Registered:
    """What a program is told of a resource."""

    urn: str
    id: str
    outputs: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Decision:
    operation: Operation
    difference: Difference = field(default_factory=lambda: Difference(False))
    reasons: tuple[tuple[str, str], ...] = ()
    order: ReplaceOrder | None = None


@dataclass(slots=True)
class Deploying:
    """Answers registrations, any number at once. `dry_run` changes nothing outside the memory."""

    names: Names
    live: LiveState
    providers: Providers
    changer: Changer
    deletions: Deletions
    recorder: Recorder
    analysis: Analysis
    progress: Progress
    dry_run: bool
    approved: Approved | None = None
    targets: frozenset[str] = frozenset()
    pending_answers: Mapping[str, str] = field(default_factory=dict)
    import_: ImportRequest | None = None
    root: str = ""
    seen: set[str] = field(default_factory=set)
    skipped: set[str] = field(default_factory=set)
    replaced: set[str] = field(default_factory=set)
    aliases: dict[str, list[str]] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    done: dict[str, int] = field(default_factory=dict)
    _turns: dict[str, anyio.Lock] = field(default_factory=dict)

    async def register(self, registration: Registration) -> Registered:
        """Bring one resource to what the program says; raises ProviderFailed and the suite's errors."""
        urn = self.names.urn(registration.type, registration.name, registration.parent)
        if urn in self.seen:
            self.recorder.problem("duplicate_urn", f"{urn} is declared twice.", urn)
            raise ProviderFailed(f"Duplicate resource URN '{urn}': give one of them another name.")
        self.seen.add(urn)
        self.recorder.masks.learn(registration.inputs)
        old = await self._old(registration, urn)
        if registration.type == STACK_TYPE:
            self.root = urn
        if not registration.custom:
            return await self._register_component(registration, urn, old)
        if registration.type.startswith(PROVIDER_TYPE):
            return await self._register_provider(registration, urn, old)
        if self._untargeted(urn):
            return self._leave_alone(registration, urn, old)
        self._check_skipped(registration, urn)
        return await self._register_custom(registration, urn, old)

    async def _old(self, registration: Registration, urn: str) -> ResourceState | None:
        aliases = self.names.aliases(registration, self.aliases.get(registration.parent, ()))
        self.aliases[urn] = aliases
        old = self.live.get(urn)
        if old is not None:
            return old
        for alias in aliases:
            earlier = self.live.get(alias)
            if earlier is not None and alias not in self.seen:
                return await self.live.rename(earlier, urn, registration.type)
        return None

    async def _register_component(
        self, registration: Registration, urn: str, old: ResourceState | None
    ) -> Registered:
        new = replace(
            self._state(registration, urn, registration.inputs),
            custom=False,
            outputs=old.outputs if old is not None else {},
        )
        self.recorder.step("same" if old is not None else "create", new, old)
        if new != old:
            await self.live.change(put=[new])
        return Registered(urn, "", registration.inputs)

    async def _register_provider(
        self, registration: Registration, urn: str, old: ResourceState | None
    ) -> Registered:
        """Check a provider's configuration, start it, and keep it in the state; it makes nothing by itself."""
        host = await self.providers.unconfigured(
            registration.type.removeprefix(PROVIDER_TYPE), registration.version
        )
        self.providers.used.add(urn)
        inputs = await host.check_config(urn, old.inputs if old is not None else {}, registration.inputs)
        new = replace(self._state(registration, urn, inputs), outputs=inputs)
        operation: Operation = "create"
        if old is None:
            new = replace(new, id=str(uuid4()))
        else:
            new = replace(new, id=old.id)
            operation = "same" if plain(old.inputs) == plain(inputs) else "update"
            differs = await host.diff_config(urn, old.id, old.inputs, inputs) if operation == "update" else None
            if differs is not None and differs.replaces:
                # What it made goes on under the new one; its users see another reference, and are replaced.
                operation, new = "replace", replace(new, id=str(uuid4()))
                self.replaced.add(urn)
        reasons = (
            [(key, "the provider cannot change it") for key in differs.replaces]
            if old and operation == "replace" and differs
            else []
        )
        self.recorder.step(operation, new, old, replaces=reasons)
        self._hold_to_plan(operation, new)
        if not has_unknown(inputs):
            await host.configure(inputs, urn, new.id)
        self.providers.adopt(urn, host)
        if new != old:
            await self.live.change(put=[new])
        return Registered(urn, new.id, inputs)

    async def _register_custom(
        self, registration: Registration, urn: str, old: ResourceState | None
    ) -> Registered:
        reference, host = await self.providers.of(registration)
        old = await self._settled(registration, urn, old, host)
        inputs = dict(registration.inputs)
        if old is not None and registration.ignore_changes:
            inputs = with_kept(inputs, old.inputs, registration.ignore_changes)
        checked = await self._checked(host, urn, old, inputs)
        new = replace(self._state(registration, urn, checked), provider=reference)
        await self.analysis.resource(new, registration)
        import_id = self._import_id(registration, urn, old)
        if import_id:
            return await self._import(host, new, import_id)
        decision = await self._decide(registration, host, old, new)
        return await self._carry_out(registration, host, old, new, decision)

    async def _checked(
        self, host: ProviderHost, urn: str, old: ResourceState | None, inputs: Mapping[str, Any]
    ) -> dict[str, Any]:
        if not host.configured:
            return dict(inputs)
        return await host.check(urn, old.inputs if old is not None else {}, inputs)

    async def _settled(
        self, registration: Registration, urn: str, old: ResourceState | None, host: ProviderHost
    ) -> ResourceState | None:
        """Find out what became of what an earlier run left open; returns the resource as it is."""
        pending = self.live.pending.get(urn)
        if pending is None or pending.resource.delete:
            return old
        if pending.type == "creating":
            answer = self.pending_answers.get(urn, "")
            if answer == "absent":
                await self.live.change(settled=[urn])
            elif answer:
                found = await self.changer.read(host, replace(pending.resource, id=answer))
                if found is None:
                    raise ProviderFailed(f"There is nothing under the id {answer}.")
                await self.live.change(put=[found], settled=[urn])
                return found
            elif "__identity" not in pending.resource.inputs:
                self.recorder.unsettled(pending.resource)
                raise ProviderFailed("An interrupted creation has to be settled first.")
            return old
        if old is None:
            return None
        there = await self.changer.read(host, old)
        if there is None:
            await self.live.change(drop=[old], settled=[urn])
            return None
        if pending.type == "updating":
            # Half an update may have been made: it is made again, whatever the provider says of the difference.
            there = replace(there, inputs=old.inputs, init_errors=("an update was interrupted",))
        else:
            there = old
        await self.live.change(put=[there], settled=[urn])
        return there

    def _import_id(self, registration: Registration, urn: str, old: ResourceState | None) -> str:
        wanted = registration.import_id
        if self.import_ is not None and self.import_.urn == urn:
            wanted = self.import_.id
        return wanted if wanted and (old is None or wanted not in (old.id, old.import_id)) else ""

    async def _import(self, host: ProviderHost, new: ResourceState, resource_id: str) -> Registered:
        found = await self.changer.read(host, replace(new, id=resource_id))
        if found is None:
            raise ProviderFailed(f"There is nothing to import under the id {resource_id}.")
        differs = await host.diff(new.urn, found.id, (found.inputs, found.outputs), new.inputs)
        if differs.changed or (differs.changed is None and plain(found.inputs) != plain(new.inputs)):
            told = [path for path, _, _ in differing_paths({**found.outputs, **found.inputs}, new.inputs)]
            named = ", ".join([*differs.replaces, *told][:5])
            raise ProviderFailed(f"What is there is not what the program declares ({named}); change the program.")
        new = replace(new, id=found.id, outputs=found.outputs, import_id=resource_id)
        self.recorder.step("import", new, None)
        self._hold_to_plan("import", new)
        await self.live.change(put=[new])
        await self._report(new.urn, "import", "done")
        return Registered(new.urn, new.id, new.outputs)

    async def _decide(
        self, registration: Registration, host: ProviderHost, old: ResourceState | None, new: ResourceState
    ) -> _Decision:
        if old is None or old.external:
            return _Decision("create")
        if old.pending_replacement:
            return _Decision("create")
        differs = await self._difference(registration, host, old, new)
        reasons = self._replacement_reasons(registration, old, new, differs)
        if reasons:
            first = registration.delete_before_replace
            first = differs.delete_before_replace if first is None else first
            if plain(new.inputs.get("__identity")) == old.id:
                first = True  # Both cannot be there at once.
            return _Decision(
                "replace", differs, reasons, "delete_before_create" if first else "create_before_delete"
            )
        changed = differs.changed
        if changed is None:
            changed = plain(old.inputs) != plain(new.inputs)
        return _Decision("update" if changed or old.init_errors else "same", differs)

    async def _difference(
        self, registration: Registration, host: ProviderHost, old: ResourceState, new: ResourceState
    ) -> Difference:
        if not host.configured:
            return Difference(None)
        return await host.diff(new.urn, old.id, (old.inputs, old.outputs), new.inputs, registration.ignore_changes)

    def _replacement_reasons(
        self, registration: Registration, old: ResourceState, new: ResourceState, differs: Difference
    ) -> tuple[tuple[str, str], ...]:
        reasons = [(key, "its provider cannot change it in place") for key in differs.replaces]
        changed = [path for path, _, _ in differing_paths(old.inputs, new.inputs)]
        reasons += [
            (path, "the program asks to replace on this change")
            for path in changed
            if any(covers(pattern, path) for pattern in registration.replace_on_changes)
        ]
        before, now = split_reference(old.provider)[0], split_reference(new.provider)[0]
        if before != now and not (is_default_provider(before) and is_default_provider(now)):
            reasons.append(("", f"it moves to another provider ({now.rpartition('::')[2]})"))
        elif now in self.replaced:
            reasons.append(("", "its provider is replaced"))
        reasons += [
            ("", f"{urn.rpartition('::')[2]} is replaced")
            for urn in registration.replace_with
            if urn in self.replaced
        ]
        return tuple(dict(reversed(reasons)).items()) if reasons else ()

    async def _carry_out(
        self,
        registration: Registration,
        host: ProviderHost,
        old: ResourceState | None,
        new: ResourceState,
        decision: _Decision,
    ) -> Registered:
        operation = decision.operation
        self.recorder.step(operation, new, old, replaces=decision.reasons, order=decision.order)
        if operation == "same" and old is not None:
            return await self._keep(old, new)
        self._hold_to_plan(operation, new)
        if operation == "replace" and old is not None and old.protect:
            message = f"{old.name} is protected and would be replaced: take `protect` off first."
            self.recorder.problem("protected", message, new.urn)
            raise ProviderFailed(message)
        await self._report(new.urn, operation, "started")
        try:
            made = await self._made(registration, host, old, new, decision)
        except ProviderFailed as error:
            self.recorder.failed(new.urn, error.message)
            await self._report(new.urn, operation, "failed", self.recorder.masks.masked(error.message))
            raise
        await self._report(new.urn, operation, "done")
        shown_id = made.id if not self.dry_run or operation == "update" else ""
        return Registered(new.urn, shown_id, made.outputs)

    async def _made(
        self,
        registration: Registration,
        host: ProviderHost,
        old: ResourceState | None,
        new: ResourceState,
        decision: _Decision,
    ) -> ResourceState:
        if decision.operation == "update" and old is not None:
            return await self.changer.update(host, old, new, decision.difference, registration.ignore_changes)
        if decision.operation != "replace" or old is None:
            return await self.changer.create(host, new)
        self.replaced.add(new.urn)
        if decision.order == "create_before_delete":
            return await self.changer.create(host, new, beside=old)
        await self.deletions.before_replacement(old, {key for key, _ in decision.reasons})
        return await self.changer.create(host, new)

    async def _keep(self, old: ResourceState, new: ResourceState) -> Registered:
        kept = replace(new, id=old.id, outputs=old.outputs, import_id=old.import_id)
        if self.dry_run:
            self._hold_to_plan("same", kept)
        if kept != old:
            await self.live.change(put=[kept])
        return Registered(new.urn, old.id, old.outputs)

    def _hold_to_plan(self, operation: Operation, new: ResourceState) -> None:
        if self.approved is not None:
            self.approved.check(operation, new)

    def _untargeted(self, urn: str) -> bool:
        return bool(self.targets) and urn not in self.targets

    def _leave_alone(self, registration: Registration, urn: str, old: ResourceState | None) -> Registered:
        if old is None:
            self.skipped.add(urn)
            return Registered(urn, "", registration.inputs)
        self.providers.used.add(split_reference(old.provider)[0])
        return Registered(urn, old.id, old.outputs)

    def _check_skipped(self, registration: Registration, urn: str) -> None:
        missing = self.skipped.intersection(registration.dependencies)
        if missing:
            named = ", ".join(sorted(missing))
            self.recorder.problem("targets", f"{urn} needs {named}, which does not exist and is no target.", urn)
            raise ProviderFailed(f"It needs {named}, which does not exist yet: name it among the targets.")

    async def read(self, registration: Registration, resource_id: str) -> Registered:
        """Look a resource up that something else manages."""
        urn = self.names.urn(registration.type, registration.name, registration.parent)
        self.seen.add(urn)
        if resource_id == UNKNOWN_VALUE or has_unknown(registration.inputs):
            return Registered(urn, "", registration.inputs)
        reference, host = await self.providers.of(registration)
        state = replace(self._state(registration, urn, registration.inputs), provider=reference, external=True)
        found = await self.changer.read(host, replace(state, id=resource_id))
        if found is None:
            raise ProviderFailed(f"There is no {registration.type} with the id {resource_id}.")
        self.recorder.step("read", found, None)
        await self.live.change(put=[found])
        return Registered(urn, found.id, found.outputs)

    async def take_outputs(self, urn: str, outputs: Mapping[str, Any]) -> None:
        """Take the outputs of a component; those of the root are the stack's."""
        self.recorder.masks.learn(outputs)
        if urn == self.root:
            self.outputs = outputs
        entry = self.live.get(urn)
        if entry is not None and entry.outputs != outputs:
            await self.live.change(put=[replace(entry, outputs=outputs)])

    async def finish(self) -> None:
        """Delete what the program no longer declares; called when it ended well."""
        await self.analysis.stack(self.live.all())
        await self.deletions.leftovers(self.seen, self.providers.used, self.targets)

    def _state(self, registration: Registration, urn: str, inputs: Mapping[str, Any]) -> ResourceState:
        return ResourceState(
            urn=urn,
            type=registration.type,
            custom=registration.custom,
            inputs=inputs,
            parent=registration.parent,
            dependencies=registration.dependencies,
            property_dependencies=registration.property_dependencies,
            protect=registration.protect,
            retain_on_delete=registration.retain_on_delete,
            deleted_with=registration.deleted_with,
            additional_secret_outputs=registration.additional_secret_outputs,
            custom_timeouts=registration.custom_timeouts,
        )

    async def _report(self, urn: str, operation: Operation, state: Any, message: str = "") -> None:
        if state == "done" and not self.dry_run:
            self.done[operation] = self.done.get(operation, 0) + 1
        if not self.dry_run:
            total = len(self.approved.changing) if self.approved is not None else None
            await self.progress(StepReport(urn, operation, state, message, sum(self.done.values()), total))
