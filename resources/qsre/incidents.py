"""An incident as pages: how it stands, its timeline, and the post-mortem. Markdown."""

from collections.abc import Iterator
from datetime import UTC, datetime

from quantum_suite.core.uris import ResourceUri
from quantum_suite.services.incidents.interface import Incident, TimelineEntry
from quantum_suite.services.metrics.windows import shown_duration, shown_time

INCIDENTS = "incidents"


def incident_uri(incident: str, view: str | None = None) -> str:
    """Return the URI of an incident, or of one of its views."""
    return str(ResourceUri("qsre", INCIDENTS, incident, view))


def incident_page(incident: Incident) -> str:
    """Return how it stands: severity, roles, hypotheses, and the last things that happened."""
    lines = [f"# {_line(incident.title)}", "", *_facts(incident), *_hypotheses(incident)]
    last = incident.timeline[-10:]
    lines += ["", "## Last entries", "", *(_entry(entry) for entry in last)]
    return "\n".join(lines) + "\n"


def timeline_page(incident: Incident) -> str:
    """Return everything that happened, in the order in which it did; what was written down later says so."""
    lines = [f"# Timeline: {_line(incident.title)}", ""]
    ordered = sorted(enumerate(incident.timeline), key=lambda pair: (pair[1].at, pair[0]))
    return "\n".join([*lines, *(_entry(entry) for _, entry in ordered)]) + "\n"


def post_mortem_page(incident: Incident) -> str:
    """Return the post-mortem: facts from the record, and headings for what people have to add."""
    lines = [f"# Post-mortem: {_line(incident.title)}", ""]
    if incident.is_open:
        lines += ["**The incident is open: this is what is known so far.**", ""]
    lines += [
        "## Summary",
        "",
        _text(incident.summary) or "_Not written yet: resolve the incident with a summary._",
        "",
    ]
    lines += ["## Facts", "", *_facts(incident), "", "## Cause", ""]
    lines.append(_cause(incident))
    lines += [*_hypotheses(incident), "", "## What was done", ""]
    done = [_entry(entry) for entry in incident.timeline if entry.what == "action_taken"]
    lines += done or ["_Nothing was written down._"]
    lines += ["", "## Evidence", ""]
    evidence = [_entry(entry) for entry in incident.timeline if entry.what == "evidence_added"]
    lines += evidence or ["_None was written down._"]
    ordered = sorted(enumerate(incident.timeline), key=lambda pair: (pair[1].at, pair[0]))
    lines += ["", "## Timeline", "", *(_entry(entry) for _, entry in ordered)]
    lines += ["", "## What went well, what did not, what follows", "", "_For people to write._"]
    return "\n".join(lines) + "\n"


def _facts(incident: Incident) -> Iterator[str]:
    yield f"- Id: `{incident.id}`"
    yield f"- State: {'open' if incident.is_open else 'resolved'}, severity {incident.severity}"
    if incident.service:
        yield f"- Service: {_line(incident.service)}"
    yield f"- Began about {_time(incident.began_at)}; opened {_time(incident.opened_at)} by {incident.origin}"
    seconds = (incident.opened_at - incident.began_at).total_seconds()
    if seconds >= 1:
        yield f"- Noticed after {shown_duration(round(seconds))}"
    if incident.resolved_at is not None:
        lasted = (incident.resolved_at - incident.began_at).total_seconds()
        yield f"- Resolved {_time(incident.resolved_at)}, after {shown_duration(max(1, round(lasted)))}"
    if incident.signals:
        yield f"- Signals: {len(incident.signals)}, {incident.firing} of them firing"
    for role, assignee in sorted(incident.roles.items()):
        yield f"- {role}: {_line(assignee)}"


def _cause(incident: Incident) -> str:
    if incident.cause:
        return _text(incident.cause)
    confirmed = [one.statement for one in incident.hypotheses if one.state == "confirmed"]
    return _text("; ".join(confirmed)) if confirmed else "_Not known._"


def _hypotheses(incident: Incident) -> Iterator[str]:
    if not incident.hypotheses:
        return
    yield from ("", "## Hypotheses", "", "| | what may be the cause | state | confidence | for | against |")
    yield "|---|---|---|---|---|---|"
    for one in incident.hypotheses:
        sure = f"{one.confidence:.2f}" if one.confidence is not None else ""
        statement = _line(one.statement).replace("|", "¦")
        yield f"| {one.id} | {statement} | {one.state} | {sure} | {one.evidence_for} | {one.evidence_against} |"


def _entry(entry: TimelineEntry) -> str:
    by = f" ({entry.by})" if entry.by else ""
    uri = f" <{entry.uri}>" if entry.uri else ""
    return f"- {_time(entry.at)} **{entry.what.replace('_', ' ')}**{by} {_line(entry.text)}{uri}"


def _time(at: datetime) -> str:
    return shown_time(at.astimezone(UTC).timestamp())


def _line(text: str) -> str:
    """Return foreign text as one line that starts no heading, list or markup of its own."""
    return _text(text).replace("\n", " ")


def _text(text: str) -> str:
    return text.replace("<", "&lt;").replace("[", "\\[").replace("#", "\\#").strip()
