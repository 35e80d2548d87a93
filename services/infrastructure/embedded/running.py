"""One run from lock to written state: plan, compare with what was approved, then do it."""

import hmac
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import anyio

import quantum_suite
from quantum_suite.core.errors import Conflict, EngineError, SuiteError
from quantum_suite.services.infrastructure.digest import differences, plan_digest
from quantum_suite.services.infrastructure.embedded.analysis import Analysis, open_packs
from quantum_suite.services.infrastructure.embedded.approved import Approved
from quantum_suite.services.infrastructure.embedded.changer import Changer
from quantum_suite.services.infrastructure.embedded.deletions import Deletions
from quantum_suite.services.infrastructure.embedded.deploying import Deploying
from quantum_suite.services.infrastructure.embedded.hosts import ProviderFailed, ProviderHost
from quantum_suite.services.infrastructure.embedded.live_state import LiveState
from quantum_suite.services.infrastructure.embedded.masks import Masks
from quantum_suite.services.infrastructure.embedded.order import Answer, Order
from quantum_suite.services.infrastructure.embedded.plugins import Plugins, Surroundings
from quantum_suite.services.infrastructure.embedded.program import Program, interpreter_of
from quantum_suite.services.infrastructure.embedded.providers import Providers
from quantum_suite.services.infrastructure.embedded.recorder import Recorder
from quantum_suite.services.infrastructure.embedded.refreshing import Refreshing
from quantum_suite.services.infrastructure.embedded.registration import Names
from quantum_suite.services.infrastructure.interface import Deployment, Progress, RunOutcome
from quantum_suite.services.infrastructure.plan import SECRET, Plan, PlanKind
from quantum_suite.services.infrastructure.project import (
    Configuration,
    Project,
    read_configuration,
    read_project,
    source_digest,
)
from quantum_suite.services.infrastructure.state.files import FileStateStore
from quantum_suite.services.infrastructure.state.format import ENGINE_VERSION, dependents, in_order
from quantum_suite.services.infrastructure.state.journal import Journal
from quantum_suite.services.infrastructure.state.secrets import StateSecrets
from quantum_suite.services.infrastructure.values import canonical
from quantum_suite.services.process_group import secrets_in
from quantum_suite.services.sandbox.interface import Sandbox

LOCK_SECONDS = 10.0
"""How long a run waits for another to let go of the stack."""

ENGINE_NAME = "pulumi-embedded"


@dataclass(slots=True)
class _Pass:
    """One pass over the stack: the plan's, or the real one."""

    run: Deploying
    refreshing: Refreshing


@dataclass(slots=True)
class _Helpers:
    """The processes that a run's passes share."""

    plugins: Plugins
    packs: Sequence[Any]
    hosts: dict[str, ProviderHost] = field(default_factory=dict)


class Running:
    """A run. Make one for each order."""

    def __init__(self, order: Order, sandbox: Sandbox, progress: Progress) -> None:
        self._order = order
        self._request = order.request
        self._sandbox = sandbox
        self._progress = progress
        self._store = FileStateStore(order.state_dir)
        self._key = hmac.digest(order.keys[0].secret, b"infrastructure/plan", "sha256")
        self._masks = Masks(secrets_in(order.request.environment))
        self.stopping = anyio.Event()
        """Set to begin nothing new; what is in flight comes to its end."""

    async def answer(self) -> Answer:
        """Carry the order out; raises the suite's errors."""
        project = await anyio.to_thread.run_sync(read_project, self._request.ref.folder)
        configuration = await anyio.to_thread.run_sync(read_configuration, project, self._request)
        self._masks.learn_texts(configuration.values[key] for key in configuration.secret_keys)
        try:
            if self._order.verb == "preview":
                async with self._plugins(project, writable=False) as helpers:
                    return Answer(plan=(await self._plan(project, configuration, self._opened(), helpers))[0])
            async with (
                self._store.locked(self._request.ref, LOCK_SECONDS),
                self._plugins(project, writable=True) as helpers,
            ):
                return Answer(outcome=await self._carry_out(project, configuration, helpers))
        except ProviderFailed as error:
            said = self._masks.masked(error.message)
            raise EngineError(said, "See what the provider says.", engine="pulumi") from error

    def _opened(self) -> Deployment:
        return self._secrets().opened(self._store.read(self._request.ref))

    def _secrets(self) -> StateSecrets:
        return StateSecrets(self._order.keys, self._store.place(self._request.ref).parent.name)

    async def _plan(
        self, project: Project, configuration: Configuration, base: Deployment, helpers: _Helpers
    ) -> tuple[Plan, _Pass]:
        kind = _kind_of(self._order)
        sources = await anyio.to_thread.run_sync(source_digest, project.folder)
        one = self._pass(project, configuration, LiveState(base), helpers, dry_run=True)
        try:
            await self._go_through(project, configuration, one, kind)
        except (EngineError, ProviderFailed):
            # A problem that the plan names says more than the program that stumbled over it.
            if not one.run.recorder.problems:
                raise
        return self._written(project, configuration, base, one.run, kind, sources), one

    async def _go_through(
        self, project: Project, configuration: Configuration, one: _Pass, kind: PlanKind, *, again: bool = False
    ) -> None:
        """Do one pass: `again` where what the plan's pass read is to be applied rather than read anew."""
        with _ungrouped():
            await self._steps_of(project, configuration, one, kind, again)

    async def _steps_of(
        self, project: Project, configuration: Configuration, one: _Pass, kind: PlanKind, again: bool
    ) -> None:
        run, targets = one.run, one.run.targets
        if kind == "refresh" or self._request.refresh:
            if not again:
                await one.refreshing.read_all(targets)
            await one.refreshing.apply(steps=kind == "refresh")
        if kind == "refresh":
            if not run.dry_run:
                await run.deletions.settle_creations(set())
        elif kind == "destroy":
            await run.deletions.everything(targets)
        else:
            program = Program(project, configuration, self._surroundings(project), self._request.parallel)
            await program.run(run)
            await run.finish()

    async def _carry_out(self, project: Project, configuration: Configuration, helpers: _Helpers) -> RunOutcome:
        base = await anyio.to_thread.run_sync(self._opened)
        plan, planned = await self._plan(project, configuration, base, helpers)
        self._check(plan)
        secrets = self._secrets()
        secrets.opened(self._store.read(self._request.ref))  # Learns the ciphertexts, so that they stay the same.
        serial, journal = await anyio.to_thread.run_sync(self._begin, base, secrets)
        live = LiveState(base, journal, secrets)
        kind = _kind_of(self._order)
        one = self._pass(project, configuration, live, helpers, dry_run=False)
        recorder = planned.run.recorder
        one.refreshing.found = planned.refreshing.found
        one.run.approved = one.run.deletions.approved = Approved(recorder.steps, recorder.inputs)
        try:
            await self._go_through(project, configuration, one, kind, again=True)
        except (EngineError, ProviderFailed) as error:
            if not one.run.recorder.failures:
                one.run.recorder.failed("", error.message)
        finally:
            with anyio.CancelScope(shield=True):
                serial = await anyio.to_thread.run_sync(self._end, live, journal, base, serial, project)
        return self._outcome(plan, one.run, live, serial)

    def _check(self, plan: Plan) -> None:
        """Refuse to begin unless the plan is the one that was approved, and may be applied."""
        bound = self._order.verb in ("up", "destroy") or self._order.digest
        if bound and plan.digest != self._order.digest:
            approved = self._order.approved
            told = differences(Plan.model_validate(approved), plan) if approved else []
            raise Conflict(
                f"The plan is not the one that was approved: {'; '.join(told) or 'its digest is another'}.",
                "Preview again, and have the new plan approved.",
            )
        if plan.problems:
            raise Conflict(
                f"The plan cannot be applied: {plan.problems[0].message}", "Settle that, and preview again."
            )
        against = [verdict for verdict in plan.verdicts if verdict.level == "mandatory"]
        if against:
            raise Conflict(
                f"Policy {against[0].pack}/{against[0].rule} forbids the plan: {against[0].message}",
                "Change the program to what the policy asks for.",
            )

    def _begin(self, base: Deployment, secrets: StateSecrets) -> tuple[int, Journal]:
        """Take a killed run's journal into the state, and begin this one's."""
        stored = self._store.read(self._request.ref)
        serial = stored.serial
        if self._store.has_journal(self._request.ref):
            serial += 1
            self._store.write(self._request.ref, replace(stored, serial=serial))
        return serial, self._store.begin_journal(self._request.ref, replace(stored, serial=serial))

    def _end(self, live: LiveState, journal: Journal, base: Deployment, serial: int, project: Project) -> int:
        """Write the state, where it is another than before; returns its serial."""
        journal.close()
        if live.all() == list(base.resources) and list(live.pending.values()) == list(base.pending) and serial:
            self._store.forget_journal(self._request.ref)
            return serial
        self._store.write(self._request.ref, live.deployment(project.name, self._request.ref.stack, serial + 1))
        return serial + 1

    @asynccontextmanager
    async def _plugins(self, project: Project, *, writable: bool) -> AsyncIterator[_Helpers]:
        surroundings = self._surroundings(project, writable=writable)
        async with Plugins(surroundings, self._masks) as plugins:
            env = _policy_env(project, self._request.ref.stack)
            packs = await open_packs(plugins, surroundings.python, self._request.policy_packs, env)
            yield _Helpers(plugins, packs)

    def _pass(
        self, project: Project, configuration: Configuration, live: LiveState, helpers: _Helpers, *, dry_run: bool
    ) -> _Pass:
        request = self._request
        recorder = Recorder(self._masks, self._key)
        names = Names(project.name, request.ref.stack)
        providers = Providers(
            helpers.plugins, live, names, configuration.values, configuration.secret_keys, helpers.hosts
        )
        places = anyio.CapacityLimiter(max(1, request.parallel))
        changer = Changer(live, recorder, dry_run, places, self.stopping)
        deletions = Deletions(live, providers, changer, recorder, self._progress, dry_run)
        run = Deploying(
            names,
            live,
            providers,
            changer,
            deletions,
            recorder,
            Analysis(recorder, helpers.packs if dry_run else ()),
            self._progress,
            dry_run,
            targets=frozenset(request.targets or ([request.import_.urn] if request.import_ else [])),
            pending_answers=request.pending,
            import_=request.import_,
        )
        return _Pass(run, Refreshing(live, providers, changer, recorder))

    def _surroundings(self, project: Project, *, writable: bool = False) -> Surroundings:
        request = self._request
        return Surroundings(
            sandbox=self._sandbox,
            folder=project.folder,
            python=interpreter_of(project, Path(sys.executable)),
            environment={**request.environment, "PULUMI_PROJECT": project.name, "PULUMI_STACK": request.ref.stack},
            readable=package_folders(),
            writable=[project.folder] if writable else [],
            program_network=self._order.program_network,
            seconds=request.deadline_seconds,
        )

    def _written(
        self,
        project: Project,
        configuration: Configuration,
        base: Deployment,
        run: Deploying,
        kind: PlanKind,
        sources: str,
    ) -> Plan:
        recorder, request = run.recorder, self._request
        config = {
            key: SECRET if key in configuration.secret_keys else self._masks.masked(value)
            for key, value in sorted(configuration.values.items())
        }
        whole = {resource.urn: resource for resource in (*base.resources, *run.live.all())}
        ordered = [resource.urn for resource in in_order(sorted(whole.values(), key=lambda one: one.urn))]
        rank = {urn: place for place, urn in enumerate(ordered)}
        steps = sorted(recorder.steps.items(), key=lambda item: (rank.get(item[1].urn, -1), item[0]))
        plan = Plan(
            kind=kind,
            engine=ENGINE_NAME,
            engine_version=ENGINE_VERSION,
            project=project.name,
            stack=request.ref.stack,
            state_serial=base.serial,
            source_digest=sources,
            config_digest=hmac.digest(
                self._key, canonical([dict(configuration.values), sorted(configuration.secret_keys)]), "sha256"
            ).hex(),
            config=config,
            options=_options(request),
            steps=tuple(
                step
                if step.operation in ("same", "read", "create")
                else step.model_copy(
                    update={"blast_radius": tuple(sorted(dependents({step.urn}, list(whole.values()))))}
                )
                for _, step in steps
            ),
            drift=tuple(sorted(recorder.drift, key=lambda one: one.urn)),
            verdicts=tuple(recorder.verdicts),
            problems=tuple(sorted(recorder.problems, key=lambda one: (one.urn, one.code))),
            outputs=self._masks.shown(run.outputs),
            messages=tuple(recorder.messages),
        )
        return plan.model_copy(update={"digest": plan_digest(plan)})

    def _outcome(self, plan: Plan, run: Deploying, live: LiveState, serial: int) -> RunOutcome:
        failures = run.recorder.failures
        state: Literal["succeeded", "failed", "interrupted"] = (
            "failed" if failures or run.recorder.problems else "succeeded"
        )
        if self.stopping.is_set():
            state = "interrupted"
        done = dict(run.done)
        for operation, number in run.deletions.done.items():
            done[operation] = done.get(operation, 0) + number
        told = [*failures, *((one.urn, one.message) for one in run.recorder.problems)]
        return RunOutcome(
            plan=plan,
            state=state,
            done=done,
            failures=told,
            pending=sorted(live.pending),
            outputs=self._masks.shown(run.outputs),
            messages=run.recorder.messages,
            serial=serial,
        )


@contextmanager
def _ungrouped() -> Iterator[None]:
    """Raise the first error that says something out of those that tasks raised together."""
    try:
        yield
    except BaseExceptionGroup as group:
        found = _first(group)
        if found is None:
            raise
        raise found from group


def _first(group: BaseExceptionGroup[BaseException]) -> Exception | None:
    for error in group.exceptions:
        found = _first(error) if isinstance(error, BaseExceptionGroup) else error
        if isinstance(found, SuiteError | ProviderFailed):
            return found
    return None


def _kind_of(order: Order) -> PlanKind:
    kinds: dict[str, PlanKind] = {"up": "update", "destroy": "destroy", "refresh": "refresh", "import": "import"}
    if order.verb != "preview":
        return kinds[order.verb]
    return "destroy" if order.kind == "destroy" else "refresh" if order.kind == "refresh" else "update"


def _options(request: Any) -> dict[str, Any]:
    chosen = {"targets": sorted(request.targets), "refresh": request.refresh, "pending": dict(request.pending)}
    if request.import_ is not None:
        chosen["import"] = {"urn": request.import_.urn, "id": request.import_.id}
    return {name: value for name, value in chosen.items() if value}


def _policy_env(project: Project, stack: str) -> dict[str, str]:
    return {"PULUMI_PROJECT": project.name, "PULUMI_STACK": stack, "PULUMI_DRY_RUN": "true"}


def package_folders() -> list[Path]:
    """Return where this package's own code lies, for programs that use its library of providers."""
    package = Path(quantum_suite.__file__).parent
    return [package, *(path.resolve() for path in package.iterdir() if path.is_symlink() and path.is_dir())]
