"""The tools that plan and drill disaster recovery."""

from typing import Annotated, Any, Literal

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import CallToolResult, ToolAnnotations
from pydantic import Field

from quantum_suite.core.errors import CallerError
from quantum_suite.servers.callers import correlation_of, principal_of, tool_errors
from quantum_suite.servers.qinfra.recovery_answers import (
    DrillAnswer,
    RecoveryPlanAnswer,
    drill_answer,
    recovery_plan_answer,
)
from quantum_suite.services.recovery.interface import DrillKind, DrillRequest, Objectives, Point
from quantum_suite.services.recovery.opening import Recovery
from quantum_suite.services.workspaces import Workspaces
from quantum_suite.tools.qinfra.plan_recovery import RecoveryPlanner
from quantum_suite.tools.qinfra.run_drill import Driller

# It changes nothing, but goes to a server with the hub's credentials: whoever only looks may not have that done.
_INSPECTS = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=True
)
_DRILLS = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
)
# It reads a live system whole, and loads it: a person agrees to that.
_COPIES = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=True)

Kind = Annotated[DrillKind, Field(description="failover to a replica, or point_in_time restore of a backup.")]
RtoSeconds = Annotated[
    float | None, Field(description="Objective: seconds from disaster to the first accepted write.", gt=0)
]
RpoSeconds = Annotated[
    float | None, Field(description="Objective: how many seconds back lost rows may reach.", ge=0)
]
RpoRows = Annotated[int | None, Field(description="Objective: acknowledged rows that may be lost.", ge=0)]
Synchronous = Annotated[
    bool,
    Field(description="failover: each commit waits for the replica; false to see what an asynchronous one loses."),
]
Disaster = Annotated[
    Literal["kill", "freeze"], Field(description="failover: the primary is killed, or stands still.")
]
PointName = Annotated[
    Point,
    Field(description="point_in_time: restore to a named point, an lsn, a time, or the archive's end (latest)."),
]
Rows = Annotated[int, Field(description="Rows acknowledged before the disaster.", ge=20, le=1_000_000)]
Source = Annotated[
    str, Field(description="postgresql://user@host:5432/database, without a password.", max_length=2_000)
]


def add_recovery_tools(
    server: MCPServer[Any], recovery: Recovery, driller: Driller, workspaces: Workspaces
) -> None:
    """Register the tools on `server`."""
    planner = RecoveryPlanner(recovery)

    async def drilled(request: DrillRequest, ctx: Context[Any, Any]) -> CallToolResult:
        kept = await driller.run(
            request, principal_of(ctx), ctx.report_progress, correlation_id=correlation_of(ctx)
        )
        return drill_answer(kept)

    @server.tool(
        name="plan_recovery",
        title="Plan the recovery of a database",
        description="Look at a PostgreSQL server (nothing is changed) and say which way of recovery, failover "
        "to a replica or point-in-time restore, can reach the objectives, what is missing with exact settings, "
        "the runbooks, and how long it took in past drills. Call run_drill to find out what nobody knows yet.",
        annotations=_INSPECTS,
    )
    async def plan_recovery_tool(
        target: Source,
        rto_seconds: Annotated[
            float, Field(description="Seconds from disaster to the first accepted write.", gt=0)
        ],
        ctx: Context[Any, Any],
        rpo_seconds: RpoSeconds = None,
        rpo_rows: RpoRows = None,
        backups: Annotated[
            str | None,
            Field(description="A folder with base backups' manifests (backup_manifest).", max_length=4_096),
        ] = None,
    ) -> Annotated[CallToolResult, RecoveryPlanAnswer]:
        principal = principal_of(ctx)
        with tool_errors():
            if rpo_seconds is None and rpo_rows is None:
                raise CallerError(
                    "How much may be lost is not said.",
                    "Give rpo_seconds or rpo_rows; 0 for nothing.",
                    argument="rpo_seconds",
                )
            folder = workspaces.resolve(backups, principal, argument="backups") if backups is not None else None
            objectives = Objectives(rto_seconds=rto_seconds, rpo_seconds=rpo_seconds, rpo_rows=rpo_rows)
            plan = await planner.plan(target, objectives, folder, principal)
        return recovery_plan_answer(plan)

    @server.tool(
        name="run_drill",
        title="Drill a recovery",
        description="Lose a real PostgreSQL in a scratch place in the middle of writes, recover it, and count "
        "every acknowledged row: recovery time by phase, rows lost and in doubt, verdict against the objectives, "
        "evidence kept. Touches nothing live; for the size of a live system see drill_live_copy.",
        annotations=_DRILLS,
        meta={"quantum/longRunning": True},
    )
    async def run_drill_tool(
        kind: Kind,
        ctx: Context[Any, Any],
        rto_seconds: RtoSeconds = None,
        rpo_seconds: RpoSeconds = None,
        rpo_rows: RpoRows = None,
        synchronous: Synchronous = True,
        disaster: Disaster = "kill",
        point: PointName = "name",
        rows: Rows = 500,
    ) -> Annotated[CallToolResult, DrillAnswer]:
        with tool_errors():
            request = DrillRequest(
                kind=kind,
                objectives=Objectives(rto_seconds=rto_seconds, rpo_seconds=rpo_seconds, rpo_rows=rpo_rows),
                synchronous=synchronous,
                disaster=disaster,
                point=point,
                rows=rows,
            )
            return await drilled(request, ctx)

    @server.tool(
        name="drill_live_copy",
        title="Drill the recovery of a live system's copy",
        description="run_drill with a copy of a live PostgreSQL: reads it whole by one base backup (which loads "
        "it), then drills with the copy in a scratch place, so that times are those of its size. A person "
        "approves it.",
        annotations=_COPIES,
        meta={"quantum/longRunning": True},
    )
    async def drill_live_copy_tool(
        source: Source,
        kind: Kind,
        ctx: Context[Any, Any],
        rto_seconds: RtoSeconds = None,
        rpo_seconds: RpoSeconds = None,
        rpo_rows: RpoRows = None,
        synchronous: Synchronous = True,
        disaster: Disaster = "kill",
        point: PointName = "name",
        rows: Rows = 500,
        timeout_seconds: Annotated[
            float, Field(description="When the drill is given up.", gt=0, le=86_400)
        ] = 3_600,
    ) -> Annotated[CallToolResult, DrillAnswer]:
        with tool_errors():
            request = DrillRequest(
                kind=kind,
                objectives=Objectives(rto_seconds=rto_seconds, rpo_seconds=rpo_seconds, rpo_rows=rpo_rows),
                synchronous=synchronous,
                disaster=disaster,
                point=point,
                rows=rows,
                timeout_seconds=timeout_seconds,
                source=source,
            )
            return await drilled(request, ctx)
