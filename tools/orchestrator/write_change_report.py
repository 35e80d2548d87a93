"""Writes the report of a change: what was found, what people decided, what nobody looked at."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from quantum_suite.services.objects.interface import ObjectStore
from quantum_suite.services.workflows.composite.actions import Action, ActionCall
from quantum_suite.services.workflows.interface import Json
from quantum_suite.tools.orchestrator.write_markdown import code, counted, inline

KEEP_DAYS = 365.0
MEDIA_TYPE = "text/markdown"

SCHEMA: Mapping[str, Json] = {
    "type": "object",
    "properties": {
        "scan": {"type": "object", "description": "The result of scan_repository."},
        "triage": {"type": "object", "description": "The result of triage_findings."},
        "explanations": {"type": "array", "description": "Of the worst: finding, why, remediation, accuracy."},
        "decision": {
            "type": ["object", "null"],
            "description": "The approval's result; null: none was needed.",
        },
        "severity_at_least": {"type": "string", "description": "What needed a decision."},
    },
    "required": ["scan", "triage", "explanations", "decision", "severity_at_least"],
    "additionalProperties": False,
}


def decision_of(verdict: Mapping[str, Any] | None) -> str:
    """Return what an approval came to: approved, refused, unanswered, or not_needed."""
    if verdict is None:
        return "not_needed"
    if verdict["approved"]:
        return "approved"
    return "unanswered" if verdict["timed_out"] else "refused"


def change_report(run_id: str, arguments: Mapping[str, Any]) -> str:
    """Return the report in Markdown."""
    scan, triage = arguments["scan"], arguments["triage"]
    lines = [f"# Security of the change in {inline(scan['root'])}", ""]
    lines += [*_decision(arguments["decision"], arguments["severity_at_least"], scan), ""]
    lines += [
        f"Run {code(run_id)}, scan {code(scan['scan'])} ({scan['state']}): {counted(scan['files'], 'file')}.",
        "",
    ]
    lines += _not_assessed(scan["not_assessed"])
    lines += _groups(triage)
    lines += _explanations(arguments["explanations"], triage["groups"])
    lines += ["## The whole list", "", f"- {code(scan['markdown'])}", f"- {code(scan['sarif'])}", ""]
    return "\n".join(lines)


def _decision(verdict: Mapping[str, Any] | None, floor: str, scan: Mapping[str, Any]) -> Iterator[str]:
    matching = f"{counted(scan['matching'], 'finding')} at least {inline(floor)}"
    match decision_of(verdict):
        case "not_needed" if not scan["files"]:
            yield "**No decision was asked for**: there was no file to look at. This says nothing about security."
        case "not_needed":
            yield f"**No decision was needed**: {matching}."
        case "unanswered":
            yield f"**Not approved**: {matching}, and nobody answered in time."
        case decision:
            assert verdict is not None
            why = f": {inline(verdict['reason'])}" if verdict["reason"] else ""
            yield f"**{decision.capitalize()}** by {code(verdict['by'])}{why}. There were {matching}."


def _not_assessed(items: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "## Not assessed"
    yield ""
    for item in items:
        count = f" ({item['count']})" if item.get("count") is not None else ""
        command = f". To change that: {code(item['command'])}" if item.get("command") else ""
        yield f"- **{inline(item['what'])}**{count}: {inline(item['reason'])}{command}"
    if not items:
        yield "Nothing was left out."
    yield ""


def _groups(triage: Mapping[str, Any]) -> Iterator[str]:
    yield "## Findings by cause"
    yield ""
    if triage["groups"]:
        yield inline(triage["note"])
        yield ""
        yield "| severity | confidence | what | findings | where |"
        yield "|---|---|---|---|---|"
    else:
        yield "None at this severity."
    for group in triage["groups"]:
        places = ", ".join(code(place.replace("|", "¦")) for place in group["places"][:3])
        more = group["count"] - len(group["places"][:3])
        yield (
            f"| {group['severity']} | {group['confidence']} | {inline(group['title'])} ({inline(group['rule'])}) "
            f"| {group['count']} | {places}{f' and {more} more' if more > 0 else ''} |"
        )
    if triage["groups_left_out"]:
        yield f"{counted(triage['groups_left_out'], 'group')} more, less bad, are in the whole list."
    if triage["unread"]:
        yield f"{counted(triage['unread'], 'finding')} more were not read for this table; the whole list has them."
    yield ""


def _explanations(explanations: Sequence[Mapping[str, Any]], groups: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    titles = {group["finding"]: group["title"] for group in groups}
    for one in explanations:
        yield f"### {inline(titles.get(one['finding'], one['finding']))}"
        yield ""
        if one["why"] is None:
            yield f"The explanation of {code(one['finding'])} could not be had."
        else:
            yield f"**Why it matters.** {inline(one['why'])}"
            yield ""
            yield f"**What to do.** {inline(one['remediation'])}"
            yield ""
            yield f"**How far to trust it.** Measured accuracy: {inline(one['accuracy'])}"
        yield ""


def write_change_report(objects: ObjectStore) -> Action:
    """Return the action, which keeps the report for a year."""

    async def work(call: ActionCall) -> Json:
        text = change_report(call.run_id, call.arguments)
        await call.check()
        info = await objects.put(text.encode(), MEDIA_TYPE, keep_days=KEEP_DAYS)
        return {
            "digest": info.digest,
            "media_type": MEDIA_TYPE,
            "title": f"Security of the change in {call.arguments['scan']['root']}",
            "decision": decision_of(call.arguments["decision"]),
        }

    return Action("write_change_report", "Write the report of a change and keep it.", SCHEMA, work, is_report=True)
