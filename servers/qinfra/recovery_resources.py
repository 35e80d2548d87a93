"""The resources of disaster recovery: drills' evidence and recovery plans."""

from typing import Any

from mcp.server.mcpserver import Context, MCPServer

from quantum_suite.core.errors import NotFound
from quantum_suite.core.principals import Principal
from quantum_suite.resources.qinfra.drill_markdown import drill_markdown
from quantum_suite.resources.qinfra.recovery_markdown import recovery_markdown
from quantum_suite.servers.callers import principal_of, resource_errors
from quantum_suite.servers.qinfra.recovery_answers import DRILL_TEMPLATE, RECOVERY_PLAN_TEMPLATE
from quantum_suite.services.recovery.interface import DrillReport
from quantum_suite.services.recovery.opening import Recovery


def add_recovery_resources(server: MCPServer[Any], recovery: Recovery) -> None:
    """Register the resource templates on `server`."""

    async def report_of(drill: str, principal: Principal) -> DrillReport:
        """Return a drill's report to who ran it; others are told that there is none."""
        report = await recovery.records.get(drill)
        if report.owner != principal.id:
            raise NotFound(f"There is no drill '{drill}'.", "run_drill's answer names its drill.")
        return report

    @server.resource(
        DRILL_TEMPLATE,
        name="drill",
        title="A drill's evidence in JSON",
        description="Request, timeline, phases, rows, verdicts, versions, digests, last lines of the "
        "servers' logs.",
        mime_type="application/json",
    )
    async def read_drill(drill: str, ctx: Context[Any, Any]) -> str:
        with resource_errors():
            return (await report_of(drill, principal_of(ctx))).model_dump_json(indent=1)

    @server.resource(
        f"{DRILL_TEMPLATE}/markdown",
        name="drill_markdown",
        title="A drill's evidence for reading",
        description="The verdict, the recovery time by phase, every row accounted for, the timeline.",
        mime_type="text/markdown",
    )
    async def read_drill_markdown(drill: str, ctx: Context[Any, Any]) -> str:
        with resource_errors():
            report = await report_of(drill, principal_of(ctx))
            return drill_markdown(report, await recovery.records.digest(drill))

    @server.resource(
        f"{RECOVERY_PLAN_TEMPLATE}/markdown",
        name="recovery_plan",
        title="A recovery plan for reading",
        description="Both ways of recovery, judged; what is missing; the runbooks.",
        mime_type="text/markdown",
    )
    async def read_plan(plan: str, ctx: Context[Any, Any]) -> str:
        with resource_errors():
            found = await recovery.plans.get(plan)
            if found.owner != principal_of(ctx).id:
                raise NotFound(f"There is no recovery plan '{plan}'.", "Make one with plan_recovery.")
            return recovery_markdown(found)
