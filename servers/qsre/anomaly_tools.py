"""The tools on anomalies: finding them in what was, and watching for those to come."""

from typing import Annotated, Any, Literal

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import CallToolResult, ToolAnnotations
from pydantic import Field

from quantum_suite.core.errors import CallerError
from quantum_suite.servers.callers import principal_of, tool_errors
from quantum_suite.servers.module import Services
from quantum_suite.servers.qsre.anomaly_answers import anomalies_answer, watches_answer
from quantum_suite.services.anomalies.interface import Kind, Sensitivity
from quantum_suite.services.workspaces import Workspaces
from quantum_suite.tools.qsre.detect_anomalies import AnomalyAnswer, AnomalyFinder, AnomalyQuestion
from quantum_suite.tools.qsre.manage_watches import NewWatch, WatchAnswer, WatchKeeper, no_orchestrator

SourceName = Annotated[
    str | None, Field(description="The source, by its name; may be left out where there is one.", max_length=100)
]
HowSensitive = Annotated[
    Sensitivity, Field(description="low: few false alarms; high: few missed anomalies, more false alarms.")
]
SeriesKind = Annotated[
    Kind | None,
    Field(description="gauge or counter; left out, the data tells. Of a counter its rate is judged."),
]
_READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, open_world_hint=True)
_CHANGES = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=True
)
_TIME = "RFC 3339, Unix seconds, now, or -1h."


def watch_keeper(services: Services) -> WatchKeeper | None:
    """Return what keeps watches; None where the suite was put together without an orchestrator."""
    if services.watches is None or services.open_workflows is None:
        return None
    return WatchKeeper(services.watches, services.open_workflows)


def add_anomaly_tools(
    server: MCPServer[Any], finder: AnomalyFinder, keeper: WatchKeeper | None, workspaces: Workspaces
) -> None:
    """Register the tools on `server`; without a keeper, managing watches says what is missing."""

    @server.tool(
        name="detect_anomalies",
        title="Detect anomalies",
        description="Find where series did what they had not done before: a PromQL query over a window, a CSV "
        "file of the workspace, or values in the call. Each anomaly comes once, with what was expected, what "
        "came, since when, how strong, and which detectors saw it (density, season, change, subspace). The first "
        "150 points of a series are for learning: 'not enough data' is an answer. To be told of anomalies to "
        "come, use manage_watches.",
        annotations=_READS,
        meta={"quantum/longRunning": True},
    )
    async def detect_anomalies(
        ctx: Context[Any, Any],
        query: Annotated[
            str | None, Field(description="PromQL; each series of the answer is judged by itself, 20 at most.")
        ] = None,
        file: Annotated[
            str | None,
            Field(description="A CSV file in the workspace, with a column of times and one of numbers."),
        ] = None,
        values: Annotated[
            list[float | None] | None,
            Field(
                description="Values in order, null for none, where there is no query or file.", max_length=200_000
            ),
        ] = None,
        times: Annotated[
            list[float] | None,
            Field(description="Unix seconds of the values; left out, they are a step apart.", max_length=200_000),
        ] = None,
        source: SourceName = None,
        last: Annotated[
            str | None, Field(description="Length of the window up to end, e.g. 6h, 14d; 7d when left out.")
        ] = None,
        start: Annotated[str | None, Field(description=f"Begin of the window, instead of last: {_TIME}")] = None,
        end: Annotated[str | None, Field(description=f"End of the window: {_TIME} Now when left out.")] = None,
        step: Annotated[
            str | None,
            Field(description="Distance of points, e.g. 5m; one that gives about 2,000 points when left out."),
        ] = None,
        sensitivity: HowSensitive = "normal",
        kind: SeriesKind = None,
        time_column: Annotated[
            str | None, Field(description="The file's column of times; found when left out.", max_length=200)
        ] = None,
        value_column: Annotated[
            str | None,
            Field(description="The file's column of numbers; needed where there are several.", max_length=200),
        ] = None,
        plot: Annotated[bool, Field(description="Whether to draw the strangest series, anomalies marked.")] = True,
    ) -> Annotated[CallToolResult, AnomalyAnswer]:
        principal = principal_of(ctx)
        with tool_errors():
            path = workspaces.resolve(file, principal, argument="file") if file is not None else None
            question = AnomalyQuestion(
                query=query,
                file=path,
                values=values,
                times=times,
                source=source,
                start=start,
                end=end,
                last=last,
                step=step,
                time_column=time_column,
                value_column=value_column,
                sensitivity=sensitivity,
                kind=kind,
                plot=plot,
            )
            return anomalies_answer(await finder.find(question, principal))

    @server.tool(
        name="manage_watches",
        title="Manage watches",
        description="Watch a query for anomalies by the clock: add, list or remove watches. Each anomaly is told "
        "once, as an event qsre.anomaly.detected, which can start workflows and notify people; restarts lose "
        "nothing. list says when each was last looked at and whether its source is away.",
        annotations=_CHANGES,
        meta={"quantum/longRunning": True},
    )
    async def manage_watches(
        action: Annotated[Literal["add", "list", "remove"], Field(description="What to do.")],
        ctx: Context[Any, Any],
        query: Annotated[
            str | None, Field(description="add: PromQL; up to 20 series are watched.", max_length=4000)
        ] = None,
        name: Annotated[str | None, Field(description="add: what to call it.", max_length=100)] = None,
        source: SourceName = None,
        schedule: Annotated[
            str, Field(description="add: when to look, as cron in UTC; every five minutes when left out.")
        ] = "*/5 * * * *",
        step: Annotated[str, Field(description="add: distance of the points that are judged, e.g. 1m.")] = "1m",
        sensitivity: HowSensitive = "normal",
        kind: SeriesKind = None,
        watch: Annotated[str | None, Field(description="remove: the watch's id.", max_length=60)] = None,
    ) -> Annotated[CallToolResult, WatchAnswer]:
        principal = principal_of(ctx)
        with tool_errors():
            if keeper is None:
                raise no_orchestrator()
            if action == "list":
                return watches_answer(await keeper.list_all(principal))
            if action == "remove":
                if watch is None:
                    raise CallerError("remove needs the watch.", "Give an id from list.", argument="watch")
                return watches_answer(await keeper.remove(watch, principal))
            if query is None:
                raise CallerError("add needs a query.", "Give PromQL.", argument="query")
            wanted = NewWatch(query, name, source, schedule, step, sensitivity, kind)
            return watches_answer(await keeper.add(wanted, principal))
