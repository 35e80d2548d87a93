"""Groups findings with one cause and ranks the groups. It sorts; whether a finding is true nobody has judged."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from quantum_suite.core.findings import Confidence, Severity
from quantum_suite.services.workflows.composite.actions import Action, ActionCall
from quantum_suite.services.workflows.interface import Json

MOST_GROUPS = 30
MOST_PLACES = 5
MOST_WORST = 5

SCHEMA: Mapping[str, Json] = {
    "type": "object",
    "properties": {
        "findings": {
            "type": "array",
            "description": "Findings as list_findings returns them.",
            "items": {"type": "object"},
        },
        "total": {"type": "integer", "description": "How many there are, when not all were read."},
    },
    "required": ["findings"],
    "additionalProperties": False,
}

_NOTE = "Grouped and ranked by severity, confidence and number. Whether a finding is true was not judged."


def triage(findings: Sequence[Mapping[str, Any]], total: int | None = None) -> dict[str, Json]:
    """Return groups, worst first: credentials before others of the same severity, then by confidence and number.

    A group is what one rule family reports of one kind. `worst` names one finding each of the first groups, the
    ones to look at first. `unread` is how many findings exist that were not among those given.
    """
    members: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for finding in findings:
        members[(str(finding["kind"]), str(finding["family"]))].append(finding)
    groups = sorted((_group(kind, family, found) for (kind, family), found in members.items()), key=_rank)
    counts = {severity.value: 0 for severity in Severity}
    for finding in findings:
        counts[Severity(finding["severity"]).value] += 1
    return {
        "total": len(findings),
        "unread": max(0, (total if total is not None else len(findings)) - len(findings)),
        "by_severity": counts,
        "groups": groups[:MOST_GROUPS],
        "groups_left_out": max(0, len(groups) - MOST_GROUPS),
        "worst": [group["finding"] for group in groups[:MOST_WORST]],
        "note": _NOTE,
    }


def _group(kind: str, family: str, found: Sequence[Mapping[str, Any]]) -> dict[str, Json]:
    worst = min(found, key=_finding_rank)
    places = [_place(finding) for finding in sorted(found, key=_finding_rank)]
    return {
        "kind": kind,
        "family": family,
        "rule": worst["rule_id"],
        "title": worst["title"],
        "severity": worst["severity"],
        "confidence": worst["confidence"],
        "count": len(found),
        "files": len({finding["location"]["path"] for finding in found}),
        "places": places[:MOST_PLACES],
        "engines": sorted({engine for finding in found for engine in finding["engines"]}),
        "cwe": sorted({number for finding in found for number in finding.get("cwe") or ()}),
        "finding": worst["fingerprint"],
    }


def _finding_rank(finding: Mapping[str, Any]) -> tuple[int, int, str]:
    severity, confidence = Severity(finding["severity"]), Confidence(finding["confidence"])
    return severity.rank, confidence.rank, str(finding["fingerprint"])


def _rank(group: Mapping[str, Any]) -> tuple[int, int, int, int, str]:
    severity, confidence = Severity(group["severity"]), Confidence(group["confidence"])
    leaked = 0 if group["kind"] == "secret" else 1
    return severity.rank, leaked, confidence.rank, -group["count"], group["family"]


def _place(finding: Mapping[str, Any]) -> str:
    location = finding["location"]
    region = location.get("region")
    return f"{location['path']}:{region['start_line']}" if region else str(location["path"])


async def _work(call: ActionCall) -> Json:
    return triage(call.arguments["findings"], call.arguments.get("total"))


TRIAGE_FINDINGS = Action("triage_findings", "Group findings with one cause and rank the groups.", SCHEMA, _work)
