"""The tests gate: the affected tests in the sandbox, and what failed before told apart."""

import difflib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import anyio.to_thread

from quantum_suite.core.errors import CallerError, EngineMissing, SuiteError
from quantum_suite.core.verdicts import GateReport, Problem
from quantum_suite.services.patches.interface import FileChange
from quantum_suite.services.sandbox.interface import Limits
from quantum_suite.services.testing.interface import (
    Affected,
    ReachMap,
    Runner,
    TestCase,
    TestRequest,
    TestRun,
)
from quantum_suite.services.testing.runners import choose_runner
from quantum_suite.services.validators.interface import ChangedTree
from quantum_suite.services.validators.reporting import (
    Found,
    join_reports,
    not_assessed,
    problem,
    report,
)
from quantum_suite.services.validators.safeguards import is_test_file

GATE = "tests"
_BAD = frozenset({"failed", "error", "not_run"})
_MOST_REPEATED = 20
_MOST_COMPARED = 20_000
_DOCUMENTS = (".md", ".rst", ".txt", ".adoc")
Progress = Callable[[int, int, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class TestLimits:
    """How long the tests of one change may take."""

    __test__ = False

    seconds: float = 600.0
    """All together, in each of the runs that are needed."""
    case_seconds: float = 60.0
    """One test."""
    sandbox: Limits = field(default_factory=Limits)


class TestsValidator:
    """Runs the tests that a change concerns."""

    __test__ = False
    gate = GATE

    def __init__(
        self, runners: Sequence[Runner], reach: ReachMap | None = None, limits: TestLimits | None = None
    ) -> None:
        self._runners = runners
        self._reach = reach
        self._limits = limits if limits is not None else TestLimits()

    async def validate(self, tree: ChangedTree) -> GateReport:
        """Run them; a test that fails now, and did not in the original, blocks.

        A new test that fails blocks as well. A failure that does not come again when the tests are repeated is
        flaky, and advice.
        """
        if all(one.path.endswith(_DOCUMENTS) for one in tree.change.files):
            return report(GATE, (), passed="Only documents changed: no test is concerned.")
        using = await anyio.to_thread.run_sync(self._runners_of, tree.root)
        if not using:
            return not_assessed(GATE, "No tests were found in the project, so nothing was run.")
        affected = await self._affected(tree)
        parts = {runner.name: await self._judge(runner, tree, affected) for runner in using}
        return join_reports(GATE, parts)

    def _runners_of(self, root: Path) -> list[Runner]:
        """Return the runner of each framework that the project uses."""
        try:
            chosen = choose_runner(self._runners, root)
        except CallerError:
            return []
        return [chosen.runner, *(one for one in self._runners if one.name in chosen.others)]

    async def _affected(self, tree: ChangedTree) -> Affected | None:
        """Return which tests the change concerns; None for all of them."""
        if self._reach is None:
            return None
        changed = {(one.renamed_from or one.path): old_lines(one) for one in tree.change.files}
        affected = await self._reach.affected(tree.scratch.origin, changed, tree.root)
        return None if affected.everything else affected

    async def _judge(self, runner: Runner, tree: ChangedTree, affected: Affected | None) -> GateReport:
        select = _selection(tree, affected)
        if select is not None and not select:
            return not_assessed(GATE, "No test is known to reach what changed.", engine=runner.name)
        try:
            run = await self._run(runner, tree, tree.root, select or ())
        except EngineMissing as error:
            return not_assessed(GATE, error.message, install_command=error.command, engine=runner.name)
        except CallerError as error:
            if select is None:
                return not_assessed(GATE, str(error), engine=runner.name)
            # A test that the map knows may be gone: the files it was in still tell.
            run = await self._run(runner, tree, tree.root, _files_of(select, tree.root))
        except SuiteError as error:
            return not_assessed(GATE, str(error), engine=runner.name)
        return await self._report(runner, tree, run, affected)

    async def _report(
        self, runner: Runner, tree: ChangedTree, run: TestRun, affected: Affected | None
    ) -> GateReport:
        engine = f"{run.runner} {run.runner_version}".strip()
        if run.ended == "no_tests" or not run.cases:
            reason = f"No test was run. {run.explanation}".strip()
            if run.ended in ("crashed", "timeout", "collection_error"):
                reason = f"The tests could not be run: {run.explanation}"
                return await self._unrunnable(runner, tree, run, reason, engine)
            return not_assessed(GATE, reason, engine=engine, isolation=run.isolation, seconds=run.seconds)
        bad = [case for case in run.cases if case.outcome in _BAD]
        problems = await self._told_apart(runner, tree, bad) if bad else []
        ran = sum(case.outcome not in ("not_run", "skipped") for case in run.cases)
        why = "" if affected is None else ", those the change concerns"
        return report(
            GATE,
            problems,
            passed=f"{ran} test{'s' if ran != 1 else ''} ran{why}; none fails that passed before.",
            engine=engine,
            isolation=run.isolation,
            seconds=run.seconds,
        )

    async def _unrunnable(
        self, runner: Runner, tree: ChangedTree, run: TestRun, reason: str, engine: str
    ) -> GateReport:
        """Report a run without a single case: the change's fault where the original's tests do run."""
        earlier = await self._original_run(runner, tree, ())
        if earlier is None or not earlier.cases:
            return not_assessed(GATE, reason, engine=engine, isolation=run.isolation, seconds=run.seconds)
        message = f"{reason} {run.output_tail[-300:]}".strip()
        found = Found(tree.change.files[0].path, f"tests-{run.ended}", message)
        return report(GATE, [problem(found)], passed="", engine=engine, isolation=run.isolation)

    async def _told_apart(self, runner: Runner, tree: ChangedTree, bad: Sequence[TestCase]) -> list[Problem]:
        original = await tree.original.root()
        files = sorted({case.path for case in bad if case.path and (original / case.path).is_file()})
        earlier = await self._original_run(runner, tree, files) if files else None
        before = {case.id: case.outcome for case in earlier.cases} if earlier is not None else {}
        new = [case for case in bad if before.get(case.id) not in _BAD]
        flaky = await self._flaky(runner, tree, new)
        problems = []
        for case in bad:
            code = "flaky-test" if case.id in flaky else _CODES[case.outcome]
            message = f"{case.id} {how_it_ended(case)}"
            if case.id in flaky:
                message = f"{case.id} failed, and passed when it was repeated"
            found = Found(case.path or case.id, code, message, case.line, blocking=case.id not in flaky)
            problems.append(problem(found, introduced=before.get(case.id) not in _BAD))
        return problems

    async def _original_run(self, runner: Runner, tree: ChangedTree, files: Sequence[str]) -> TestRun | None:
        try:
            return await self._run(runner, tree, await tree.original.root(), files)
        except (CallerError, EngineMissing):
            return None

    async def _flaky(self, runner: Runner, tree: ChangedTree, new: Sequence[TestCase]) -> frozenset[str]:
        """Return those of the new failures that pass when they are repeated, where that is quick to see."""
        ids = [case.id for case in new if case.outcome == "failed"]
        if not ids or len(ids) > _MOST_REPEATED:
            return frozenset()
        try:
            again = await self._run(runner, tree, tree.root, ids)
        except SuiteError:
            return frozenset()
        return frozenset(case.id for case in again.cases if case.outcome == "passed" and case.id in ids)

    async def _run(self, runner: Runner, tree: ChangedTree, root: Path, select: Sequence[str]) -> TestRun:
        limits = self._limits
        sandbox = limits.sandbox
        return await runner.run(
            TestRequest(
                root=root,
                select=tuple(select),
                python=tree.python,
                readable=tree.scratch.read_only,
                case_seconds=limits.case_seconds,
                limits=Limits(
                    seconds=limits.seconds,
                    memory_bytes=sandbox.memory_bytes,
                    processes=sandbox.processes,
                    file_bytes=sandbox.file_bytes,
                    output_bytes=sandbox.output_bytes,
                ),
            )
        )


_CODES: Mapping[str, str] = {"failed": "test-failed", "error": "test-error", "not_run": "test-not-run"}


def how_it_ended(case: TestCase) -> str:
    """Return in a line how a test that did not pass ended, with what its message comes to."""
    how = {"failed": "fails", "error": "ends in an error", "not_run": "was not reached"}.get(
        case.outcome, case.outcome
    )
    lines = [line.strip() for line in case.message.strip().splitlines() if line.strip()]
    if not lines:
        return how
    # pytest marks what went wrong; where that is a quoted traceback, and in any other, it is said at the end.
    marked = [line[2:].strip() for line in lines if line.startswith("E ")]
    if marked:
        return f"{how}: {marked[-1] if marked[0].startswith(('File ', 'Traceback')) else marked[0]}"
    return f"{how}: {lines[-1] if lines[0].startswith('Traceback') else lines[0]}"


def _selection(tree: ChangedTree, affected: Affected | None) -> list[str] | None:
    """Return the tests to run: those known to be concerned, and every test file of the change; None for all."""
    if affected is None:
        return None
    touched = [one.path for one in tree.change.files if one.after is not None and is_test_file(one.path)]
    return sorted({*affected.tests, *touched})


def _files_of(select: Sequence[str], root: Path) -> list[str]:
    files = {test.split("::")[0].split(" > ")[0] for test in select}
    return sorted(file for file in files if (root / file).is_file())


def old_lines(change: FileChange) -> frozenset[int] | None:
    """Return the lines of the old version that a change replaces, removes or puts something beside.

    None, the whole file, where there is no old or new version.
    """
    if change.before is None or change.after is None:
        return None
    before, after = change.before.splitlines(), change.after.splitlines()
    if len(before) + len(after) > _MOST_COMPARED:
        return None
    lines: set[int] = set()
    for kind, start, end, _, _ in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind != "equal":
            lines.update(range(start + 1, end + 1) if end > start else (max(1, start), start + 1))
    return frozenset(lines)
