"""The tools that make an index and say what it holds."""

from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import CallToolResult, ToolAnnotations
from pydantic import Field

from quantum_suite.servers.callers import principal_of, tool_errors
from quantum_suite.servers.knowledge.answers import index_answer
from quantum_suite.servers.knowledge.arguments import WorkspacePath
from quantum_suite.services.capacity.interface import Capacity
from quantum_suite.services.knowledge.interface import Knowledge
from quantum_suite.services.workspaces import Workspaces
from quantum_suite.tools.knowledge.index_workspace import (
    IndexReport,
    directory_only,
    index_report,
    index_workspace,
)

# An index is the suite's own record; nothing the caller owns changes.
READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)


def add_index_tools(
    server: MCPServer[Any], knowledge: Knowledge, workspaces: Workspaces, capacity: Capacity
) -> None:
    """Register the tools on `server`."""

    @server.tool(
        name="index_workspace",
        title="Index a workspace for search",
        description="Make the search index of a workspace, or bring it up to date: only files whose content "
        "changed are read. Needed once before the other tools; small edits are noticed by themselves, but call it "
        "again after switching branches or when index_status says interrupted. Returns when words and symbols "
        "are searchable; search by meaning follows in the background. Changes nothing in the workspace.",
        annotations=READS,
        meta={"quantum/longRunning": True},
    )
    async def index_workspace_tool(
        ctx: Context[Any, Any],
        path: WorkspacePath = ".",
        wait_for_vectors: Annotated[
            bool, Field(description="Return only when search by meaning is complete too; takes minutes.")
        ] = False,
    ) -> Annotated[CallToolResult, IndexReport]:
        with tool_errors():
            root = workspaces.resolve(path, principal_of(ctx))
            report = await index_workspace(knowledge, capacity, root, ctx.report_progress, wait=wait_for_vectors)
        return index_answer(report)

    @server.tool(
        name="index_status",
        title="Say what is indexed",
        description="Say what the index of a workspace holds, what is not searchable and why, how many files "
        "changed since, and whether search by meaning is complete.",
        annotations=READS,
    )
    async def index_status_tool(
        ctx: Context[Any, Any], path: WorkspacePath = "."
    ) -> Annotated[CallToolResult, IndexReport]:
        with tool_errors():
            root = workspaces.resolve(path, principal_of(ctx))
            directory_only(root)
            return index_answer(index_report(await knowledge.status(root)))
