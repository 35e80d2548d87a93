"""The tool that plans and starts runbooks."""

from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import CallToolResult, ContentBlock, ResourceLink, TextContent, ToolAnnotations
from pydantic import Field

from quantum_suite.servers.callers import principal_of, tool_errors
from quantum_suite.tools.qsre.run_runbook import RunbookAnswer, RunbookRequest, RunbookRunner, effects

_LONGEST_WAIT_SECONDS = 50
# What a run does to the world it does by tools of its own, each under its own hints and approvals.
_STARTS = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
)


def add_runbook_tools(server: MCPServer[Any], runner: RunbookRunner) -> None:
    """Register the tool on `server`."""

    @server.tool(
        name="run_runbook",
        title="Run a runbook",
        description="Do something about an incident by a runbook: steps that only read, or that people "
        "approve first; each verified, and undone when a later one fails. Without plan nothing is"
        " done: the answer shows the steps and a plan digest. Show them to the person, then call "
        "again with the same arguments and that plan. Shipped: rollback_deployment and "
        "restart_and_verify, which call a tool you name; others are YAML files of the workspace. "
        "Every step is noted in the incident. orchestrator_workflow_status follows the run and "
        "shows what it asks.",
        annotations=_STARTS,
    )
    async def run_runbook(
        runbook: Annotated[
            str,
            Field(
                description="Name of a shipped runbook, or path of a YAML file in the workspace.", max_length=500
            ),
        ],
        ctx: Context[Any, Any],
        inputs: Annotated[dict[str, Any] | None, Field(description="What it is given, by name.")] = None,
        incident: Annotated[
            str | None, Field(description="The incident whose timeline is written to.", max_length=60)
        ] = None,
        plan: Annotated[
            str | None, Field(description="The digest of the plan that was shown: starts it.", max_length=64)
        ] = None,
        wait_seconds: Annotated[
            float, Field(description="Wait so long for the run's end.", ge=0, le=_LONGEST_WAIT_SECONDS)
        ] = 0,
    ) -> Annotated[CallToolResult, RunbookAnswer]:
        request = RunbookRequest(runbook, inputs or {}, incident, plan)
        with tool_errors():
            return _answer(await runner.run(request, principal_of(ctx), wait_seconds))


def _answer(answer: RunbookAnswer) -> CallToolResult:
    if answer.run is None:
        head = f"Plan of {answer.runbook} ({effects(answer.steps)}). Nothing has been done. Digest: {answer.plan}"
    else:
        head = f"{answer.runbook} runs as {answer.run}, {answer.state}."
    lines = [head]
    for number, step in enumerate(answer.steps, 1):
        holds = f" until {step.holds}" if step.holds else ""
        undo = f"; undone by {step.undo}" if step.undo else ""
        asked = "; people are asked before" if step.effect == "changes" else ""
        lines.append(f"{number}. {step.title}: {step.effect}, {step.tool} {step.arguments}{holds}{asked}{undo}")
    blocks: list[ContentBlock] = [TextContent(text="\n".join(lines))]
    if answer.run is not None:
        uri = f"quantum://orchestrator/runs/{answer.run}"
        blocks.append(ResourceLink(uri=uri, name="Run", mime_type="application/json"))
    return CallToolResult(content=blocks, structured_content=answer.model_dump(mode="json"))
