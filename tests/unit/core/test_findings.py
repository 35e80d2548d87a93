"""The model of a finding."""

import pytest
from pydantic import BaseModel

from quantum_suite.core import findings, scans
from quantum_suite.core.findings import Confidence, Finding, Location, Region, Severity
from quantum_suite.core.scans import SeverityCounts


def test_severities_are_ordered_from_critical_to_info() -> None:
    assert sorted(Severity, key=lambda severity: severity.rank) == ["critical", "high", "medium", "low", "info"]
    assert Severity.HIGH.at_least(Severity.HIGH)
    assert Severity.CRITICAL.at_least(Severity.LOW)
    assert not Severity.LOW.at_least(Severity.MEDIUM)


def test_regions_overlap_when_they_share_a_line() -> None:
    region = Region(start_line=3, end_line=5)
    assert region.overlaps(Region(start_line=5, end_line=9))
    assert region.overlaps(Region(start_line=1, end_line=3))
    assert not region.overlaps(Region(start_line=6, end_line=6))


def test_a_location_reads_as_path_and_line() -> None:
    assert str(Location(path="a.py", region=Region(start_line=3, end_line=5))) == "a.py:3"
    assert str(Location(path="Dockerfile")) == "Dockerfile"


def test_the_sort_key_puts_the_worst_and_surest_first() -> None:
    def finding(severity: Severity, confidence: Confidence, path: str) -> Finding:
        return Finding(
            fingerprint="0" * 32,
            rule_id="r",
            kind="code",
            family="r",
            engines=("e",),
            title="t",
            message="m",
            severity=severity,
            confidence=confidence,
            location=Location(path=path),
        )

    ordered = [
        finding(Severity.CRITICAL, Confidence.LOW, "z"),
        finding(Severity.HIGH, Confidence.HIGH, "z"),
        finding(Severity.HIGH, Confidence.MEDIUM, "a"),
        finding(Severity.HIGH, Confidence.MEDIUM, "b"),
        finding(Severity.INFO, Confidence.HIGH, "a"),
    ]
    shuffled = [ordered[place] for place in (3, 0, 4, 2, 1)]
    assert sorted(shuffled, key=lambda f: f.sort_key) == ordered


def test_counts_add_up_and_read_as_words() -> None:
    counts = SeverityCounts(critical=1, low=2)
    assert counts.total == 3
    assert str(counts) == "1 critical, 2 low"
    assert str(SeverityCounts()) == "none"
    assert [counts.of(severity) for severity in Severity] == [1, 0, 0, 2, 0]


@pytest.mark.parametrize("module", [findings, scans])
def test_every_field_of_every_model_is_described(module: object) -> None:
    models = [thing for thing in vars(module).values() if isinstance(thing, type) and issubclass(thing, BaseModel)]
    fields = [(model, name, field) for model in models for name, field in model.model_fields.items()]
    assert fields
    assert [(model.__name__, name) for model, name, field in fields if not field.description] == []
