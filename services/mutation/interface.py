"""What mutants are, and what became of them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from quantum_suite.core.findings import Location
from quantum_suite.core.verdicts import Isolation
from quantum_suite.services.sandbox.interface import Limits


class MutantVerdict(StrEnum):
    """What the tests made of a mutant."""

    KILLED = "killed"
    SURVIVED = "survived"
    NO_COVERAGE = "no_coverage"
    """No test reaches the line; it was not run."""
    TIMEOUT = "timeout"
    """The tests did not end in the time that several unmutated runs take; counts as noticed."""
    IMPORT_TIME = "import_time"
    """The code runs at import, before a switch could be thrown: judged in a process that imports it anew, told
    apart; `killed_by` is None when nobody noticed."""
    EQUIVALENT = "equivalent"
    """Compiles to the same code as the original, or is proven to do the same; not counted."""
    FLAKY = "flaky"
    """Killed once and not again on the same code: says something of the tests, nothing of the mutant."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One small change."""

    id: str
    """Stays the same while the mutated function does: hex digits over path, qualified name, operator and
    position."""
    operator: str
    """The kind of change, e.g. comparison, boundary, arithmetic, boolean, constant, return, statement."""
    location: Location
    function: str
    """Qualified name of the innermost function or class around it; empty at module level."""
    original: str
    replacement: str
    """Source text before and after, one expression or statement each."""


@dataclass(frozen=True, slots=True)
class MutantResult:
    """A mutant and its verdict."""

    mutant: Mutant
    verdict: MutantVerdict
    killed_by: str | None = None
    """Id of the test that failed first; `import` when the tests could not even be collected."""
    tests_run: int = 0
    verified: bool = False
    """Whether the verdict was confirmed in a fresh process with the mutation written into the source."""


@dataclass(frozen=True, slots=True)
class MutationRequest:
    """What to mutate. `root` is a scratch copy."""

    root: Path
    paths: Sequence[str] = ()
    """Files or folders below the root; none means the package's sources, tests left out."""
    changed_lines: Mapping[str, frozenset[int]] | None = None
    """Only mutants on these lines."""
    tests: Sequence[str] = ()
    """Only these tests; none means all."""
    sample: int | None = None
    """At most so many mutants, drawn evenly at random (`seed`); the score then comes with an interval."""
    seed: int = 0
    workers: int = 2
    python: Path | None = None
    verify_killed: int = 20
    """How many of the killed are verified again in fresh processes; survivors all are, up to
    `verify_survivors`."""
    verify_survivors: int = 200
    limits: Limits = field(default_factory=lambda: Limits(seconds=1800.0))


@dataclass(frozen=True, slots=True)
class MutationReport:
    """What a run found."""

    results: tuple[MutantResult, ...]
    generated: int
    """Mutants there are; more than in `results` when a sample was drawn or time ran out."""
    score: float | None
    """(killed + timeout) / (killed + timeout + survived + no_coverage), 0 to 1; None when nothing counted."""
    interval: tuple[float, float] | None
    """95 % Wilson interval of the score, when a sample was drawn."""
    disagreements: tuple[str, ...]
    """Verdicts that fresh processes did not confirm, each explained; the fresh process's word stands in
    `results`."""
    stopped_early: str | None
    """Why not every mutant asked for was judged, or None."""
    isolation: Isolation
    seconds: float


@dataclass(frozen=True, slots=True)
class KillReport:
    """Which mutants certain tests kill, each kill confirmed in a fresh process."""

    killed: Mapping[str, str]
    """Mutant id -> the test that fails with the mutant in the source."""
    survived: tuple[str, ...]
    """Judged, and noticed by none of the tests."""
    unknown: tuple[str, ...]
    """Ids that no mutant of the sources has: the function has changed since."""
    not_judged: tuple[str, ...]
    """Left over when the time ran out."""
    isolation: Isolation
    seconds: float


Progress = Callable[[int, int, str], Awaitable[None]]
"""Told how many are done of how many, and what is being done."""


class MutationEngine(Protocol):
    """Judges a project's tests by small changes to its code."""

    async def run(self, request: MutationRequest, progress: Progress | None = None) -> MutationReport:
        """Mutate and judge. Raises CallerError when the tests do not pass unmutated or there are none,
        EngineMissing when the project's interpreter has no pytest, EngineError when it cannot be driven."""
        ...

    async def judge(self, request: MutationRequest, mutants: Sequence[str]) -> KillReport:
        """Return which of some mutants `request.tests` kill. Raises as `run`."""
        ...
