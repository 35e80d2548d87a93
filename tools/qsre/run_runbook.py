"""Shows what a runbook would do, and starts exactly that."""

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.errors import CallerError, Conflict
from quantum_suite.core.principals import Principal
from quantum_suite.services.incidents.incidents import Incidents
from quantum_suite.services.runbooks.compiling import INCIDENT, compile_runbook
from quantum_suite.services.runbooks.model import PlannedStep
from quantum_suite.services.runbooks.reading import SHIPPED, filled_in, input_values, read_runbook, shipped_runbook
from quantum_suite.services.workflows.composite.composites import Composites, check_inputs
from quantum_suite.services.workflows.composite.problems import InvalidDefinition
from quantum_suite.services.workflows.interface import Owner, RunState, Workflows
from quantum_suite.services.workspaces import Workspaces

MAX_BYTES = 64 * 1024


class RunbookStepRow(BaseModel):
    """What one step would do."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="The step.")
    title: str = Field(description="What it is for.")
    effect: Literal["reads", "changes", "verifies"] = Field(
        description="reads: changes nothing. changes: people are asked before. verifies: asks until it holds."
    )
    tool: str = Field(description="The tool it calls.")
    arguments: dict[str, Any] = Field(description="What with; ${{ }} is worked out as the run goes.")
    undo: str = Field(description="The tool that takes it back when a later step fails; empty: nothing does.")
    holds: str = Field(description="What must hold, over the tool's result; else the run fails and is undone.")


class RunbookAnswer(BaseModel):
    """The plan of a runbook, or its run."""

    model_config = ConfigDict(frozen=True)

    runbook: str = Field(description="Its name.")
    description: str = Field(description="What it is for.")
    steps: tuple[RunbookStepRow, ...] = Field(description="Its steps in order.")
    plan: str = Field(description="Digest of exactly these steps and inputs: give it to start them.")
    run: str | None = Field(description="The run that was started; null: nothing has been done.")
    state: RunState | None = Field(description="How the run stands.")
    incident: str | None = Field(description="The incident whose timeline is written to.")


@dataclass(frozen=True, slots=True)
class RunbookRequest:
    """What a caller asks."""

    runbook: str
    inputs: Mapping[str, Any]
    incident: str | None = None
    plan: str | None = None


@dataclass(frozen=True, slots=True)
class RunbookRunner:
    """Plans and starts runbooks. One object serves every call."""

    incidents: Incidents
    workspaces: Workspaces
    composites: Composites
    open_workflows: Callable[[], Awaitable[Workflows]]

    async def run(self, request: RunbookRequest, principal: Principal, wait_seconds: float) -> RunbookAnswer:
        """Return the plan, or start it where the caller gives the plan's digest.

        The run works under the caller's rights. Raises CallerError with the place of what is wrong in the runbook
        or its inputs, NotFound for the incident, Conflict where the plan is no longer what was shown.
        """
        if request.incident is not None:
            await self.incidents.get(request.incident)
        owner = _owner(principal)
        text = await anyio.to_thread.run_sync(self._text, request.runbook, principal)
        runbook = read_runbook(text, request.inputs)
        name = f"runbook_{runbook.name}_{hashlib.sha256(principal.id.encode()).hexdigest()[:8]}"
        source, planned = compile_runbook(runbook, name, await self.composites.offers(owner))
        inputs = {**request.inputs, **({INCIDENT: request.incident} if request.incident else {})}
        await self._check(source, inputs, owner)
        plan = hashlib.sha256(json.dumps([source, inputs], sort_keys=True).encode()).hexdigest()[:32]
        values = input_values(runbook, request.inputs)
        rows = tuple(_row(step, values) for step in planned)
        answer = RunbookAnswer(
            runbook=runbook.name,
            description=runbook.description,
            steps=rows,
            plan=plan,
            run=None,
            state=None,
            incident=request.incident,
        )
        if request.plan is None:
            return answer
        if request.plan != plan:
            raise Conflict(
                "The runbook, its inputs or the tools are not what was planned.",
                "Look at the plan anew.",
                argument="plan",
            )
        await self.composites.define(source, owner)
        start = await self.composites.start(name, inputs, owner)
        workflows = await self.open_workflows()
        run = await workflows.start(start.workflow, start.arguments, owner)
        run = await workflows.wait(run.id, wait_seconds) if wait_seconds else run
        return answer.model_copy(update={"run": run.id, "state": run.state})

    async def _check(self, source: str, inputs: Mapping[str, Any], owner: Owner) -> None:
        """Raise CallerError for what the orchestrator would not take, by places of the workflow made of it."""
        try:
            definition, problems = await self.composites.check(source, owner)
        except InvalidDefinition as error:
            raise CallerError(str(error), argument="runbook") from error
        wrong = [problem for problem in problems if problem.severity == "error"]
        if wrong:
            told = " ".join(f"{one.path}: {one.message} {one.hint}".strip() for one in wrong[:5])
            raise CallerError(f"The runbook cannot run. {told}", argument="runbook")
        check_inputs(definition, dict(inputs))

    def _text(self, runbook: str, principal: Principal) -> str:
        if "/" not in runbook and not runbook.endswith((".yaml", ".yml")):
            return shipped_runbook(runbook)
        path = self.workspaces.resolve(runbook, principal, argument="runbook")
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            raise CallerError(
                f"{path.name} is no file of at most {MAX_BYTES // 1024} kB.",
                f"Name a file, or one of {', '.join(SHIPPED)}.",
                argument="runbook",
            )
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise CallerError(f"{path.name} is no UTF-8 text: {error}.", argument="runbook") from error


def _owner(principal: Principal) -> Owner:
    return Owner(principal.id, tuple(sorted(role.value for role in principal.roles)), principal.workspaces)


def _row(step: PlannedStep, values: Mapping[str, Any]) -> RunbookStepRow:
    told = {**asdict(step), "arguments": filled_in(dict(step.arguments), values)}
    return RunbookStepRow(**{name: told[name] for name in RunbookStepRow.model_fields})


def effects(steps: Sequence[RunbookStepRow]) -> str:
    """Return how many steps read, change and verify, in words."""
    counts = {effect: sum(step.effect == effect for step in steps) for effect in ("reads", "changes", "verifies")}
    return ", ".join(f"{many} {effect}" for effect, many in counts.items() if many)
