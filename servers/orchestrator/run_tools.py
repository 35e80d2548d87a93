"""The tools for runs: start, run to the end, status, list."""

from typing import Annotated, Any, Literal

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import CallToolResult, ToolAnnotations
from pydantic import Field

from quantum_suite.resources.orchestrator.uris import LATEST_RUNS
from quantum_suite.servers.callers import principal_of, run_of, tool_errors
from quantum_suite.servers.orchestrator.answers import (
    RunAnswer,
    RunList,
    definitions_answer,
    run_answer,
    runs_answer,
    scheduled_answer,
    schedules_answer,
)
from quantum_suite.servers.orchestrator.callers import IDEMPOTENCY_KEY, idempotency_key, owner_of
from quantum_suite.servers.orchestrator.runs import Runs
from quantum_suite.services.workflows.composite.composites import Composites
from quantum_suite.services.workflows.interface import RunState

LONGEST_WAIT_SECONDS = 50

_READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
# What a run does to the world it does by tools of its own, each under its own hints and approvals.
_STARTS = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
)

RunId = Annotated[str, Field(description="The run's id.", max_length=200)]
WaitSeconds = Annotated[
    float,
    Field(description="Wait so long for its end before answering.", ge=0, le=LONGEST_WAIT_SECONDS),
]


def add_run_tools(server: MCPServer[Any], runs: Runs, composites: Composites) -> None:
    """Register the tools on `server`."""

    @server.tool(
        title="Start a workflow",
        description="Start a workflow that survives restarts: several tools in order, with decisions by people "
        "in between. list_workflows says which there are and what they take. Returns at once with the run's id, "
        "or waits a little for its end. With cron the clock starts it from now on. It works under your rights.",
        annotations=_STARTS,
        meta={IDEMPOTENCY_KEY: True},
    )
    async def start_workflow(
        workflow: Annotated[str, Field(description="Name of a definition, e.g. secure_change.", max_length=100)],
        ctx: Context[Any, Any],
        inputs: Annotated[dict[str, Any] | None, Field(description="What it is given, by name.")] = None,
        version: Annotated[int | None, Field(description="This version; the newest when left out.", ge=1)] = None,
        cron: Annotated[
            str | None,
            Field(
                description="Start it by the clock instead: five fields, UTC, e.g. '0 2 * * *'.", max_length=100
            ),
        ] = None,
        wait_seconds: WaitSeconds = 0,
    ) -> Annotated[CallToolResult, RunAnswer]:
        principal = principal_of(ctx)
        with tool_errors():
            if cron is not None:
                schedule = await runs.schedule(workflow, inputs or {}, cron, principal, version=version)
                return scheduled_answer(schedule, "Scheduled")
            key = idempotency_key(ctx)
            run = await runs.start(workflow, inputs or {}, principal, version=version, key=key, cause=run_of(ctx))
            await ctx.notify_resource_updated(LATEST_RUNS)
            return run_answer(await runs.wait(run.id, principal, wait_seconds), principal)

    @server.tool(
        title="Run a workflow to its end",
        description="Start a workflow and stay with it: returns when it has ended, or when it asks a person "
        "something. For clients that take tasks the answer is a task, which survives restarts. The run goes on "
        "when the call is cancelled; control_workflow cancels it.",
        annotations=_STARTS,
        meta={IDEMPOTENCY_KEY: True, "quantum/longRunning": True},
    )
    async def run_workflow(
        workflow: Annotated[str, Field(description="Name of a definition, e.g. secure_change.", max_length=100)],
        ctx: Context[Any, Any],
        inputs: Annotated[dict[str, Any] | None, Field(description="What it is given, by name.")] = None,
        version: Annotated[int | None, Field(description="This version; the newest when left out.", ge=1)] = None,
    ) -> Annotated[CallToolResult, RunAnswer]:
        principal = principal_of(ctx)
        with tool_errors():
            key = idempotency_key(ctx)
            run = await runs.start(workflow, inputs or {}, principal, version=version, key=key, cause=run_of(ctx))
            await ctx.notify_resource_updated(LATEST_RUNS)
            return run_answer(await runs.followed(run.id, principal, ctx.report_progress), principal)

    @server.tool(
        title="Status of a run",
        description="Say how a run stands: its state, what it asks people, its result or why it failed. Waits for "
        "its end if told to, which is better than asking again and again.",
        annotations=_READS,
    )
    async def workflow_status(
        run: RunId, ctx: Context[Any, Any], wait_seconds: WaitSeconds = 0
    ) -> Annotated[CallToolResult, RunAnswer]:
        principal = principal_of(ctx)
        with tool_errors():
            return run_answer(await runs.wait(run, principal, wait_seconds), principal)

    @server.tool(
        title="List workflows",
        description="List the definitions you can start and what they take, your runs, the approvals that wait "
        "for you, or what is started by the clock.",
        annotations=_READS,
    )
    async def list_workflows(
        ctx: Context[Any, Any],
        what: Annotated[
            Literal["definitions", "runs", "approvals", "schedules"], Field(description="Which of these.")
        ] = "definitions",
        state: Annotated[RunState | None, Field(description="Only runs in this state.")] = None,
        cursor: Annotated[str | None, Field(description="next_cursor of the page before.", max_length=500)] = None,
        limit: Annotated[int, Field(description="Runs or definitions in a page.", ge=1, le=100)] = 20,
    ) -> Annotated[CallToolResult, RunList]:
        principal = principal_of(ctx)
        with tool_errors():
            match what:
                case "definitions":
                    known, more = await composites.described(owner_of(principal), limit=limit, after=cursor)
                    return definitions_answer(known, more)
                case "approvals":
                    return runs_answer(await runs.waiting_for(principal), None, principal)
                case "schedules":
                    return schedules_answer(await runs.schedules(principal))
                case "runs":
                    found, more = await runs.find(principal, state=state, limit=limit, cursor=cursor)
                    return runs_answer(found, more, principal)
