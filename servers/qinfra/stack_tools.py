"""The tools that plan and change stacks."""

from functools import partial
from typing import Annotated, Any, Literal

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import CallToolResult, ToolAnnotations
from pydantic import Field

from quantum_suite.servers.callers import correlation_of, principal_of, tool_errors
from quantum_suite.servers.qinfra.answers import PlanAnswer, RunAnswer, plan_answer, run_answer
from quantum_suite.servers.qinfra.stack_arguments import Digest, Folder, Stack, stack_ref
from quantum_suite.services.infrastructure.interface import ImportRequest, StackRequest
from quantum_suite.services.workspaces import Workspaces
from quantum_suite.tools.qinfra.apply_stack import StackRunner

# A preview runs the program, which is foreign code; whoever only looks may not have that run.
_PLANS = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=True)
_CHANGES = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=True
)


def add_stack_tools(server: MCPServer[Any], runner: StackRunner, workspaces: Workspaces) -> None:
    """Register the tools on `server`."""

    ref_of = partial(stack_ref, workspaces)

    async def carried_out(
        verb: Literal["up", "destroy"], folder: str, stack: str, digest: str, ctx: Context[Any, Any]
    ) -> CallToolResult:
        principal = principal_of(ctx)
        with tool_errors():
            ref = ref_of(folder, stack, principal)
            run = await runner.apply(
                ref, digest, verb, principal, ctx.report_progress, correlation_id=correlation_of(ctx)
            )
        return run_answer(run)

    @server.tool(
        name="preview_stack",
        title="Plan a stack",
        description="Say what applying a Pulumi program would do: creations, updates, replacements and why, "
        "deletions, what depends on them, and what policies object to. Changes nothing. Call it before "
        "apply_stack (or, with destroy=true, before destroy_stack), read the plan, and pass its digest on.",
        annotations=_PLANS,
        meta={"quantum/longRunning": True},
    )
    async def preview_stack_tool(
        folder: Folder,
        stack: Stack,
        ctx: Context[Any, Any],
        config: Annotated[
            dict[str, str] | None,
            Field(description="Configuration that overlays Pulumi.<stack>.yaml, by key (project:name or name)."),
        ] = None,
        secret_config: Annotated[
            list[str] | None, Field(description="Keys of config whose values are secret: encrypted in the state.")
        ] = None,
        destroy: Annotated[bool, Field(description="Plan to delete everything in the stack instead.")] = False,
        refresh: Annotated[
            bool, Field(description="Read every resource from the world first: the plan then has the drift.")
        ] = False,
        targets: Annotated[
            list[str] | None, Field(description="URNs to confine changes to; all when left out.")
        ] = None,
        policy_packs: Annotated[
            list[str] | None, Field(description="Folders of Pulumi policy packs to judge the plan with.")
        ] = None,
        pending: Annotated[
            dict[str, str] | None,
            Field(description="Settles interrupted creations, by URN: the id under which it exists, or absent."),
        ] = None,
    ) -> Annotated[CallToolResult, PlanAnswer]:
        principal = principal_of(ctx)
        with tool_errors():
            request = StackRequest(
                ref_of(folder, stack, principal),
                config=config or {},
                secret_config=frozenset(secret_config or ()),
                targets=tuple(targets or ()),
                refresh=refresh,
                pending=pending or {},
                policy_packs=tuple(
                    workspaces.resolve(pack, principal, argument="policy_packs") for pack in policy_packs or ()
                ),
            )
            plan = await runner.planner.plan(
                request, "destroy" if destroy else "update", principal, ctx.report_progress
            )
        return plan_answer(plan)

    @server.tool(
        name="apply_stack",
        title="Apply a planned stack",
        description="Carry out a plan of preview_stack, exactly that: it is made anew first, and refused, naming "
        "what differs, if program, configuration, state or world have changed since. A person approves it. "
        "Interrupted, it loses nothing: preview again to see what is left.",
        annotations=_CHANGES,
        meta={"quantum/longRunning": True},
    )
    async def apply_stack_tool(
        folder: Folder, stack: Stack, plan_digest: Digest, ctx: Context[Any, Any]
    ) -> Annotated[CallToolResult, RunAnswer]:
        return await carried_out("up", folder, stack, plan_digest, ctx)

    @server.tool(
        name="destroy_stack",
        title="Destroy a stack",
        description="Delete every resource of a stack, as planned by preview_stack with destroy=true. Protected "
        "resources keep it from starting. A person approves it. There is no way back.",
        annotations=_CHANGES,
        meta={"quantum/longRunning": True},
    )
    async def destroy_stack_tool(
        folder: Folder, stack: Stack, plan_digest: Digest, ctx: Context[Any, Any]
    ) -> Annotated[CallToolResult, RunAnswer]:
        return await carried_out("destroy", folder, stack, plan_digest, ctx)

    @server.tool(
        name="import_resource",
        title="Import a resource into a stack",
        description="Take a resource under management that exists already and that the program declares with the "
        "same properties. The world stays as it is; the stack's state changes. A person approves it.",
        annotations=_CHANGES,
        meta={"quantum/longRunning": True},
    )
    async def import_resource_tool(
        folder: Folder,
        stack: Stack,
        urn: Annotated[str, Field(description="The resource's URN, as a plan shows it.", max_length=2_000)],
        id: Annotated[str, Field(description="The provider's id of what exists.", max_length=2_000)],  # noqa: A002 - the field's word
        ctx: Context[Any, Any],
        config: Annotated[dict[str, str] | None, Field(description="Configuration, as for preview_stack.")] = None,
    ) -> Annotated[CallToolResult, RunAnswer]:
        principal = principal_of(ctx)
        with tool_errors():
            request = StackRequest(
                ref_of(folder, stack, principal), config=config or {}, import_=ImportRequest(urn, id)
            )
            run = await runner.import_resource(
                request, principal, ctx.report_progress, correlation_id=correlation_of(ctx)
            )
        return run_answer(run)
