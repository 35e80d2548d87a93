"""The resources: runs and their reports, read under the caller's own rights."""

from typing import Any

from mcp.server.mcpserver import Context, MCPServer

from quantum_suite.resources.qtest.runs import MEDIA_TYPES, run_json, runs_json
from quantum_suite.servers.callers import principal_of, resource_errors
from quantum_suite.services.testing.report_store import ReportStore

RUN_TEMPLATE = "quantum://qtest/runs/{run}"
_REPORTS = {
    "junit": ("A run in JUnit XML", "Every test with its outcome and message, for CI servers."),
    "cobertura": ("Coverage in Cobertura XML", "Lines and branches by file, for CI servers."),
    "lcov": ("Coverage in LCOV", "Lines by file, for editors."),
    "html": ("Coverage as a page", "The code with what no test reaches marked, for people."),
    "mutation": ("Mutants in JSON", "Every mutant with its verdict."),
}


def add_resources(server: MCPServer[Any], reports: ReportStore) -> None:
    """Register the resource templates on `server`."""

    @server.resource(
        RUN_TEMPLATE,
        name="test_run",
        title="A run",
        description="What a run was, and links to its reports. The id 'latest' lists your runs.",
        mime_type="application/json",
    )
    async def read_run(run: str, ctx: Context[Any, Any]) -> str:
        principal = principal_of(ctx)
        with resource_errors():
            if run == "latest":
                return runs_json(await reports.latest(principal))
            return run_json(await reports.get(run, principal))

    for view in _REPORTS:
        _add_report(server, reports, view)


def _add_report(server: MCPServer[Any], reports: ReportStore, view: str) -> None:
    title, description = _REPORTS[view]

    @server.resource(
        f"{RUN_TEMPLATE}/{view}",
        name=f"test_run_{view}",
        title=title,
        description=description,
        mime_type=MEDIA_TYPES[view],
    )
    async def read_report(run: str, ctx: Context[Any, Any]) -> str:
        with resource_errors():
            return (await reports.report(run, view, principal_of(ctx))).decode("utf-8", "replace")
