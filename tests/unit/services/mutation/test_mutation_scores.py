"""Counting verdicts."""

import pytest

from quantum_suite.core.findings import Location
from quantum_suite.services.mutation import scores
from quantum_suite.services.mutation.interface import Mutant, MutantResult, MutantVerdict


def result(verdict: MutantVerdict) -> MutantResult:
    return MutantResult(Mutant("a", "number", Location(path="m.py"), "f", "1", "2"), verdict)


def test_timeouts_count_as_noticed_and_unreached_as_missed() -> None:
    results = [result(verdict) for verdict in MutantVerdict]
    assert scores.counts(results) == (2, 4)
    assert scores.score(results) == 0.5


def test_without_anything_that_counts_there_is_no_score() -> None:
    assert scores.score([result(MutantVerdict.EQUIVALENT), result(MutantVerdict.FLAKY)]) is None
    assert scores.wilson(0, 0) is None


@pytest.mark.parametrize(
    ("noticed", "counted", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998), table I: method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_is_wilsons(noticed: int, counted: int, low: float, high: float) -> None:
    interval = scores.wilson(noticed, counted)
    assert interval == pytest.approx((low, high), abs=0.0001)
