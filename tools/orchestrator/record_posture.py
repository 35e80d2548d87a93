"""Writes the report of a posture, and records it as an event that notifications and the next comparison read."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from quantum_suite.core.events import NewEvent
from quantum_suite.services.events.interface import ANY_VERSION, EventStore
from quantum_suite.services.objects.interface import ObjectStore
from quantum_suite.services.workflows.composite.actions import Action, ActionCall
from quantum_suite.services.workflows.interface import Json
from quantum_suite.tools.orchestrator.compare_postures import WORKSPACES, last_snapshot, snapshot_of
from quantum_suite.tools.orchestrator.postures import PostureRecorded, posture_stream
from quantum_suite.tools.orchestrator.write_markdown import code, counted, inline

KEEP_DAYS = 400.0
MEDIA_TYPE = "text/markdown"

SCHEMA: Mapping[str, Json] = {
    "type": "object",
    "properties": {
        "series": {"type": "string", "description": "The series it belongs to."},
        "workspaces": WORKSPACES,
        "comparison": {"type": "object", "description": "The result of compare_postures."},
        "severity_at_least": {"type": "string", "description": "Which findings were counted."},
    },
    "required": ["series", "workspaces", "comparison", "severity_at_least"],
    "additionalProperties": False,
}


def posture_report(run_id: str, arguments: Mapping[str, Any]) -> str:
    """Return the report in Markdown."""
    comparison = arguments["comparison"]
    floor = inline(arguments["severity_at_least"])
    since = f"since {inline(comparison['since'])}" if comparison["since"] else "compared with nothing yet"
    lines = ["# Security posture", "", f"Run {code(run_id)}, findings at least {floor}, {since}.", ""]
    lines += ["| workspace | findings | appeared | gone |", "|---|---|---|---|"]
    pairs = list(zip(arguments["workspaces"], comparison["workspaces"], strict=True))
    lines += [_row(one, change) for one, change in pairs]
    lines += [""]
    for one, change in pairs:
        lines += _changes(one["workspace"], change)
    lines += _not_assessed(arguments["workspaces"])
    return "\n".join(lines)


def _row(one: Mapping[str, Any], change: Mapping[str, Any]) -> str:
    place = code(str(one["workspace"]).replace("|", "¦"))
    if one["state"] != "completed":
        return f"| {place} | not scanned: {inline(one['error'] or one['state'])} | | |"
    if not change["compared"]:
        return f"| {place} | {one['total']} | not compared | not compared |"
    appeared, gone = (_count(change[name]) for name in ("appeared_count", "gone_count"))
    return f"| {place} | {one['total']} | {appeared} | {gone} |"


def _count(count: int | None) -> str:
    return "not known" if count is None else str(count)


def _changes(workspace: str, change: Mapping[str, Any]) -> Iterator[str]:
    for name in ("appeared", "gone"):
        if change[name]:
            yield f"## {name.capitalize()} in {inline(workspace)}"
            yield ""
            yield from (f"- {code(fingerprint)}" for fingerprint in change[name])
            if (more := (change[f"{name}_count"] or 0) - len(change[name])) > 0:
                yield f"- and {more} more"
            yield ""


def _not_assessed(workspaces: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "## Not assessed"
    yield ""
    told = False
    for one in workspaces:
        for item in one["not_assessed"] or ():
            told = True
            yield f"- {inline(one['workspace'])}: **{inline(item['what'])}**: {inline(item['reason'])}"
        if one["state"] != "completed":
            told = True
            yield f"- {inline(one['workspace'])}: **all of it**: {inline(one['error'] or one['state'])}"
    if not told:
        yield "Nothing was left out."
    yield ""


def record_posture(events: EventStore, objects: ObjectStore) -> Action:
    """Return the action. Done again, it records nothing twice."""

    async def work(call: ActionCall) -> Json:
        arguments = call.arguments
        workspaces, comparison = arguments["workspaces"], arguments["comparison"]
        series, owner = arguments["series"], call.owner.principal
        before, _ = await last_snapshot(events, objects, owner, series, before_run=call.run_id)
        snapshot = snapshot_of(workspaces, before)
        await call.check()
        kept = await objects.put(
            json.dumps(snapshot, sort_keys=True).encode(), "application/json", keep_days=KEEP_DAYS
        )
        report = await objects.put(
            posture_report(call.run_id, arguments).encode(), MEDIA_TYPE, keep_days=KEEP_DAYS
        )
        recorded = PostureRecorded(
            run=call.run_id,
            series=series,
            snapshot=kept.digest,
            report=report.digest,
            workspaces=len(workspaces),
            not_scanned=sum(one["state"] != "completed" for one in workspaces),
            findings=sum(one["total"] or 0 for one in workspaces),
            appeared=comparison["appeared"],
            gone=comparison["gone"],
        )
        event = NewEvent(
            recorded,
            subject=series,
            principal=owner,
            correlation_id=call.run_id,
            id=f"evt_{hashlib.sha256(call.idempotency_key.encode()).hexdigest()[:32]}",
        )
        await events.append(posture_stream(owner, series), ANY_VERSION, [event])
        counted_findings = f"{counted(comparison['appeared'], 'finding')} appeared, {comparison['gone']} gone"
        return {
            "digest": report.digest,
            "media_type": MEDIA_TYPE,
            "title": f"Security posture: {counted_findings}",
            "findings": recorded.findings,
            "not_scanned": recorded.not_scanned,
        }

    return Action(
        "record_posture", "Write the report of a posture and record it as an event.", SCHEMA, work, is_report=True
    )
