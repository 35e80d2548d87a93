"""The tools that change how a run goes on: control and approve."""

from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import CallToolResult, ToolAnnotations
from pydantic import Field

from quantum_suite.core.errors import CallerError, Refused
from quantum_suite.resources.orchestrator.uris import run_uri
from quantum_suite.servers.callers import principal_of, tool_errors
from quantum_suite.servers.orchestrator.answers import RunAnswer, run_answer, scheduled_answer
from quantum_suite.servers.orchestrator.callers import idempotency_key
from quantum_suite.servers.orchestrator.runs import Action, Runs

# What a run does to the world it does by tools of its own, each under its own hints and approvals.
_STEERS = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)
# A yes lets happen what was held back, so the policies treat it like what it lets happen.
_APPROVES = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=False
)


def add_steering_tools(server: MCPServer[Any], runs: Runs) -> None:
    """Register the tools on `server`."""

    @server.tool(
        title="Cancel, pause, resume or fork a run",
        description="cancel: stop a run and what it started, and undo what its definition says how to undo (also "
        "removes a schedule, by its id). pause: stop before the next step. resume: go on, also from where a "
        "failed or cancelled run stopped. fork: start a new run that keeps the results of the steps before "
        "from_step.",
        annotations=_STEERS,
    )
    async def control_workflow(
        run: Annotated[str, Field(description="The run's id, or for cancel a schedule's.", max_length=200)],
        action: Annotated[Action, Field(description="What to do.")],
        ctx: Context[Any, Any],
        from_step: Annotated[
            int | None, Field(description="For fork: number of the first step that is done anew.", ge=1)
        ] = None,
    ) -> Annotated[CallToolResult, RunAnswer]:
        principal = principal_of(ctx)
        with tool_errors():
            if run.startswith("sch_"):
                if action != "cancel":
                    raise CallerError("A schedule can only be cancelled.", argument="action")
                return scheduled_answer(await runs.unschedule(run, principal), "Removed")
            changed = await runs.control(run, action, principal, from_step)
            await ctx.notify_resource_updated(run_uri(run))
            return run_answer(changed, principal)

    @server.tool(
        title="Answer an approval",
        description="Pass on a person's decision to a run that asks for it. Put the question to the person word "
        "for word, with its details, and call this only with what they said; never decide yourself. Works for "
        "those alone whom the approval names.",
        annotations=_APPROVES,
    )
    async def approve_workflow(
        run: Annotated[str, Field(description="The run's id.", max_length=200)],
        question: Annotated[str, Field(description="The question that was answered, word for word.")],
        approved: Annotated[bool, Field(description="What the person said.")],
        ctx: Context[Any, Any],
        reason: Annotated[str | None, Field(description="Why, in the person's words.", max_length=2000)] = None,
    ) -> Annotated[CallToolResult, RunAnswer]:
        principal = principal_of(ctx)
        with tool_errors():
            if idempotency_key(ctx) is not None:
                raise Refused("A run cannot answer approvals: people do.", "Have a person call this.")
            answered = await runs.approve(run, question, principal, approved=approved, reason=reason)
            await ctx.notify_resource_updated(run_uri(run))
            return run_answer(answered, principal)
