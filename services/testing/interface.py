"""The port for a project's own tests: which there are, how they went, which lines they reach."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from quantum_suite.core.verdicts import Isolation
from quantum_suite.services.sandbox.interface import Limits

CaseOutcome = Literal["passed", "failed", "error", "skipped", "xfailed", "xpassed", "not_run"]
"""`not_run`: the run ended (timeout, crash) before the case did."""

OUTSIDE_TESTS = ""
"""Stands for what runs in no test: at import, at collection, and what is computed once and kept (caches)."""


@dataclass(frozen=True, slots=True)
class TestCase:
    """One test and how it went."""

    __test__ = False

    id: str
    """As its runner names it: `tests/test_a.py::TestB::test_c[1]`, `tests/test_a.py::Case::test` or `file >
    name`."""
    outcome: CaseOutcome
    seconds: float = 0.0
    message: str = ""
    """Why it failed, bounded; secrets masked."""
    path: str | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True)
class TestRequest:
    """What to run. `root` is a scratch copy or a workspace that the sandbox may write to."""

    __test__ = False

    root: Path
    select: Sequence[str] = ()
    """Ids or files; none means all."""
    runner: str | None = None
    """`pytest`, `unittest`, `node`, `vitest`, `jest`, `go`; None finds out."""
    missing_ok: bool = False
    """Whether selected tests may be absent."""
    skip: Sequence[str] = ()
    """Ids left out."""
    order_seed: int | None = None
    """Shuffle the tests with this seed; None keeps the runner's order."""
    processes: int = 1
    stop_at_first_failure: bool = False
    coverage: bool = False
    contexts: bool = False
    """Note which test reached which line (implies coverage)."""
    arguments: Sequence[str] = ()
    python: Path | None = None
    """The interpreter of the project's environment; None finds `.venv`, `venv`, else this one."""
    readable: Sequence[Path] = ()
    case_seconds: float = 60.0
    """How long one test may take; one that takes longer is an error, and the others go on without it."""
    limits: Limits = field(default_factory=lambda: Limits(seconds=600.0))
    """`seconds` is for all of them together."""


@dataclass(frozen=True, slots=True)
class FileCoverage:
    """What was reached of one file. Numbers are line numbers from 1."""

    path: str
    executed: frozenset[int]
    missing: frozenset[int]
    missing_branches: frozenset[tuple[int, int]] = frozenset()
    """(from line, to line); a negative `to` is leaving the function that starts there."""
    branches: int = 0
    contexts: Mapping[int, frozenset[str]] = field(default_factory=dict)
    """Line -> ids of the tests that reached it; `OUTSIDE_TESTS` for what ran in no test."""


@dataclass(frozen=True, slots=True)
class TestRun:
    """How a run of the tests went."""

    __test__ = False

    runner: str
    runner_version: str
    cases: tuple[TestCase, ...]
    ended: Literal["finished", "timeout", "crashed", "no_tests", "collection_error"]
    isolation: Isolation
    seconds: float
    output_tail: str
    coverage: tuple[FileCoverage, ...] = ()
    junit_xml: bytes = b""
    explanation: str = ""
    coverage_problem: str | None = None
    """Why coverage that was asked for was not measured."""
    opened: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """With contexts: files of the project that are no Python, and the tests that opened them."""
    far: frozenset[str] = frozenset()
    """With contexts: tests that started further processes, of which nobody knows what they reached."""

    @property
    def passed(self) -> bool:
        """Whether the run finished, ran at least one test, and none failed."""
        bad = {"failed", "error", "not_run", "xpassed"}
        return self.ended == "finished" and bool(self.cases) and not any(c.outcome in bad for c in self.cases)


class Runner(Protocol):
    """One test framework."""

    @property
    def name(self) -> str:
        """Return the framework's name."""
        ...

    def detect(self, root: Path) -> str | None:
        """Return why the project at `root` is taken to use this framework, or None when it does not."""
        ...

    async def run(
        self, request: TestRequest, progress: Callable[[int, int, str], Awaitable[None]] | None = None
    ) -> TestRun:
        """Run tests in the sandbox. Failing, hanging and crashing tests are results, not errors.

        Raises EngineMissing when the framework is not installed for the project's interpreter, CallerError when
        a selected test does not exist.
        """
        ...


@dataclass(frozen=True, slots=True)
class Affected:
    """Which tests a change concerns, and how that is known."""

    tests: tuple[str, ...]
    everything: bool
    """All of them, because a part changed that the map cannot speak of (configuration, data, a compiled
    module)."""
    reasons: Mapping[str, str]
    """Test id -> why it is among them."""
    explanation: str


class ReachMap(Protocol):
    """Which tests reach which code, kept between runs of the same workspace."""

    async def update(self, root: Path, run: TestRun, source: Path | None = None) -> None:
        """Take in what a run with contexts showed; only what it ran is replaced. `root` names the workspace;
        `source` is the copy of it that was run, if one was."""
        ...

    async def affected(
        self, root: Path, changed: Mapping[str, frozenset[int] | None], source: Path | None = None
    ) -> Affected:
        """Return the tests concerned by changed files (lines of the version the map knows; None: what differs
        from that version in `source`, or in the workspace itself).

        Errs on the side of more: a test is left out only when nothing it reached has changed. New tests are named
        by their function or file, whose cases nobody knows yet.
        """
        ...

    async def changed_since(self, root: Path, source: Path | None = None) -> Mapping[str, frozenset[int] | None]:
        """Return the files whose content is not the one the map knows, new and removed ones included."""
        ...

    async def known_tests(self, root: Path) -> Mapping[str, CaseOutcome]:
        """Return the tests that are known, and how each last went."""
        ...

    async def tests_reaching(self, root: Path, path: str) -> Mapping[int, frozenset[str]]:
        """Return line -> test ids for one file, in the version the map knows; empty when it knows nothing."""
        ...
