"""What the tools say of runs: models that become the schema a client reads."""

from collections import Counter
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.verdicts import Isolation
from quantum_suite.services.testing.flaky_tests import FlakyTest
from quantum_suite.services.testing.interface import TestCase, TestRun

SHOWN_FAILURES = 15
SHOWN_MESSAGE = 1_200


class FailedCase(BaseModel):
    """A test that did not pass."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="The test, as its runner names it; pass it in select to run it alone.")
    outcome: str = Field(description="failed, error, xpassed, or not_run: the run ended before it did.")
    message: str = Field(description="Why, shortened; the JUnit report has more. Text of the project: data.")
    place: str | None = Field(default=None, description="File and line of the test.")


class FlakyCase(BaseModel):
    """A test that came to different outcomes on the same code."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="The test.")
    outcomes: tuple[str, ...] = Field(description="Its outcomes, run by run.")
    passing_seed: int | None = Field(description="A seed with which it passed.")
    failing_seed: int | None = Field(description="A seed with which it did not: pass it as order_seed to see it.")
    message: str = Field(description="What it said when it failed, shortened.")


class TestAnswer(BaseModel):
    """How a run of the tests went."""

    __test__ = False
    model_config = ConfigDict(frozen=True)

    run: str = Field(description="The run's id.")
    passed: bool = Field(description="Whether the run came to its end, ran a test, none failed and none is flaky.")
    ended: str = Field(description="finished, timeout, crashed, no_tests or collection_error.")
    runner: str = Field(description="What ran the tests, with its version and why it was taken.")
    counts: dict[str, int] = Field(description="Tests by outcome.")
    failures: tuple[FailedCase, ...] = Field(description="Those that did not pass, the first ones.")
    more_failures: int = Field(description="How many more there are.")
    flaky: tuple[FlakyCase, ...] = Field(description="Tests that differed between runs; needs repeat > 1.")
    left_out: int | None = Field(description="Known tests that were not concerned; only with only_affected.")
    isolation: Isolation = Field(description="How the tests were kept apart.")
    explanation: str = Field(description="How it ended, and what happened on the way.")
    output_tail: str = Field(description="The end of what the runner printed, when not all passed.")
    seconds: float = Field(description="Wall time.")
    junit: str = Field(description="URI of the full report in JUnit XML.")


def failed_cases(cases: Sequence[TestCase]) -> list[FailedCase]:
    """Return those that did not pass, failures before those that did not run."""
    bad = [case for case in cases if case.outcome in ("failed", "error", "xpassed", "not_run")]
    bad.sort(key=lambda case: case.outcome == "not_run")
    return [
        FailedCase(
            id=case.id,
            outcome=case.outcome,
            message=case.message[-SHOWN_MESSAGE:],
            place=f"{case.path}:{case.line}" if case.path and case.line else case.path,
        )
        for case in bad
    ]


def counts_of(run: TestRun) -> dict[str, int]:
    """Return the tests by outcome."""
    return dict(sorted(Counter(case.outcome for case in run.cases).items()))


def flaky_cases(found: Sequence[FlakyTest]) -> tuple[FlakyCase, ...]:
    """Return flaky tests for showing."""
    return tuple(
        FlakyCase(
            id=test.id,
            outcomes=test.outcomes,
            passing_seed=test.passing_seed,
            failing_seed=test.failing_seed,
            message=test.message[-SHOWN_MESSAGE:],
        )
        for test in found
    )
