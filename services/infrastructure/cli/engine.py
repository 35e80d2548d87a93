"""Runs stacks with the `pulumi` command. State, secrets and locks are its own, in the backend it uses."""

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import anyio.to_thread

from quantum_suite.core.errors import CallerError, Conflict, EngineError
from quantum_suite.services.infrastructure.cli.preview_digest import plan_of
from quantum_suite.services.infrastructure.digest import plan_digest
from quantum_suite.services.infrastructure.interface import (
    Deployment,
    Progress,
    RunOutcome,
    StackRef,
    StackRequest,
    StepReport,
    unheard,
)
from quantum_suite.services.infrastructure.plan import SECRET, Plan, PlanKind
from quantum_suite.services.infrastructure.project import read_project, source_digest
from quantum_suite.services.infrastructure.state.files import checked_stack
from quantum_suite.services.infrastructure.state.format import deployment_from_json
from quantum_suite.services.infrastructure.values import mapped_secrets
from quantum_suite.services.process import Completed, ProcessError, run

_MAX_BYTES = 256 * 1024 * 1024
_COMMON = ("--non-interactive", "--color", "never")


@dataclass(frozen=True, slots=True)
class CliEngine:
    """The `pulumi` command. A run is held to its plan by `--plan`, where the command takes one (`up`)."""

    command: str = "pulumi"
    name: str = "pulumi-cli"

    async def preview(
        self, request: StackRequest, progress: Progress = unheard, *, kind: PlanKind = "update"
    ) -> Plan:
        """Return what would be done."""
        return await self._plan(request, kind, ())

    async def up(self, request: StackRequest, digest: str, progress: Progress = unheard) -> RunOutcome:
        """Do what the plan of that digest says; the command refuses what its own saved plan does not have."""
        with tempfile.TemporaryDirectory(prefix="quantum-plan-") as place:
            saved = f"{place}/plan.json"
            plan = await self._plan(request, "update", ("--save-plan", saved))
            _check(plan, digest)
            options = ("up", "--yes", "--skip-preview", "--plan", saved, *self._options(request, program=True))
            return await self._run(request, plan, options, progress)

    async def destroy(self, request: StackRequest, digest: str, progress: Progress = unheard) -> RunOutcome:
        """Delete everything the state holds (or the targets, and what depends on them)."""
        plan = await self._plan(request, "destroy", ())
        _check(plan, digest)
        options = ("destroy", "--yes", "--skip-preview", *self._options(request, program=False))
        if request.targets:
            options = (*options, "--target-dependents")
        return await self._run(request, plan, options, progress)

    async def refresh(
        self, request: StackRequest, progress: Progress = unheard, *, digest: str = ""
    ) -> RunOutcome:
        """Bring the state up to the world; the world stays as it is. With a digest, exactly as that plan says."""
        plan = await self._plan(request, "refresh", ())
        if digest:
            _check(plan, digest)
        options = ("refresh", "--yes", "--skip-preview", *self._options(request, program=False))
        return await self._run(request, plan, options, progress)

    async def import_(self, request: StackRequest, progress: Progress = unheard) -> RunOutcome:
        """Take `request.import_` under management; the world stays as it is."""
        wanted = request.import_
        if wanted is None or wanted.urn.count("::") < 3:
            raise CallerError("There is nothing to import.", "Give a resource's URN and its id.", argument="urn")
        plan = await self._plan(request, "update", ())
        kind, name = wanted.urn.split("::")[2].rpartition("$")[2], wanted.urn.rpartition("::")[2]
        options = ("import", kind, name, wanted.id, "--yes", "--skip-preview", "--generate-code=false")
        return await self._run(request, plan, options, progress)

    async def state(self, ref: StackRef) -> Deployment:
        """Return the stack's state, without secrets' values."""
        checked_stack(ref.stack)
        project = await anyio.to_thread.run_sync(read_project, ref.folder)
        completed = await self._ask(StackRequest(ref), "stack", "export")
        return deployment_from_json(json.loads(completed.stdout), project.name, ref.stack)

    async def _plan(self, request: StackRequest, kind: PlanKind, more: Sequence[str]) -> Plan:
        checked_stack(request.ref.stack)
        project = await anyio.to_thread.run_sync(read_project, request.ref.folder)
        sources = await anyio.to_thread.run_sync(source_digest, request.ref.folder)
        verb = {
            "update": ("preview",),
            "destroy": ("destroy", "--preview-only"),
            "refresh": ("refresh", "--preview-only"),
        }
        if kind not in verb:
            raise CallerError(f"There is no preview of {kind}.", "Preview an update.", argument="kind")
        options = self._options(request, program=kind == "update")
        completed = await self._ask(request, *verb[kind], "--json", *options, *more)
        try:
            digest = json.loads(completed.stdout)
        except ValueError as error:
            raise self._failed("its preview is no JSON", completed) from error
        state = await self._ask(request, "stack", "export")
        plan = plan_of(
            digest,
            kind,
            project.name,
            request.ref.stack,
            engine=self.name,
            state_serial=0,
            source_digest=sources,
            config_digest=_stamp(state.stdout),
            options={
                name: value
                for name, value in {"targets": sorted(request.targets), "refresh": request.refresh}.items()
                if value
            },
        )
        return plan.model_copy(update={"digest": plan_digest(plan)})

    def _options(self, request: StackRequest, *, program: bool) -> tuple[str, ...]:
        """Return the options of a request. Raises CallerError for what would show in the list of processes."""
        if request.secret_config:
            raise CallerError(
                "Secrets are not handed to the pulumi command on its command line.",
                "Put them into the stack's file with `pulumi config set --secret`.",
                argument="secret_config",
            )
        options = [*(f"--target={urn}" for urn in request.targets), f"--parallel={request.parallel}"]
        if program:
            options += [f"--config={key}={value}" for key, value in sorted(request.config.items())]
            options += [f"--policy-pack={folder}" for folder in request.policy_packs]
            options += ["--refresh"] if request.refresh else []
        return tuple(options)

    async def _run(
        self, request: StackRequest, plan: Plan, options: Sequence[str], progress: Progress
    ) -> RunOutcome:
        with tempfile.TemporaryDirectory(prefix="quantum-events-") as place:
            log = Path(place) / "events"
            completed = await self._ask(request, *options, "--event-log", str(log), may_fail=True)
            events = _events(log)
        done: Counter[str] = Counter()
        failures: list[tuple[str, str]] = []
        messages: list[str] = []
        for event in events:
            if "resOutputsEvent" in event:
                about = event["resOutputsEvent"]["metadata"]
                if about["op"] not in ("same", "read"):
                    done[about["op"]] += 1
                    await progress(StepReport(about["urn"], "update", "done", about["op"], done.total()))
            elif "resOpFailedEvent" in event:
                failures.append((event["resOpFailedEvent"]["metadata"]["urn"], "it failed"))
            elif "diagnosticEvent" in event:
                told = event["diagnosticEvent"]
                if told.get("severity") == "error":
                    failures.append((told.get("urn", ""), told.get("message", "").strip()))
                elif told.get("severity") == "warning":
                    messages.append(told.get("message", "").strip())
        if completed.returncode and not failures:
            failures.append(("", completed.stderr_tail.strip() or f"exit status {completed.returncode}"))
        outputs = await self._ask(request, "stack", "output", "--json", may_fail=True)
        state: Literal["succeeded", "failed"] = "failed" if completed.returncode or failures else "succeeded"
        return RunOutcome(
            plan=plan,
            state=state,
            done=dict(done),
            failures=failures,
            pending=[one.resource.urn for one in (await self.state(request.ref)).pending],
            outputs=json.loads(outputs.stdout) if outputs.returncode == 0 and outputs.stdout.strip() else {},
            messages=messages,
            serial=0,
        )

    async def _ask(self, request: StackRequest, *options: str, may_fail: bool = False) -> Completed:
        environment = {**request.environment, "PULUMI_SKIP_UPDATE_CHECK": "true", "PULUMI_EXPERIMENTAL": "true"}
        try:
            completed = await run(
                [self.command, *options, "--stack", request.ref.stack, *_COMMON],
                cwd=request.ref.folder,
                env=environment,
                timeout_seconds=request.deadline_seconds,
                max_output_bytes=_MAX_BYTES,
                grace_seconds=30.0,
            )
        except ProcessError as error:
            raise error.as_engine_error(self.name) from error
        # A preview that fails still prints its digest, with the reason among the diagnostics.
        if completed.returncode and not may_fail and not completed.stdout.lstrip().startswith(b"{"):
            raise self._failed(f"exit status {completed.returncode}", completed)
        return completed

    def _failed(self, why: str, completed: Completed) -> EngineError:
        return EngineError(
            f"pulumi failed ({why}): {completed.stderr_tail.strip()[-500:]}",
            "See what it printed; `pulumi login` and `pulumi stack init` may be missing.",
            engine=self.name,
            printed=completed.stderr_tail,
        )


def _check(plan: Plan, digest: str) -> None:
    if plan.digest != digest:
        raise Conflict(
            "The plan is not the one that was approved: program, configuration, state or steps differ.",
            "Preview again, and have the new plan approved.",
        )
    if plan.problems:
        raise Conflict(
            f"The plan cannot be applied: {plan.problems[0].message}", "Settle that, and preview again."
        )


def _stamp(exported: bytes) -> str:
    """Return a digest of the state a plan starts from, without its times and its sealed values."""
    deployment: Any = json.loads(exported).get("deployment") or {}
    resources = mapped_secrets(deployment.get("resources") or [], lambda _: {"secret": SECRET})
    return hashlib.sha256(json.dumps(resources, sort_keys=True).encode()).hexdigest()


def _events(log: Path) -> list[Mapping[str, Any]]:
    """Return the events of a run; a last line that was cut off does not count."""
    found: list[Mapping[str, Any]] = []
    if log.exists():
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                break
    return found
