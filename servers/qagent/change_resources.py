"""The resources: verdicts, diffs, context packs and rounds, read under the caller's own rights."""

from typing import Any

from mcp.server.mcpserver import Context, MCPServer

from quantum_suite.core.verdicts import Verdict
from quantum_suite.resources.qagent.verdict import verdict_markdown
from quantum_suite.servers.callers import principal_of, resource_errors
from quantum_suite.services.testing.report_store import ReportStore
from quantum_suite.tools.qagent.judge_change import VERDICT

CHANGE = "quantum://qagent/changes/{change}"


def add_resources(server: MCPServer[Any], records: ReportStore) -> None:
    """Register the resource templates on `server`."""

    @server.resource(
        CHANGE,
        name="judged_change",
        title="The verdict on a change",
        description="Every gate, every problem with its place, and what nobody checked.",
        mime_type="text/markdown",
    )
    async def read_change(change: str, ctx: Context[Any, Any]) -> str:
        principal = principal_of(ctx)
        with resource_errors():
            record = await records.get(change, principal)
            if record.kind != VERDICT:
                views = ", ".join(f"quantum://qagent/changes/{change}/{view}" for view in record.views)
                return f"This is the record of a {record.kind}. It has {views}.\n"
            verdict = Verdict.model_validate_json(await records.report(change, "verdict", principal))
            return verdict_markdown(verdict, record.summary)

    for view, title, description, mime_type in (
        ("verdict", "A verdict for programs", "Every gate's report in JSON.", "application/json"),
        ("diff", "A judged change as a diff", "What the change does, as a unified diff.", "text/x-diff"),
        ("context", "The context of a plan", "Rules, map and code for a goal.", "text/markdown"),
        ("rounds", "The rounds of an improvement", "Every try with its gain, in JSON.", "application/json"),
        ("reading", "Questions to read a change with", "A review's prompt, filled in.", "text/markdown"),
    ):
        _add_view(server, records, view, title, description, mime_type)


def _add_view(
    server: MCPServer[Any], records: ReportStore, view: str, title: str, description: str, mime_type: str
) -> None:
    @server.resource(
        f"{CHANGE}/{view}",
        name=f"judged_change_{view}",
        title=title,
        description=description,
        mime_type=mime_type,
    )
    async def read_view(change: str, ctx: Context[Any, Any]) -> str:
        with resource_errors():
            return (await records.report(change, view, principal_of(ctx))).decode()
