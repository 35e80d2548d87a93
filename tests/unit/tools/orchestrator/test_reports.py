"""Triage, comparison and reports say what is known, and what is not."""

from typing import Any

from reference.offered_tools import finding

from quantum_suite.tools.orchestrator.compare_postures import compare, snapshot_of
from quantum_suite.tools.orchestrator.record_posture import posture_report
from quantum_suite.tools.orchestrator.triage_findings import MOST_GROUPS, triage
from quantum_suite.tools.orchestrator.write_change_report import change_report, decision_of
from quantum_suite.tools.orchestrator.write_markdown import code, inline


def test_findings_with_one_cause_are_one_group_and_the_worst_group_comes_first() -> None:
    findings = [
        finding(0, severity="medium"),
        finding(3, severity="high", confidence="low"),
        finding(1, severity="high"),
        finding(5, kind="secret", family="keys", severity="high", confidence="low"),
        finding(2, severity="critical"),
    ]
    told = triage(findings)
    assert [(group["family"], group["severity"], group["count"]) for group in told["groups"]] == [
        ("family-2", "critical", 1),
        ("keys", "high", 1),
        ("family-1", "high", 1),
        ("family-0", "high", 2),
    ]
    assert told["by_severity"] == {"critical": 1, "high": 3, "medium": 1, "low": 0, "info": 0}
    assert told["worst"][0] == findings[4]["fingerprint"]
    assert (told["unread"], told["groups_left_out"]) == (0, 0)
    assert "not judged" in told["note"]


def test_triage_says_what_it_left_out() -> None:
    told = triage([finding(number, family=f"f{number}") for number in range(MOST_GROUPS + 5)], total=100)
    assert len(told["groups"]) == MOST_GROUPS
    assert (told["groups_left_out"], told["unread"]) == (5, 100 - MOST_GROUPS - 5)
    assert triage([])["groups"] == []


def workspace(name: str, *fingerprints: str, total: int | None = None, state: str = "completed") -> dict[str, Any]:
    return {
        "workspace": name,
        "state": state,
        "error": None if state == "completed" else "No such place.",
        "total": (len(fingerprints) if total is None else total) if state == "completed" else None,
        "fingerprints": list(fingerprints),
        "not_assessed": [],
    }


def test_what_appeared_and_what_is_gone_is_told_by_workspace() -> None:
    before = snapshot_of([workspace("a", "1", "2"), workspace("b", "9")], None)
    told = compare([workspace("a", "2", "3"), workspace("new", "5")], before)
    first, second = told["workspaces"]
    assert (first["appeared"], first["gone"]) == (["3"], ["1"])
    assert (second["compared"], second["appeared_count"], second["gone_count"]) == (False, None, None)
    assert (told["appeared"], told["gone"]) == (1, 1)


def test_a_workspace_that_could_not_be_scanned_has_no_changes_and_keeps_what_was_known() -> None:
    before = snapshot_of([workspace("a", "1")], None)
    tonight = [workspace("a", state="failed")]
    told = compare(tonight, before)
    assert told["workspaces"][0]["gone_count"] is None
    assert snapshot_of(tonight, before) == before
    assert snapshot_of(tonight, None) == {}


def test_of_findings_that_were_not_read_nobody_says_that_they_are_gone_or_new() -> None:
    whole, part = workspace("a", "1", "2"), workspace("a", "2", total=9)
    after_part = compare([part], snapshot_of([whole], None))["workspaces"][0]
    assert (after_part["appeared_count"], after_part["gone_count"]) == (0, None)
    after_whole = compare([whole], snapshot_of([part], None))["workspaces"][0]
    assert (after_whole["appeared_count"], after_whole["gone_count"]) == (None, 0)


def test_the_report_of_a_posture_names_what_was_not_looked_at() -> None:
    workspaces = [workspace("a|b", "1"), workspace("gone", state="failed")]
    arguments = {
        "workspaces": workspaces,
        "comparison": {**compare(workspaces, None), "since": None},
        "severity_at_least": "high",
    }
    report = posture_report("run_1", arguments)
    assert "| `a¦b` | 1 | not compared | not compared |" in report
    assert "| `gone` | not scanned: No such place. | | |" in report
    assert "- gone: **all of it**: No such place." in report


def change(**other: Any) -> dict[str, Any]:
    findings = [finding(1, title="Shell | injection [x](http://evil)")]
    scan = {
        "scan": "scan_1",
        "root": "/repos/<b>",
        "state": "completed",
        "files": 2,
        "matching": 1,
        "not_assessed": [],
        "markdown": "quantum://qsecure/scans/scan_1/markdown",
        "sarif": "quantum://qsecure/scans/scan_1/sarif",
    }
    explanation = {"finding": findings[0]["fingerprint"], "why": None, "remediation": None, "accuracy": None}
    return {
        "scan": scan,
        "triage": triage(findings),
        "explanations": [explanation],
        "decision": None,
        "severity_at_least": "high",
        **other,
    }


def test_the_report_of_a_change_quotes_without_becoming_markup() -> None:
    report = change_report("run_1", change())
    assert r"# Security of the change in /repos/\<b\>" in report
    assert r"Shell \| injection \[x\](http://evil)" in report
    assert "could not be had" in report


def test_a_scan_of_nothing_is_no_clean_bill() -> None:
    empty = change()
    empty["scan"] = {**empty["scan"], "files": 0, "matching": 0}
    assert "This says nothing about security." in change_report("run_1", empty)


def test_silence_is_told_apart_from_a_refusal() -> None:
    verdict = {"approved": False, "by": None, "reason": None, "timed_out": True}
    assert decision_of(verdict) == "unanswered"
    assert decision_of({**verdict, "by": "ada", "timed_out": False}) == "refused"
    assert "nobody answered in time" in change_report("run_1", change(decision=verdict))


def test_text_of_others_stays_text() -> None:
    assert inline("a\n# b") == "a \\# b"
    assert code("a`b\nc") == "`` a`b␤c ``"
