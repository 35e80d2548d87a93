"""What the suite knows of rules."""

import json
import subprocess
import sysconfig
from pathlib import Path

import pytest

from quantum_suite.core.findings import Severity
from quantum_suite.services.code_scanning.rule_book import Accuracy, RuleBook


def ruff_rules() -> dict[str, str]:
    ruff = Path(sysconfig.get_path("scripts"), "ruff")
    printed = subprocess.run([ruff, "rule", "--all", "--output-format=json"], check=True, capture_output=True)
    codes = {rule["code"]: rule["explanation"] for rule in json.loads(printed.stdout) if rule["code"]}
    return {code: text for code, text in codes.items() if code[0] == "S" and code[1:].isdigit()}


def test_every_security_rule_of_the_installed_ruff_is_known() -> None:
    installed = ruff_rules()
    assert len(installed) > 60
    assert set(installed) - set(RuleBook().python) == set()


def test_no_sentence_is_taken_from_ruff() -> None:
    explanations = " ".join(" ".join(ruff_rules().values()).lower().split())
    taken = [
        sentence
        for rule in RuleBook().python.values()
        for sentence in (rule.why + " " + rule.remediation).lower().split(". ")
        if len(sentence) > 25 and sentence.rstrip(".") in explanations
    ]
    assert taken == []


@pytest.mark.parametrize("code", ["S102", "S105", "S324", "S602", "S608"])
def test_a_rule_has_a_cwe_a_reason_and_a_remedy(code: str) -> None:
    rule = RuleBook().python[code]
    assert rule.cwe
    assert rule.why
    assert rule.remediation


@pytest.mark.parametrize(
    ("title", "cwe"),
    [
        ("Image user should not be 'root'", (250,)),
        ("Security groups should not allow unrestricted ingress to SSH or RDP from any IP address.", (284,)),
        ("S3 Bucket Logging", (778,)),
        ("Something nobody thought of", ()),
    ],
)
def test_a_misconfigurations_cwe_is_told_by_its_title_or_not_at_all(title: str, cwe: tuple[int, ...]) -> None:
    assert RuleBook().cwe_of_misconfiguration(title) == cwe


def test_only_overrated_checks_have_a_severity_of_the_suites_own() -> None:
    assert RuleBook().severity_of_misconfiguration("DS-0029") is Severity.LOW
    assert RuleBook().severity_of_misconfiguration("DS-0002") is None


def test_accuracy_comes_with_where_when_and_how_it_was_measured() -> None:
    row = RuleBook().accuracy_of("ruff", (327, 328))
    assert row is not None
    assert row.cwe == 328
    assert "BenchmarkPython" in row.corpus
    assert "bench/qsecure.py" in row.command
    assert row.measured_on
    assert RuleBook().accuracy_of("trivy", (328,)) is None


def test_precision_and_recall_follow_from_the_counts() -> None:
    row = Accuracy(
        engine="e",
        cwe=1,
        true_positives=3,
        false_negatives=1,
        false_positives=1,
        true_negatives=5,
        corpus="c",
        measured_on="d",
        command="x",
    )
    assert (row.precision, row.recall) == (0.75, 0.75)
    silent = row.model_copy(update={"true_positives": 0, "false_positives": 0})
    assert (silent.precision, silent.recall) == (None, 0.0)
