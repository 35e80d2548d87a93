"""Finds tests whose outcome depends on nothing in the code: by running them again and again, in random order."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from quantum_suite.services.testing.interface import CaseOutcome, Runner, TestRequest, TestRun

Progress = Callable[[int, int, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class FlakyTest:
    """A test that did not come to the same outcome every time."""

    id: str
    outcomes: tuple[CaseOutcome, ...]
    """By run, in the order of the runs."""
    passing_seed: int | None
    failing_seed: int | None
    """Orders that showed it: running again with one of them mostly, not always, shows it again."""
    message: str


@dataclass(frozen=True, slots=True)
class Repeated:
    """What repetition showed."""

    runs: tuple[TestRun, ...]
    seeds: tuple[int, ...]
    flaky: tuple[FlakyTest, ...]


async def repeat(runner: Runner, request: TestRequest, times: int, progress: Progress | None = None) -> Repeated:
    """Run the tests `times` times, each time in another order; raises what the runner raises.

    The limits hold for each run. A run that does not come to its end counts with what it told.
    """
    first = request.order_seed if request.order_seed is not None else 1
    seeds = tuple(range(first, first + times))
    runs: list[TestRun] = []
    for number, seed in enumerate(seeds):
        runs.append(await runner.run(replace(request, order_seed=seed)))
        if progress is not None:
            await progress(number + 1, times, f"run {number + 1} of {times}, seed {seed}: {runs[-1].ended}")
    return Repeated(tuple(runs), seeds, find_flaky(runs, seeds))


def find_flaky(runs: Sequence[TestRun], seeds: Sequence[int]) -> tuple[FlakyTest, ...]:
    """Return the tests whose outcomes differ between runs that all ran them."""
    outcomes: dict[str, dict[int, CaseOutcome]] = defaultdict(dict)
    messages: dict[str, str] = {}
    for run, seed in zip(runs, seeds, strict=True):
        for case in run.cases:
            if case.outcome != "not_run":
                outcomes[case.id][seed] = case.outcome
                if case.outcome in ("failed", "error"):
                    messages[case.id] = case.message
    found = []
    for test, by_seed in sorted(outcomes.items()):
        if len(set(by_seed.values())) > 1:
            passing = [seed for seed, outcome in by_seed.items() if outcome == "passed"]
            failing = [seed for seed, outcome in by_seed.items() if outcome in ("failed", "error")]
            found.append(
                FlakyTest(
                    test,
                    tuple(by_seed.values()),
                    passing[0] if passing else None,
                    failing[0] if failing else None,
                    messages.get(test, ""),
                )
            )
    return tuple(found)
