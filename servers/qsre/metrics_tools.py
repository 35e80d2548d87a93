"""The tools on metrics: asking in PromQL, and finding out what there is to ask for."""

from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import CallToolResult, ToolAnnotations
from pydantic import Field

from quantum_suite.servers.callers import principal_of, tool_errors
from quantum_suite.servers.qsre.metrics_answers import exploration_answer, metrics_answer
from quantum_suite.tools.qsre.exploration import Exploration
from quantum_suite.tools.qsre.explore_metrics import MetricExplorer
from quantum_suite.tools.qsre.query_metrics import MetricAnswer, MetricQuerier, MetricQuestion

SourceName = Annotated[
    str | None, Field(description="The source, by its name; may be left out where there is one.", max_length=100)
]
_READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, open_world_hint=True)
_TIME = "RFC 3339 (2026-01-31T12:00:00Z), Unix seconds, now, or -1h."


def add_metrics_tools(server: MCPServer[Any], querier: MetricQuerier, explorer: MetricExplorer) -> None:
    """Register the tools on `server`."""

    @server.tool(
        name="query_metrics",
        title="Query metrics",
        description="Ask a source of metrics in PromQL over a window of time. Answers with the largest series in "
        "numbers (min, mean, max, last, trend, gaps, restarts), a picture, advice on the query, and links to all "
        "points. Use explore_metrics first where you do not know what is measured. Nothing is changed.",
        annotations=_READS,
    )
    async def query_metrics(
        query: Annotated[
            str,
            Field(
                description="PromQL, e.g. sum by (code) (rate(http_requests_total[5m])). A range selector alone "
                "(x[5m]) gives the points as they were measured.",
            ),
        ],
        ctx: Context[Any, Any],
        source: SourceName = None,
        last: Annotated[
            str | None, Field(description="Length of the window up to end, e.g. 15m, 6h, 7d; 1h when left out.")
        ] = None,
        start: Annotated[str | None, Field(description=f"Begin of the window, instead of last: {_TIME}")] = None,
        end: Annotated[str | None, Field(description=f"End of the window: {_TIME} Now when left out.")] = None,
        step: Annotated[
            str | None,
            Field(description="Distance of points, e.g. 30s; one that gives about 240 points when left out."),
        ] = None,
        plot: Annotated[bool, Field(description="Whether to draw the first ten series.")] = True,
    ) -> Annotated[CallToolResult, MetricAnswer]:
        with tool_errors():
            question = MetricQuestion(query, source, start, end, last, step, plot)
            return metrics_answer(await querier.ask(question, principal_of(ctx)))

    @server.tool(
        name="explore_metrics",
        title="Explore metrics",
        description="Say what a source measures: families of metrics with type, unit, help text, labels and some "
        "of their values, which targets are up, which alerts are pending or firing, which rules there are. With "
        "about, the metrics that have to do with some words (latency of the checkout). Start here, then use "
        "query_metrics.",
        annotations=_READS,
    )
    async def explore_metrics(
        source: SourceName = None,
        about: Annotated[
            str | None,
            Field(description="Words for what you look for; everything when left out.", max_length=500),
        ] = None,
    ) -> Annotated[CallToolResult, Exploration]:
        with tool_errors():
            return exploration_answer(await explorer.explore(source, about))
