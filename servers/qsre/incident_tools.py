"""The tools on incidents: keeping their record, finding them, and finding what is to blame."""

from typing import Annotated, Any, Literal

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import CallToolResult, ToolAnnotations
from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.incident_events import HypothesisState, IncidentRole, IncidentSeverity
from quantum_suite.servers.callers import correlation_of, principal_of, tool_errors
from quantum_suite.servers.qsre.incident_answers import diagnosis_answer, incident_answer, incidents_answer
from quantum_suite.services.incidents.incidents import Incidents
from quantum_suite.services.incidents.interface import MAX_TEXT
from quantum_suite.services.root_cause.interface import Kind
from quantum_suite.services.root_cause.system_file import MOST_SIGNALS, SignalQuery
from quantum_suite.tools.qsre.diagnose_incident import Diagnoser, DiagnosisAnswer, DiagnosisQuestion
from quantum_suite.tools.qsre.list_incidents import IncidentList, IncidentRow, list_incidents
from quantum_suite.tools.qsre.manage_incident import IncidentAction, IncidentChange, IncidentKeeper

_READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=True)
_LISTS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
# A record that is only ever added to: nothing is destroyed.
_WRITES = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
)
_TIME = "RFC 3339 (2026-01-31T12:00:00Z), Unix seconds, or -1h."

IncidentId = Annotated[str | None, Field(description="The incident's id (inc_...).", max_length=60)]


class SignalInput(BaseModel):
    """A query whose series are one kind of signal of many nodes."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind = Field(
        description="latency (seconds a request), errors (share that fails, 0 to 1), traffic (requests), or "
        "saturation (bad when high)."
    )
    query: str = Field(
        description="PromQL that gives one series a node, e.g. sum by (service) (...).", max_length=10_000
    )
    node: str = Field(description="The label that names the node, e.g. service.", max_length=200)


def add_incident_tools(
    server: MCPServer[Any], incidents: Incidents, keeper: IncidentKeeper, diagnoser: Diagnoser
) -> None:
    """Register the tools on `server`."""

    @server.tool(
        name="manage_incident",
        title="Manage an incident",
        description="Open an incident, and write into its record what is noticed, thought and done; nothing "
        "in it is ever changed or lost. Actions and what they need: open (text: a title; "
        "severity, service, began_at); note (text); severity (severity; text: why); role (role, "
        "assignee); hypothesis (text to state one; hypothesis and verdict to judge one); evidence"
        " (text; hypothesis, supports, uri); action (text; outcome): what was done; resolve "
        "(text: summary; cause); reopen (text: why). All but open need incident. Alerts and "
        "anomalies come by themselves. list_incidents finds ids, diagnose_incident suspects.",
        annotations=_WRITES,
    )
    async def manage_incident(
        action: Annotated[IncidentAction, Field(description="What to do.")],
        ctx: Context[Any, Any],
        incident: IncidentId = None,
        text: Annotated[
            str | None,
            Field(
                description="Title, note, reason, statement, finding, deed or summary.", max_length=MAX_TEXT * 2
            ),
        ] = None,
        severity: Annotated[
            IncidentSeverity | None, Field(description="How bad it is; high when left out.")
        ] = None,
        service: Annotated[
            str | None, Field(description="What is concerned, as metrics name it.", max_length=100)
        ] = None,
        began_at: Annotated[
            str | None, Field(description=f"About when it began: {_TIME} Now when left out.")
        ] = None,
        role: Annotated[IncidentRole | None, Field(description="The role to give.")] = None,
        assignee: Annotated[
            str | None,
            Field(description="Who takes it: a principal's id or a team. No person's name: the record stays."),
        ] = None,
        hypothesis: Annotated[str | None, Field(description="A hypothesis by its number, e.g. h1.")] = None,
        verdict: Annotated[HypothesisState | None, Field(description="What a hypothesis is held to be.")] = None,
        confidence: Annotated[
            float | None, Field(description="How likely a new hypothesis is.", ge=0, le=1)
        ] = None,
        supports: Annotated[bool | None, Field(description="Whether evidence speaks for its hypothesis.")] = None,
        outcome: Annotated[str | None, Field(description="What came of an action.")] = None,
        cause: Annotated[str | None, Field(description="The cause, where it is known, when resolving.")] = None,
        uri: Annotated[str | None, Field(description="Where evidence is to be seen, e.g. quantum://...")] = None,
    ) -> Annotated[CallToolResult, IncidentRow]:
        change = IncidentChange(
            action,
            incident,
            text,
            severity,
            service,
            began_at,
            role,
            assignee,
            hypothesis,
            verdict,
            confidence,
            supports,
            outcome,
            cause,
            uri,
        )
        with tool_errors():
            return incident_answer(await keeper.change(change, principal_of(ctx), correlation_of(ctx)))

    @server.tool(
        name="list_incidents",
        title="List incidents",
        description="List incidents, the one that changed last first: id, title, severity, since when, how "
        "many of its alerts fire. quantum://qsre/incidents/<id> has one whole, /timeline and "
        "/post-mortem its pages.",
        annotations=_LISTS,
    )
    async def list_them(
        state: Annotated[Literal["open", "resolved", "all"], Field(description="Which ones.")] = "open",
        service: Annotated[str | None, Field(description="Only of this service.", max_length=100)] = None,
    ) -> Annotated[CallToolResult, IncidentList]:
        with tool_errors():
            return incidents_answer(await list_incidents(incidents, state, service))

    @server.tool(
        name="diagnose_incident",
        title="Diagnose an incident",
        description="Rank what may have caused an incident: compares metrics since the onset with those "
        "before, for every node; whose trouble its own dependencies do not explain is suspected; "
        "changes right before count. Answers with suspects, evidence in words and numbers, a "
        "confidence, or 'not enough data'. Give an incident, or service and onset; and how the "
        "system is measured: a system file of the workspace (signals, edges, traces, kubernetes, "
        "changes), or signals. Deterministic; changes nothing. Check the first suspects with "
        "query_metrics, then state hypotheses with manage_incident.",
        annotations=_READS,
    )
    async def diagnose_incident(
        ctx: Context[Any, Any],
        incident: IncidentId = None,
        service: Annotated[
            str | None, Field(description="What complains; the incident's when left out.", max_length=200)
        ] = None,
        kind: Annotated[Kind | None, Field(description="What of it is bad; the worst when left out.")] = None,
        onset: Annotated[
            str | None,
            Field(
                description=f"About when it began: {_TIME} The incident's when left out; an alert's is refined."
            ),
        ] = None,
        system: Annotated[
            str | None,
            Field(description="A YAML file that says how the system is built and measured.", max_length=500),
        ] = None,
        signals: Annotated[
            list[SignalInput] | None,
            Field(description="How the system is measured, beside what the file says.", max_length=MOST_SIGNALS),
        ] = None,
        source: Annotated[
            str | None,
            Field(description="The source of metrics; may be left out where there is one.", max_length=100),
        ] = None,
        baseline: Annotated[
            str | None, Field(description="How long before the onset is compared with; 24h when left out.")
        ] = None,
        step: Annotated[
            str | None, Field(description="Distance of points; one that gives about 300 when left out.")
        ] = None,
    ) -> Annotated[CallToolResult, DiagnosisAnswer]:
        given = tuple(SignalQuery(one.kind, one.query, one.node) for one in signals or ())
        question = DiagnosisQuestion(incident, service, kind, onset, system, given, source, baseline, step)
        with tool_errors():
            return diagnosis_answer(await diagnoser.diagnose(question, principal_of(ctx)))
