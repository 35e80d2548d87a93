"""What the tools on incidents answer."""

from mcp_types import CallToolResult, ContentBlock, ResourceLink, TextContent

from quantum_suite.resources.qsre.incidents import incident_uri
from quantum_suite.services.incidents.interface import Incident
from quantum_suite.tools.qsre.diagnose_incident import DiagnosisAnswer, SuspectRow
from quantum_suite.tools.qsre.list_incidents import IncidentList, IncidentRow, incident_row

_TOLD = 20
_TOLD_SUSPECTS = 5
_TOLD_EVIDENCE = 4


def incident_answer(incident: Incident) -> CallToolResult:
    """Return an incident after a change: a line on it, its last entry, and links."""
    row = incident_row(incident)
    last = incident.timeline[-1]
    text = f"{_row(row)}\nLast entry: {last.what.replace('_', ' ')}: {last.text}"
    if incident.hypotheses:
        text += "\nHypotheses: " + "; ".join(
            f"{one.id} {one.state}: {one.statement}" for one in incident.hypotheses
        )
    return CallToolResult(
        content=[TextContent(text=text), *_links(incident.id)], structured_content=row.model_dump(mode="json")
    )


def incidents_answer(found: IncidentList) -> CallToolResult:
    """Return a list of incidents."""
    many = f"{found.found} incident{'s' if found.found > 1 else ''}."
    lines = [many if found.found else "There is no such incident."]
    lines += [_row(row) for row in found.incidents[:_TOLD]]
    return CallToolResult(
        content=[TextContent(text="\n".join(lines))], structured_content=found.model_dump(mode="json")
    )


def diagnosis_answer(answer: DiagnosisAnswer) -> CallToolResult:
    """Return a diagnosis: verdict, suspects with their evidence, changes, and what was missing."""
    lines = [f"{answer.verdict}: {answer.reason}", f"{answer.kind} of {answer.service} since {answer.onset}."]
    for suspect in answer.suspects[:_TOLD_SUSPECTS]:
        lines += _suspect(suspect)
    if answer.changes:
        lines.append("Changes before it began:")
        lines += [f"- {one.at} {one.service or 'somewhere'}: {one.what} ({one.source})" for one in answer.changes]
    lines += [f"Note: {note}" for note in answer.notes]
    return CallToolResult(
        content=[TextContent(text="\n".join(lines))], structured_content=answer.model_dump(mode="json")
    )


def _suspect(suspect: SuspectRow) -> list[str]:
    since = f", off since {suspect.since}" if suspect.since else ""
    head = f"- {suspect.node}: confidence {suspect.confidence:.2f}{since}"
    return [head, *(f"  - {words}" for words in suspect.evidence[:_TOLD_EVIDENCE])]


def _row(row: IncidentRow) -> str:
    firing = f", {row.firing} firing" if row.firing else ""
    service = f", {row.service}" if row.service else ""
    return f"{row.incident} {row.state}, {row.severity}{service}: {row.title} (since {row.began_at}{firing})"


def _links(incident: str) -> list[ContentBlock]:
    pages = ((None, "Incident"), ("timeline", "Timeline"), ("post-mortem", "Post-mortem"))
    return [
        ResourceLink(uri=incident_uri(incident, view), name=name, mime_type="text/markdown")
        for view, name in pages
    ]
