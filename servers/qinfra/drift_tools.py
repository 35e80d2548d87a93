"""The tools that compare stacks with the world, and judge them."""

from functools import partial
from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import CallToolResult, ToolAnnotations
from pydantic import Field

from quantum_suite.servers.callers import correlation_of, principal_of, tool_errors
from quantum_suite.servers.qinfra.answers import RunAnswer, run_answer
from quantum_suite.servers.qinfra.drift_answers import (
    DriftAnswer,
    PolicyAnswer,
    ResourcesAnswer,
    drift_answer,
    policy_answer,
    resources_answer,
)
from quantum_suite.servers.qinfra.stack_arguments import DIGEST_PATTERN, Digest, Folder, Stack, stack_ref
from quantum_suite.services.workspaces import Workspaces
from quantum_suite.tools.qinfra.check_policy import PolicyJudge
from quantum_suite.tools.qinfra.detect_drift import Direction, DriftFinder
from quantum_suite.tools.qinfra.list_resources import ResourceLister

_LOOKS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=True)
# Each resource is read by the provider that made it, which is code of the program's.
_COMPARES = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=True
)
_JUDGES = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
_CHANGES = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=True
)


def add_drift_tools(
    server: MCPServer[Any], lister: ResourceLister, finder: DriftFinder, judge: PolicyJudge, workspaces: Workspaces
) -> None:
    """Register the tools on `server`."""

    ref_of = partial(stack_ref, workspaces)

    @server.tool(
        name="list_resources",
        title="List a stack's resources, and what no stack knows",
        description="List what a stack manages, from its state. With unmanaged=true also what exists in the AWS "
        "account and no stack of this suite knows: forgotten by hand-made changes, or worth an import_resource.",
        annotations=_LOOKS,
    )
    async def list_resources_tool(
        folder: Folder,
        stack: Stack,
        ctx: Context[Any, Any],
        unmanaged: Annotated[
            bool, Field(description="Ask AWS (read-only) for buckets, roles, policies, users, queues and so on.")
        ] = False,
        types: Annotated[
            list[str] | None,
            Field(description="Types to ask AWS for, e.g. Bucket, SecurityGroup; all when left out."),
        ] = None,
    ) -> Annotated[CallToolResult, ResourcesAnswer]:
        with tool_errors():
            managed = await lister.managed(ref_of(folder, stack, principal_of(ctx)))
            others = await lister.unmanaged(types or ()) if unmanaged else None
        return resources_answer(managed, others)

    @server.tool(
        name="detect_drift",
        title="Find drift",
        description="Say where the world is not as a stack's state has it: resources deleted or changed by hand, "
        "property by property, rules and tags added outside. Changes nothing. Then reconcile, either way: back to "
        "the program, or by accepting what is there.",
        annotations=_COMPARES,
        meta={"quantum/longRunning": True},
    )
    async def detect_drift_tool(
        folder: Folder,
        stack: Stack,
        ctx: Context[Any, Any],
        targets: Annotated[list[str] | None, Field(description="URNs to look at; all when left out.")] = None,
        unmanaged: Annotated[
            bool, Field(description="Also list what AWS has and no stack knows, as list_resources does.")
        ] = False,
    ) -> Annotated[CallToolResult, DriftAnswer]:
        principal = principal_of(ctx)
        with tool_errors():
            ref = ref_of(folder, stack, principal)
            plan = await finder.detect(ref, principal, ctx.report_progress, targets or ())
            others = await lister.unmanaged() if unmanaged else None
        return drift_answer(plan, others)

    @server.tool(
        name="reconcile",
        title="Reconcile a stack with the world",
        description="End drift as a plan says, exactly that plan. to_program: undo the changes made by hand (the "
        "plan is of preview_stack with refresh=true). to_cloud: accept them into the state (accept_digest of "
        "detect_drift); the program then has to be changed to say the same. A person approves it.",
        annotations=_CHANGES,
        meta={"quantum/longRunning": True},
    )
    async def reconcile_tool(
        folder: Folder,
        stack: Stack,
        plan_digest: Digest,
        direction: Annotated[
            Direction, Field(description="to_program undoes changes made by hand; to_cloud accepts them.")
        ],
        ctx: Context[Any, Any],
    ) -> Annotated[CallToolResult, RunAnswer]:
        principal = principal_of(ctx)
        with tool_errors():
            run = await finder.reconcile(
                ref_of(folder, stack, principal),
                plan_digest,
                direction,
                principal,
                ctx.report_progress,
                correlation_of(ctx),
            )
        return run_answer(run)

    @server.tool(
        name="check_policy",
        title="Check policies",
        description="Judge a plan, or a stack as it is, by Rego policies: the shipped pack for AWS and the packs "
        "below the project's folder policies/. preview_stack and apply_stack ask them anyway; use this for what "
        "stands already, or for every verdict with what would be right.",
        annotations=_JUDGES,
    )
    async def check_policy_tool(
        folder: Folder,
        stack: Stack,
        ctx: Context[Any, Any],
        plan_digest: Annotated[
            str | None,
            Field(description="A plan of preview_stack; the stack's state when left out.", pattern=DIGEST_PATTERN),
        ] = None,
        packs: Annotated[list[str] | None, Field(description="Packs to ask; all when left out.")] = None,
    ) -> Annotated[CallToolResult, PolicyAnswer]:
        with tool_errors():
            judgement = await judge.judge(ref_of(folder, stack, principal_of(ctx)), plan_digest or "", packs or ())
        return policy_answer(judgement)
