"""The tools on service level objectives: defining them, how they stand, their budgets and their alerts."""

from pathlib import Path
from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CallToolResult, ToolAnnotations
from pydantic import Field

from quantum_suite.core.errors import CallerError
from quantum_suite.servers.callers import principal_of, tool_errors
from quantum_suite.servers.module import Services
from quantum_suite.servers.qsre.slo_answers import (
    budget_answer,
    defined_answer,
    explanation_answer,
    status_answer,
)
from quantum_suite.services.metrics.sources import MetricSources
from quantum_suite.services.prompts.interface import PromptLibrary
from quantum_suite.services.slo.files import SloFiles
from quantum_suite.services.slo.writing import SloDraft
from quantum_suite.tools.qsre.define_slo import DefinedSlos, SloDefiner, SloOrder
from quantum_suite.tools.qsre.error_budget import BudgetReader, ErrorBudget
from quantum_suite.tools.qsre.explain_alert import AlertExplainer, AlertExplanation
from quantum_suite.tools.qsre.slo_status import SloReader, SloStatus

SourceName = Annotated[
    str | None, Field(description="The source, by its name; may be left out where there is one.", max_length=100)
]
SloPath = Annotated[
    str | None,
    Field(description="An SLO file or a folder of them; the folder slos of each workspace when left out."),
]
_READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, open_world_hint=True)
# Nothing that was not seen is overwritten: a file that is there is replaced only with its digest.
_WRITES = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=True
)
_QUERY = "PromQL with {{.window}} for its range, e.g. sum(rate(http_requests_total[{{.window}}]))."


def add_slo_tools(
    server: MCPServer[Any], services: Services, sources: MetricSources, prompts: PromptLibrary, cache_dir: Path
) -> None:
    """Register the tools and the prompt on `server`."""
    files = SloFiles(services.workspaces)
    reader = SloReader(files, sources)
    budgets = BudgetReader(files, sources, services.capacity, cache_dir)
    explainer = AlertExplainer(files, sources)
    _add_definer(server, SloDefiner(files, sources))
    _add_prompt(server, prompts, sources)

    @server.tool(
        name="slo_status",
        title="Status of SLOs",
        description="Say how the service level objectives of the workspace stand now, the worst first: objective, "
        "share of good events and burn rate by window, budget left, state (ok, burning, exhausted, no data), and "
        "whether traffic is so low that one failure pages. For one budget and its forecast use error_budget.",
        annotations=_READS,
        meta={"quantum/longRunning": True},
    )
    async def slo_status(
        ctx: Context[Any, Any], source: SourceName = None, path: SloPath = None
    ) -> Annotated[CallToolResult, SloStatus]:
        with tool_errors():
            return status_answer(await reader.status(source, path, principal_of(ctx)))

    @server.tool(
        name="error_budget",
        title="Error budget",
        description="Say how much of an SLO's error budget is burned and left, how fast it burns, and when it "
        "will be gone, as an 80 % interval from a bootstrap over recent burn. 'not within the window' and 'not "
        "enough data' are answers. With a picture of the budget and the forecast.",
        annotations=_READS,
    )
    async def error_budget(
        slo: Annotated[str, Field(description="The SLO's id (service-name) or name.", max_length=400)],
        ctx: Context[Any, Any],
        source: SourceName = None,
        path: SloPath = None,
        plot: Annotated[bool, Field(description="Whether to draw the budget and its forecast.")] = True,
    ) -> Annotated[CallToolResult, ErrorBudget]:
        with tool_errors():
            return budget_answer(await budgets.read(slo, source, path, principal_of(ctx), plot=plot))

    @server.tool(
        name="explain_alert",
        title="Explain an SLO's alert",
        description="Say what a burn-rate alert means: which SLO, which pair of windows, since when, how fast the "
        "budget burns now and when it is gone at that rate, whether traffic is low, and which queries to ask next "
        "(bad events split by each label). For alerts that are of no SLO use explore_metrics.",
        annotations=_READS,
    )
    async def explain_alert(
        alert: Annotated[str, Field(description="The alert's name (alertname).", max_length=400)],
        ctx: Context[Any, Any],
        labels: Annotated[
            dict[str, str] | None,
            Field(description="Its labels, some or all, e.g. sloth_id and sloth_severity.", max_length=100),
        ] = None,
        source: SourceName = None,
        path: SloPath = None,
    ) -> Annotated[CallToolResult, AlertExplanation]:
        with tool_errors():
            return explanation_answer(
                await explainer.explain(alert, labels or {}, source, path, principal_of(ctx))
            )


def _add_definer(server: MCPServer[Any], definer: SloDefiner) -> None:
    @server.tool(
        name="define_slo",
        title="Define an SLO",
        description="Write a service level objective as a file of the workspace (OpenSLO v1), and beside it the "
        "Prometheus rules for it: recordings and multi-window burn-rate alerts, checked by promtool. Give "
        "service, name, objective and queries; or document (OpenSLO or sloth's forms); or only path, to make the "
        "rules of a file again. Says whether the indicator has data now. A dry run (the default) shows the "
        "difference and writes nothing.",
        annotations=_WRITES,
    )
    async def define_slo(
        ctx: Context[Any, Any],
        service: Annotated[str | None, Field(description="The service, e.g. checkout.", max_length=200)] = None,
        name: Annotated[
            str | None, Field(description="The SLO's name, e.g. availability.", max_length=200)
        ] = None,
        objective: Annotated[
            float | None, Field(description="Share of good events promised, in percent, e.g. 99.9.")
        ] = None,
        bad_query: Annotated[str | None, Field(description=f"Counts bad events: {_QUERY}")] = None,
        good_query: Annotated[str | None, Field(description="Counts good events, instead of bad_query.")] = None,
        total_query: Annotated[str | None, Field(description=f"Counts all events: {_QUERY}")] = None,
        error_ratio_query: Annotated[
            str | None, Field(description="The share of bad events (0 to 1), instead of two queries that count.")
        ] = None,
        period: Annotated[
            str, Field(description="Over which time: 7d, 28d, 30d, 4w, 1M, 1Q.", max_length=20)
        ] = "30d",
        description: Annotated[str, Field(description="What it is about.", max_length=1050)] = "",
        alert_name: Annotated[str | None, Field(description="What its alerts are called.", max_length=200)] = None,
        minimum_events: Annotated[
            int | None,
            Field(
                description="For low traffic: alerts stay quiet while their long window holds fewer events.", ge=1
            ),
        ] = None,
        document: Annotated[
            str | None, Field(description="A whole SLO file in YAML, instead of the fields.", max_length=524_288)
        ] = None,
        path: Annotated[
            str | None,
            Field(description="Where it is kept, ending in .yaml; slos/<name>.yaml when left out."),
        ] = None,
        source: SourceName = None,
        dry_run: Annotated[bool, Field(description="Only show what would change.")] = True,
        expected: Annotated[
            str | None,
            Field(description="The digest of what is there, to replace it: from a dry run.", max_length=64),
        ] = None,
    ) -> Annotated[CallToolResult, DefinedSlos]:
        with tool_errors():
            given = (service, name, objective, bad_query, good_query, total_query, error_ratio_query)
            draft: SloDraft | None = None
            if any(value is not None for value in given):
                if service is None or name is None or objective is None:
                    missing = "service" if service is None else "name" if name is None else "objective"
                    raise CallerError(
                        "An SLO needs service, name and objective.", "Give all three.", argument=missing
                    )
                draft = SloDraft(
                    service=service,
                    name=name,
                    objective_percent=objective,
                    bad_query=bad_query,
                    good_query=good_query,
                    total_query=total_query,
                    error_ratio_query=error_ratio_query,
                    period=period,
                    description=description,
                    alert_name=alert_name,
                    minimum_events=minimum_events,
                )
            order = SloOrder(draft, document, path, source, dry_run, expected)
            return defined_answer(await definer.define(order, principal_of(ctx)))


def _add_prompt(server: MCPServer[Any], prompts: PromptLibrary, sources: MetricSources) -> None:
    @server.prompt(
        name="define_slos",
        title="Define SLOs for a service",
        description="Go from what a service measures to objectives its users would sign, with alerts.",
    )
    def define_slos(
        service: Annotated[str, Field(description="The service, as its users call it.")],
        source: Annotated[str, Field(description="The source of metrics; may be empty where there is one.")] = "",
    ) -> str:
        try:
            named = sources.get(source or None).name
            return prompts.render("define_slos", {"service": service, "source": named}).text
        except CallerError as error:
            raise MCPError(INVALID_PARAMS, f"{error.argument}: {error}") from error
