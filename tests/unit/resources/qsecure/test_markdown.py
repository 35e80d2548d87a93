"""The report for people."""

from datetime import UTC, datetime
from typing import Any

import pytest

from quantum_suite.core.findings import Confidence, Finding, Location, Region, Severity
from quantum_suite.core.scans import EngineRun, NotAssessed, ScanRecord, ScanRequest, SeverityCounts
from quantum_suite.resources.qsecure.markdown import finding_report, markdown_report
from quantum_suite.resources.qsecure.paging import page_count

RECORD = ScanRecord(
    id="scan_1",
    owner="local",
    request=ScanRequest(root="/repo_x", scanners=("secrets",)),
    base="/repo_x",
    state="completed",
    started_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    files_total=3,
    files_done=3,
    counts=SeverityCounts(high=1),
    suppressed=2,
    engines=(EngineRun(name="ruff", version="1", files_assessed=3, seconds=0.5),),
    not_assessed=(
        NotAssessed(what="Secrets", reason="no trivy", count=2, examples=("a",), command="pip install x"),
    ),
)


def a_finding(**changes: Any) -> Finding:
    finding = Finding(
        fingerprint="f" * 32,
        rule_id="S602",
        kind="code",
        family="S602",
        engines=("ruff",),
        title="Subprocess with a shell",
        message="here",
        cwe=(78,),
        severity=Severity.HIGH,
        confidence=Confidence.MEDIUM,
        location=Location(path="a.py", region=Region(start_line=2, end_line=2)),
        snippet="run(x)",
        remediation="Do not.",
    )
    return finding.model_copy(update=changes)


def report(*findings: Finding, page: int = 1, pages: int = 1) -> str:
    return markdown_report(RECORD, findings, page=page, pages=pages, total=len(findings))


def test_the_first_page_says_what_was_done_and_what_was_not() -> None:
    text = report(a_finding())
    assert "| high | 1 |" in text
    assert "- **Secrets** (2): no trivy; for example `a`. To change that: `pip install x`" in text
    assert "2 findings are silenced" in text
    assert "### high: Subprocess with a shell" in text
    assert "`a.py:2`" in text
    assert "CWE-78" in text
    assert "To do: Do not." in text


def test_an_empty_report_says_none() -> None:
    assert "None." in report()


def test_pages_name_their_successor() -> None:
    assert "quantum://qsecure/scans/scan_1/markdown-2" in report(a_finding(), pages=2)
    last = report(a_finding(), page=2, pages=2)
    assert "The next page" not in last
    assert "Not assessed" not in last


@pytest.mark.parametrize("snippet", ["```\nescape", "`````", "a ``` b"])
def test_nothing_in_a_snippet_can_end_its_quotation(snippet: str) -> None:
    lines = report(a_finding(snippet=snippet)).splitlines()
    fence = next(line for line in lines if line.endswith("text") and line.startswith("```"))[:-4]
    start = lines.index(fence + "text")
    end = lines.index(fence, start)
    assert "\n".join(lines[start + 1 : end]) == snippet


def test_markup_in_names_and_messages_is_plain_text() -> None:
    text = report(a_finding(message="[x](http://e) <b>", location=Location(path="a`b\n# c.py")))
    assert "\\[x\\](http://e) \\<b\\>" in text
    assert "\n# c.py" not in text
    assert "`` a`b␤# c.py ``" in text


def test_a_finding_by_itself_says_how_far_to_trust_it() -> None:
    text = finding_report(a_finding(), "Because.", "Do not.", ["https://cwe"], "80% were true")
    assert text.count("Do not") == 1
    assert "Measured accuracy: 80% were true" in text
    assert "- <https://cwe>" in text


@pytest.mark.parametrize(("total", "pages"), [(0, 1), (1, 1), (100, 1), (101, 2)])
def test_pages_are_counted(total: int, pages: int) -> None:
    assert page_count(total, 100) == pages


def test_an_empty_repository_is_not_called_clean() -> None:
    nothing = RECORD.model_copy(update={"files_total": 0, "files_done": 0})
    text = markdown_report(nothing, [], page=1, pages=1, total=0)
    assert "0 of 0 files dealt with; 0 findings." in text
    assert "says nothing about security" in text
    assert "says nothing about security" not in report()


def test_one_of_a_thing_is_not_called_several() -> None:
    assert "1 finding." in report(a_finding())
