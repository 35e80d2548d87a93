"""The tools that change a workspace."""

from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import CallToolResult, ToolAnnotations
from pydantic import Field

from quantum_suite.servers.callers import principal_of, tool_errors
from quantum_suite.servers.qagent.answers import applied_answer
from quantum_suite.tools.qagent.apply_change import AppliedAnswer, ChangeWriter

_WRITES = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=False
)


def add_writing_tools(server: MCPServer[Any], writer: ChangeWriter) -> None:
    """Register the tools on `server`. Both are destructive, so the hub has a person approve each call."""

    @server.tool(
        name="apply_change",
        title="Apply an accepted change",
        description="Write a change that submit_change accepted to the workspace: whole or not at all, exactly "
        "what was judged. Refused where somebody has changed its files since. A person approves it. Take it back "
        "with undo_change.",
        annotations=_WRITES,
    )
    async def apply_change_tool(
        change: Annotated[
            str, Field(description="The change, as submit_change named it: run_...", max_length=100)
        ],
        ctx: Context[Any, Any],
    ) -> Annotated[CallToolResult, AppliedAnswer]:
        with tool_errors():
            return applied_answer(await writer.apply(change, principal_of(ctx)))

    @server.tool(
        name="undo_change",
        title="Take an applied change back",
        description="Bring back what apply_change found, where its files are still as it left them; else it says "
        "which have been changed since, and nothing is touched. A person approves it.",
        annotations=_WRITES,
    )
    async def undo_change_tool(
        applied: Annotated[
            str, Field(description="The applied change, as apply_change named it: change_...", max_length=100)
        ],
        ctx: Context[Any, Any],
    ) -> Annotated[CallToolResult, AppliedAnswer]:
        with tool_errors():
            return applied_answer(await writer.undo(applied, principal_of(ctx)))
