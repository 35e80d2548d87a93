"""The tools for definitions: define and validate."""

from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import CallToolResult, ToolAnnotations
from pydantic import Field

from quantum_suite.resources.orchestrator.uris import ALL_DEFINITIONS
from quantum_suite.servers.callers import principal_of, tool_errors
from quantum_suite.servers.orchestrator.answers import DefinitionAnswer, definition_answer
from quantum_suite.servers.orchestrator.callers import owner_of
from quantum_suite.services.workflows.composite.composites import Composites
from quantum_suite.services.workflows.composite.problems import InvalidDefinition

_READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
# A version that has run is never changed: the next one is begun.
_KEEPS = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False)

Source = Annotated[
    str,
    Field(
        description="The definition in YAML: name, description, on (events that start it), inputs, steps (call, "
        "do, workflow, parallel, for_each, loop, approval, sleep, set), output; expressions as "
        "${{ steps.scan.result.counts.high > 0 }}. "
        "quantum://orchestrator/definitions/secure_change is an example to read first.",
        max_length=65536,
    ),
]


def add_definition_tools(server: MCPServer[Any], composites: Composites) -> None:
    """Register the tools on `server`."""

    @server.tool(
        title="Check a definition",
        description="Check a workflow definition without keeping it: everything that is wrong, each with its "
        "exact place and what would be right, against the tools you can call now. Use it while writing one.",
        annotations=_READS,
    )
    async def validate_workflow(
        definition: Source, ctx: Context[Any, Any]
    ) -> Annotated[CallToolResult, DefinitionAnswer]:
        with tool_errors():
            try:
                read, problems = await composites.check(definition, owner_of(principal_of(ctx)))
            except InvalidDefinition as error:
                return definition_answer(error.problems, name=None)
            return definition_answer(problems, name=read.name)

    @server.tool(
        title="Keep a definition",
        description="Keep a workflow definition under its name, so that start_workflow can start it. A version "
        "that has run stays as it is: a change becomes the next one. Yours are seen by you and admins; an admin's "
        "by everybody.",
        annotations=_KEEPS,
    )
    async def define_workflow(
        definition: Source, ctx: Context[Any, Any]
    ) -> Annotated[CallToolResult, DefinitionAnswer]:
        with tool_errors():
            stored, problems = await composites.define(definition, owner_of(principal_of(ctx)))
        await ctx.notify_resource_updated(ALL_DEFINITIONS)
        return definition_answer(problems, name=stored.name, version=stored.version)
