"""SARIF against its published schema."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from quantum_suite.core.findings import Confidence, Finding, Location, Region, Severity
from quantum_suite.core.scans import EngineRun, NotAssessed, ScanRecord, ScanRequest
from quantum_suite.resources.qsecure.sarif import sarif_log

SCHEMA = json.loads((Path(__file__).parents[3] / "data" / "sarif-2.1.0.json").read_text("utf-8"))
RECORD = ScanRecord(
    id="scan_1",
    owner="local",
    request=ScanRequest(root="/my repo/x", scanners=("secrets",)),
    base="/my repo/x",
    state="completed",
    started_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    finished_at=datetime(2026, 1, 2, 3, 5, 5, tzinfo=UTC),
    engines=(EngineRun(name="trivy", version="0.76.0"), EngineRun(name="ruff")),
    not_assessed=(
        NotAssessed(what="Secrets", reason="trivy is not installed", command="pip install x"),
        NotAssessed(what="Binary files", reason="not read", count=3, examples=("a", "b")),
    ),
)


def a_finding(number: int = 1, **changes: Any) -> Finding:
    finding = Finding(
        fingerprint=f"{number:032x}",
        rule_id="S602",
        kind="code",
        family="S602",
        engines=("ruff",),
        title="Subprocess with a shell",
        message="here",
        cwe=(78,),
        severity=Severity.HIGH,
        confidence=Confidence.MEDIUM,
        location=Location(
            path="src/a b#ü.py", region=Region(start_line=2, end_line=3, start_column=1, end_column=4)
        ),
        snippet="run(***)",
        remediation="Do not.",
        references=("https://example.org/rule",),
    )
    return finding.model_copy(update=changes)


def log(*findings: Finding, record: ScanRecord = RECORD) -> dict[str, Any]:
    text = sarif_log(record, findings, page=1, pages=2, version="0.1.0+local")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


@pytest.mark.parametrize("severity", list(Severity))
def test_every_log_is_valid(severity: Severity) -> None:
    findings = [
        a_finding(1, severity=severity),
        a_finding(2, location=Location(path="Dockerfile"), snippet=None, cwe=(), references=(), remediation=None),
        a_finding(3, suppressed=True, rule_id="key", kind="secret", cwe=(798, 259)),
    ]
    jsonschema.Draft4Validator(SCHEMA).validate(log(*findings))
    jsonschema.Draft4Validator(SCHEMA).validate(log())
    running = RECORD.model_copy(update={"state": "running", "finished_at": None})
    jsonschema.Draft4Validator(SCHEMA).validate(log(record=running))


def test_the_schema_is_one_that_refuses() -> None:
    broken = log(a_finding())
    broken["runs"][0]["results"][0]["level"] = "terrible"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft4Validator(SCHEMA).validate(broken)


def test_a_result_points_at_its_rule_place_fingerprint_and_weakness() -> None:
    run = log(a_finding())["runs"][0]
    (result,) = run["results"]
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == "S602"
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "src/a%20b%23%C3%BC.py", "uriBaseId": "SRCROOT"}
    assert run["originalUriBaseIds"]["SRCROOT"]["uri"] == "file:///my%20repo/x/"
    assert place["region"]["snippet"]["text"] == "run(***)"
    assert result["partialFingerprints"] == {"quantumSuite/v1": f"{1:032x}"}
    assert result["taxa"] == [{"id": "78", "toolComponent": {"name": "CWE", "index": 0}}]
    assert run["taxonomies"][0]["taxa"][0]["id"] == "78"


def test_a_rule_helps() -> None:
    (rule,) = log(a_finding(1), a_finding(2))["runs"][0]["tool"]["driver"]["rules"]
    assert rule["help"]["text"] == "Do not."
    assert rule["helpUri"] == "https://example.org/rule"
    assert rule["properties"]["security-severity"] == "8.0"
    assert "external/cwe/cwe-078" in rule["properties"]["tags"]


def test_what_was_not_assessed_is_a_notification_with_its_command() -> None:
    (invocation,) = log()["runs"][0]["invocations"]
    texts = [item["message"]["text"] for item in invocation["toolExecutionNotifications"]]
    assert texts == [
        "Not assessed: Secrets: trivy is not installed. Run: pip install x",
        "Not assessed: Binary files (3), such as a, b: not read.",
    ]
    assert invocation["executionSuccessful"]


def test_what_the_source_silences_is_a_suppression() -> None:
    loud, quiet = log(a_finding(1), a_finding(2, suppressed=True))["runs"][0]["results"]
    assert "suppressions" not in loud
    assert quiet["suppressions"] == [{"kind": "inSource"}]


def test_a_colon_in_a_name_is_no_scheme() -> None:
    (result,) = log(a_finding(location=Location(path="c:x.py")))["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "c%3Ax.py"
