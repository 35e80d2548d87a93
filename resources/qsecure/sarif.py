"""A scan as SARIF 2.1.0 (OASIS Standard, 27 March 2020), for code-scanning services and editors.

Each page is a complete log with one run; `automationDetails.id` names the scan and the page. What was not assessed
stands in the invocation's `toolExecutionNotifications`.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

from quantum_suite.core.findings import Finding, Region, Severity
from quantum_suite.core.scans import NotAssessed, ScanRecord

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
FINGERPRINT = "quantumSuite/v1"
_ROOT = "SRCROOT"
_LEVELS = {
    Severity.CRITICAL: "error",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "note",
    Severity.INFO: "note",
}
# The scale that GitHub reads from `security-severity`, which follows CVSS: 9, 7 and 4 are its steps.
_SCORES = {
    Severity.CRITICAL: "9.5",
    Severity.HIGH: "8.0",
    Severity.MEDIUM: "5.5",
    Severity.LOW: "2.0",
    Severity.INFO: "0.0",
}


def sarif_log(record: ScanRecord, findings: Sequence[Finding], *, page: int, pages: int, version: str) -> str:
    """Return page `page` (from 1) of `pages` as a SARIF log. `version` is the suite's own."""
    rules = _rules(findings)
    index = {rule["id"]: position for position, rule in enumerate(rules)}
    cwes = sorted({number for finding in findings for number in finding.cwe})
    run: dict[str, Any] = {
        "tool": {
            "driver": {
                "name": "Quantum Suite QSecure",
                "semanticVersion": version.split("+")[0],
                "rules": rules,
                "supportedTaxonomies": [{"name": "CWE", "index": 0}],
            },
            "extensions": [
                {"name": run.name, **({"version": run.version} if run.version else {})} for run in record.engines
            ],
        },
        "taxonomies": [_cwe_taxonomy(cwes)],
        "automationDetails": {"id": f"qsecure/{record.id}/{page}"},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {_ROOT: {"uri": _directory_uri(record.base)}},
        "invocations": [_invocation(record)],
        "results": [_result(finding, index) for finding in findings],
        "properties": {"page": page, "pages": pages},
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1, ensure_ascii=False)


def _rules(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Describe each rule by the first finding of it."""
    first: dict[str, Finding] = {}
    for finding in findings:
        first.setdefault(finding.rule_id, finding)
    return [_rule(finding) for _, finding in sorted(first.items())]


def _rule(finding: Finding) -> dict[str, Any]:
    text = finding.remediation or finding.title
    links = "".join(f"\n\n[{link}]({link})" for link in finding.references)
    rule: dict[str, Any] = {
        "id": finding.rule_id,
        "shortDescription": {"text": finding.title},
        "help": {"text": text, "markdown": text + links},
        "defaultConfiguration": {"level": _LEVELS[finding.severity]},
        "properties": {
            "tags": ["security", finding.kind, *(f"external/cwe/cwe-{number:03d}" for number in finding.cwe)],
            "precision": finding.confidence.value,
            "security-severity": _SCORES[finding.severity],
        },
    }
    if finding.references:
        rule["helpUri"] = finding.references[0]
    if finding.cwe:
        rule["relationships"] = [
            {"target": {"id": str(number), "toolComponent": {"name": "CWE", "index": 0}}, "kinds": ["relevant"]}
            for number in finding.cwe
        ]
    return rule


def _cwe_taxonomy(numbers: Sequence[int]) -> dict[str, Any]:
    return {
        "name": "CWE",
        "organization": "MITRE",
        "informationUri": "https://cwe.mitre.org/",
        "shortDescription": {"text": "Common Weakness Enumeration"},
        "isComprehensive": False,
        "taxa": [
            {"id": str(number), "helpUri": f"https://cwe.mitre.org/data/definitions/{number}.html"}
            for number in numbers
        ],
    }


def _result(finding: Finding, index: dict[str, int]) -> dict[str, Any]:
    place: dict[str, Any] = {
        # Commas and the like stay; a colon in the first segment would read as a scheme.
        "artifactLocation": {"uri": quote(finding.location.path, safe="/-._~!$&'()*+,;=@"), "uriBaseId": _ROOT}
    }
    if finding.location.region is not None:
        place["region"] = _region(finding.location.region, finding.snippet)
    result: dict[str, Any] = {
        "ruleId": finding.rule_id,
        "ruleIndex": index[finding.rule_id],
        "level": _LEVELS[finding.severity],
        "message": {"text": finding.message},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {FINGERPRINT: finding.fingerprint},
        "taxa": [{"id": str(number), "toolComponent": {"name": "CWE", "index": 0}} for number in finding.cwe],
        "properties": {
            "severity": finding.severity.value,
            "confidence": finding.confidence.value,
            "engines": list(finding.engines),
            "otherRules": list(finding.other_rules),
        },
    }
    if finding.suppressed:
        result["suppressions"] = [{"kind": "inSource"}]
    return result


def _region(region: Region, snippet: str | None) -> dict[str, Any]:
    shown: dict[str, Any] = {"startLine": region.start_line, "endLine": region.end_line}
    if region.start_column is not None:
        shown["startColumn"] = region.start_column
    if region.end_column is not None:
        shown["endColumn"] = region.end_column
    if snippet is not None:
        shown["snippet"] = {"text": snippet}
    return shown


def _invocation(record: ScanRecord) -> dict[str, Any]:
    invocation: dict[str, Any] = {
        "executionSuccessful": record.state == "completed",
        "startTimeUtc": record.started_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "toolExecutionNotifications": [_notification(item) for item in record.not_assessed],
    }
    if record.finished_at is not None:
        invocation["endTimeUtc"] = record.finished_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return invocation


def _notification(item: NotAssessed) -> dict[str, Any]:
    return {
        "level": "warning",
        "message": {"text": not_assessed_line(item)},
        "descriptor": {"id": "not-assessed"},
    }


def not_assessed_line(item: NotAssessed) -> str:
    """Say in one line what was not assessed, how much of it, why, and what would change that."""
    count = f" ({item.count})" if item.count is not None else ""
    examples = f", such as {', '.join(item.examples)}" if item.examples else ""
    command = f" Run: {item.command}" if item.command else ""
    return f"Not assessed: {item.what}{count}{examples}: {item.reason}.{command}"


def _directory_uri(root: str) -> str:
    return f"file://{quote(root.rstrip('/'))}/"
