"""The report of `quantum demo` is short, says the worst first, and never forgets what was not looked at."""

import io

import pytest
from rich.console import Console

from quantum_suite.core.findings import Confidence, Finding, Location, Region, Severity
from quantum_suite.core.scans import EngineRun, NotAssessed, SeverityCounts
from quantum_suite.hub.cli.reporting import CLOSER_LOOKS, RULES_SHOWN, ScanSummary, print_report, summary_of


def finding(rule: str, severity: Severity, line: int = 1, snippet: str = "x = 1") -> Finding:
    return Finding(
        fingerprint=f"{line:032x}",
        rule_id=rule,
        kind="code",
        family=rule,
        engines=("ruff",),
        title=f"Title of {rule}",
        message="found",
        severity=severity,
        confidence=Confidence.MEDIUM,
        location=Location(path="a.py", region=Region(start_line=line, end_line=line)),
        snippet=snippet,
        remediation=f"Mend {rule}.",
    )


def summary(findings: list[Finding], files: int = 2) -> ScanSummary:
    counts = {severity.value: sum(f.severity is severity for f in findings) for severity in Severity}
    return ScanSummary(
        scan="scan_1",
        root="/shop",
        files=files,
        counts=SeverityCounts(**counts),
        suppressed=0,
        engines=(EngineRun(name="ruff", version="1", files_assessed=files, seconds=0.1),),
        not_assessed=(NotAssessed(what="Secrets", reason="trivy is missing", command="pip install x"),),
    )


def printed(about: ScanSummary, findings: list[Finding], width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    print_report(console, about, findings)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_findings_of_one_rule_are_one_line_with_their_number() -> None:
    found = [finding("S1", Severity.HIGH, line) for line in range(1, 8)] + [finding("S2", Severity.LOW)]
    text = printed(summary(found), found)
    assert text.splitlines()[1] == "8 findings in 2 files: 7 high, 1 low."
    rows = [line.split() for line in text.splitlines() if "(S1)" in line or "(S2)" in line]
    assert [row[:2] for row in rows] == [["high", "7"], ["low", "1"]]
    assert text.count("Mend S1.") == 1


def test_the_report_stays_short_however_many_rules_alarm() -> None:
    found = [finding(f"S{number:03}", Severity.HIGH) for number in range(RULES_SHOWN + 30)]
    text = printed(summary(found), found)
    assert "... and 30 findings of 30 rules more" in text
    assert text.count("Mend ") == CLOSER_LOOKS
    assert len(text.splitlines()) < 60


def test_what_was_not_assessed_is_said_with_the_command_that_changes_it() -> None:
    text = printed(summary([]), [])
    assert "- Secrets: trivy is missing. To change that: pip install x" in text


def test_an_empty_repository_is_not_called_clean() -> None:
    assert "says nothing about security" in printed(summary([], files=0), [])


def test_findings_left_out_by_severity_are_still_counted() -> None:
    found = [finding("S1", Severity.HIGH), finding("S2", Severity.LOW)]
    assert "2 findings in 2 files: 1 high, 1 low. Those asked for: 1." in printed(summary(found), found[:1])


def test_text_of_scanned_files_cannot_steer_the_terminal() -> None:
    found = [finding("S1", Severity.HIGH, snippet="\x1b]0;owned\x07 [bold]x[/bold]")]
    text = printed(summary(found), found)
    assert "\x1b" not in text
    assert "[bold]x[/bold]" in text


def test_a_masked_key_is_shown_as_one_line() -> None:
    found = [finding("key", Severity.HIGH, snippet="***\n***\n***\n***\n***\n***")]
    assert printed(summary(found), found).count("| ***") == 1


def test_every_line_fits_a_narrow_terminal() -> None:
    found = [finding("S1", Severity.HIGH, snippet="y" * 300)]
    assert max(len(line) for line in printed(summary(found), found, width=80).splitlines()) <= 80


def test_an_answer_of_another_form_is_refused() -> None:
    with pytest.raises(ValueError, match="counts"):
        summary_of({"scan": "x"})
