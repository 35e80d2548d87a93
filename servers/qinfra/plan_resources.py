"""The resources: plans, as JSON, for reading, and as a graph."""

from typing import Any

from mcp.server.mcpserver import Context, MCPServer

from quantum_suite.core.errors import CallerError, NotFound
from quantum_suite.core.principals import Principal
from quantum_suite.resources.qinfra.plan_graph import plan_graph
from quantum_suite.resources.qinfra.plan_markdown import plan_markdown
from quantum_suite.servers.callers import principal_of, resource_errors
from quantum_suite.servers.qinfra.answers import PLAN_TEMPLATE
from quantum_suite.services.infrastructure.plan import Plan
from quantum_suite.services.infrastructure.plans import FilePlanStore
from quantum_suite.services.workspaces import Workspaces


def add_plan_resources(server: MCPServer[Any], plans: FilePlanStore, workspaces: Workspaces) -> None:
    """Register the resource templates on `server`."""

    async def plan_of(digest: str, principal: Principal) -> Plan:
        """Return a plan to whoever may use the folder it is for; others are told that there is none."""
        stored = await plans.get(digest)
        try:
            workspaces.resolve(str(stored.request.ref.folder), principal)
        except CallerError:
            raise NotFound(f"There is no plan '{digest}'.", "Make one with preview_stack.") from None
        return stored.plan

    @server.resource(
        PLAN_TEMPLATE,
        name="plan",
        title="A plan in JSON",
        description="Everything a plan holds, secrets masked: steps, property changes, drift, verdicts.",
        mime_type="application/json",
    )
    async def read_plan(digest: str, ctx: Context[Any, Any]) -> str:
        with resource_errors():
            return (await plan_of(digest, principal_of(ctx))).model_dump_json(indent=1)

    @server.resource(
        f"{PLAN_TEMPLATE}/markdown",
        name="plan_markdown",
        title="A plan for reading",
        description="What is changed, property by property, what is lost first.",
        mime_type="text/markdown",
    )
    async def read_markdown(digest: str, ctx: Context[Any, Any]) -> str:
        with resource_errors():
            return plan_markdown(await plan_of(digest, principal_of(ctx)))

    @server.resource(
        f"{PLAN_TEMPLATE}/graph",
        name="plan_graph",
        title="A plan as a graph",
        description="A Mermaid graph of what changes and of what depends on it.",
        mime_type="text/vnd.mermaid",
    )
    async def read_graph(digest: str, ctx: Context[Any, Any]) -> str:
        with resource_errors():
            return plan_graph(await plan_of(digest, principal_of(ctx)))
