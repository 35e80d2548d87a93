"""Judges tests that an author sends: each is kept only if it is steady and shows something no other test shows."""

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.errors import CallerError, EngineError
from quantum_suite.core.principals import Principal
from quantum_suite.core.verdicts import Isolation
from quantum_suite.services.changes.sqlite import open_change_store
from quantum_suite.services.mutation.interface import MutantVerdict, MutationRequest
from quantum_suite.services.patches.applying import apply_patch
from quantum_suite.services.patches.interface import ChangeSet, FileChange
from quantum_suite.services.patches.rendering import changed_lines, to_unified_diff
from quantum_suite.services.patches.writing import write
from quantum_suite.services.sandbox.interface import Limits
from quantum_suite.services.testing.flaky_tests import Repeated, repeat
from quantum_suite.services.testing.interface import FileCoverage, TestCase, TestRequest, TestRun
from quantum_suite.tools.qtest.measure_coverage import product_code
from quantum_suite.tools.qtest.mutate_code import MakeEngine
from quantum_suite.tools.qtest.project_copy import Progress, ProjectCopies, ProjectCopy

TIMES = 5
"""How often each test has to pass, in as many random orders."""
MOST_TESTS = 60
MOST_MUTANTS = 40
_SHOWN = 1_200


class TestVerdict(BaseModel):
    """What became of one submitted test."""

    __test__ = False
    model_config = ConfigDict(frozen=True)

    id: str = Field(description="The test.")
    kept: bool = Field(description="Whether it is kept.")
    reason: str = Field(description="Why, in one sentence.")
    outcomes: tuple[str, ...] = Field(description="Its outcomes, run by run.")
    new_lines: tuple[str, ...] = Field(default=(), description="Lines it reaches that no kept test did before.")
    new_branches: tuple[str, ...] = Field(default=(), description="Branches it takes that no kept test took.")
    killed: tuple[str, ...] = Field(
        default=(), description="Ids of mutants it kills that survived all other tests."
    )
    message: str = Field(default="", description="What it said when it failed, shortened.")


class SubmissionAnswer(BaseModel):
    """What became of a submission."""

    model_config = ConfigDict(frozen=True)

    kept: int = Field(description="Tests kept.")
    refused: int = Field(description="Tests refused.")
    verdicts: tuple[TestVerdict, ...] = Field(description="One for each submitted test, kept ones first.")
    patch: str = Field(
        description="The kept tests as a unified diff against the workspace; empty if none is kept."
    )
    written: bool = Field(description="Whether the patch was written to the workspace.")
    change: str | None = Field(default=None, description="Id of the written change, to undo it.")
    line_rate_before: float | None = Field(description="Share of lines reached before, 0 to 1.")
    line_rate_after: float | None = Field(description="Share of lines reached with the kept tests, 0 to 1.")
    not_assessed: tuple[str, ...] = Field(description="What could not be judged, and why.")
    isolation: Isolation = Field(description="How the tests were kept apart.")


@dataclass(slots=True)
class _Judged:
    """A submission while it is judged."""

    copy: ProjectCopy
    change: ChangeSet
    before: TestRun
    request: TestRequest
    verdicts: dict[str, TestVerdict] = field(default_factory=dict)
    reached: dict[str, frozenset[int]] = field(default_factory=dict)
    missing_branches: dict[str, frozenset[tuple[int, int]]] = field(default_factory=dict)
    not_assessed: list[str] = field(default_factory=list)

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(file.path for file in self.change.files if file.after is not None)


@dataclass(frozen=True, slots=True)
class TestJudge:
    """Judges submissions. One object serves every call."""

    __test__ = False

    copies: ProjectCopies
    make_engine: MakeEngine | None
    changes: Path
    """Where changes are kept so that they can be undone."""

    async def submit(
        self,
        root: Path,
        files: dict[str, str],
        patch: str | None,
        save: bool,
        seconds: float,
        principal: Principal,
        progress: Progress,
    ) -> SubmissionAnswer:
        """Judge tests for the project at `root`, given as whole files or as a patch. Raises CallerError.

        Nothing of the workspace is changed unless `save` is asked for and at least one test is kept.
        """
        async with self.copies.copy(root, None, "judging tests", progress) as copy:
            change = await anyio.to_thread.run_sync(_change_of, copy.root, files, patch)
            request = replace(copy.request(), coverage=True, contexts=True, limits=Limits(seconds=seconds))
            await progress(0, 4, "running the tests that are there")
            before = await copy.chosen.runner.run(request)
            judged = _Judged(copy, change, before, request)
            _note_reached(judged, before.coverage)
            await anyio.to_thread.run_sync(write, change, copy.root)
            await self._judge(judged, progress)
            kept = await self._settled(judged)
            after = await self._line_rate(judged, kept)
        written = None
        if save and kept.files:
            store = await open_change_store(self.changes)
            written = await store.apply(principal.id, root, kept, summary="Tests kept by submit_tests")
        verdicts = sorted(judged.verdicts.values(), key=lambda verdict: (not verdict.kept, verdict.id))
        return SubmissionAnswer(
            kept=sum(verdict.kept for verdict in verdicts),
            refused=sum(not verdict.kept for verdict in verdicts),
            verdicts=tuple(verdicts),
            patch=to_unified_diff(kept) if kept.files else "",
            written=written is not None,
            change=written.id if written is not None else None,
            line_rate_before=_line_rate(before.coverage),
            line_rate_after=after,
            not_assessed=tuple(judged.not_assessed),
            isolation=before.isolation,
        )

    async def _judge(self, judged: _Judged, progress: Progress) -> None:
        runner = judged.copy.chosen.runner
        request = replace(judged.request, select=judged.files, order_seed=1)
        await progress(1, 4, f"running the submitted tests {TIMES} times in random order")
        repeated = await repeat(runner, request, TIMES)
        submitted = _submitted(judged, repeated)
        if len(submitted) > MOST_TESTS:
            raise CallerError(
                f"{len(submitted)} tests are submitted; {MOST_TESTS} at once are the most.",
                "Send fewer.",
                argument="files",
            )
        steady = []
        for test, cases in submitted.items():
            verdict = _steadiness(test, cases)
            if verdict is None:
                steady.append(test)
            else:
                judged.verdicts[test] = verdict
        await progress(2, 4, f"{len(steady)} tests are steady; looking at what they add")
        dull = []
        for test in steady:
            outcomes = tuple(case.outcome for case in submitted[test])
            if not await self._adds_coverage(judged, test, outcomes, repeated.runs[0]):
                dull.append((test, outcomes))
        await progress(3, 4, f"{len(dull)} tests reach nothing new; looking for mutants they kill")
        for test, outcomes in dull:
            await self._kills(judged, test, outcomes)

    async def _adds_coverage(self, judged: _Judged, test: str, outcomes: tuple[str, ...], run: TestRun) -> bool:
        """Keep a test that reaches a line, or takes a branch, that nothing kept did."""
        lines = _lines_by(test, run.coverage)
        branches: dict[str, frozenset[tuple[int, int]]] = {}
        new = {path: found - judged.reached.get(path, frozenset()) for path, found in lines.items()}
        if not any(new.values()):
            alone = await judged.copy.chosen.runner.run(replace(judged.request, select=[test], contexts=False))
            code = product_code(alone.coverage)
            new = {file.path: file.executed - judged.reached.get(file.path, frozenset()) for file in code}
            branches = {
                file.path: judged.missing_branches.get(file.path, frozenset()) - file.missing_branches
                for file in code
            }
        shown_lines = _shown(new)
        shown_branches = tuple(
            f"{path}:{start}->{'exit' if end < 0 else end}"
            for path, found in sorted(branches.items())
            for start, end in sorted(found)
        )
        if not shown_lines and not shown_branches:
            return False
        for path, found in new.items():
            judged.reached[path] = judged.reached.get(path, frozenset()) | found
        for path, taken in branches.items():
            judged.missing_branches[path] = judged.missing_branches.get(path, frozenset()) - taken
        what = "lines" if shown_lines else "branches"
        judged.verdicts[test] = TestVerdict(
            id=test,
            kept=True,
            reason=f"It passed {TIMES} times in random order and reaches {what} that no other test did.",
            outcomes=outcomes,
            new_lines=shown_lines[:20],
            new_branches=shown_branches[:20],
        )
        return True

    async def _kills(self, judged: _Judged, test: str, outcomes: tuple[str, ...]) -> None:
        """Keep a test that kills a mutant which survives all others; refuse it otherwise."""
        if self.make_engine is None or judged.copy.chosen.runner.name not in ("pytest", "unittest"):
            judged.not_assessed.append(f"{test}: whether it kills a mutant; there is no engine for it")
            killed: tuple[str, ...] = ()
        else:
            killed = await self._killed(judged, test, self.make_engine)
        judged.verdicts[test] = TestVerdict(
            id=test,
            kept=bool(killed),
            reason=(
                f"It passed {TIMES} times in random order and kills {len(killed)} mutants that no other notices."
                if killed
                else "It reaches nothing that other tests do not, and kills no mutant that survives them."
            ),
            outcomes=outcomes,
            killed=killed,
        )

    async def _killed(self, judged: _Judged, test: str, make_engine: MakeEngine) -> tuple[str, ...]:
        engine = make_engine(judged.copy.sandbox.sandbox)
        alone = await judged.copy.chosen.runner.run(replace(judged.request, select=[test], contexts=False))
        lines = {file.path: file.executed for file in product_code(alone.coverage) if file.executed}
        others = [case.id for case in judged.before.cases if case.outcome == "passed"]
        others += [name for name, verdict in judged.verdicts.items() if verdict.kept]
        asked = MutationRequest(
            judged.copy.root,
            changed_lines=lines,
            tests=others,
            sample=MOST_MUTANTS,
            python=judged.request.python,
            verify_killed=0,
            limits=judged.request.limits,
        )
        try:
            left = [
                each.mutant.id
                for each in (await engine.run(asked)).results
                if each.verdict in (MutantVerdict.SURVIVED, MutantVerdict.NO_COVERAGE) and each.verified
            ]
            return tuple((await engine.judge(replace(asked, tests=[test]), left)).killed) if left else ()
        except (CallerError, EngineError) as error:
            judged.not_assessed.append(f"{test}: whether it kills a mutant: {error.message}")
            return ()

    async def _settled(self, judged: _Judged) -> ChangeSet:
        """Return the change with refused tests taken out."""
        refused = {test for test, verdict in judged.verdicts.items() if not verdict.kept}
        kept = {test for test, verdict in judged.verdicts.items() if verdict.kept}
        files = []
        for file in judged.change.files:
            if file.after is None:
                continue
            mine = {test for test in refused if test.split("::")[0].split(" > ")[0] == file.path}
            keeps = any(test.split("::")[0].split(" > ")[0] == file.path for test in kept)
            if not keeps and judged.verdicts:
                continue
            after = without_tests(file.after, mine) if mine else file.after
            if after is None:
                judged.not_assessed.append(f"{file.path}: refused tests could not be taken out; left out whole")
                for test in kept:
                    if test.startswith(file.path):
                        was = judged.verdicts[test]
                        judged.verdicts[test] = was.model_copy(
                            update={"kept": False, "reason": "It shares a file with refused tests; send it alone."}
                        )
                continue
            if after != file.before:
                files.append(replace(file, after=after))
        return ChangeSet(tuple(files))

    async def _line_rate(self, judged: _Judged, kept: ChangeSet) -> float | None:
        """Make sure the kept tests still pass without the refused ones; return the share of lines reached."""
        if not kept.files:
            return _line_rate(judged.before.coverage)
        for file in kept.files:
            await anyio.to_thread.run_sync((judged.copy.root / file.path).write_bytes, file.after or b"")
        run = await judged.copy.chosen.runner.run(replace(judged.request, select=list(kept.paths), contexts=False))
        for case in run.cases:
            if case.outcome in ("failed", "error") and case.id in judged.verdicts:
                judged.not_assessed.append(f"{case.id} fails once refused tests are gone: {case.message[-300:]}")
        covered = {file.path: file for file in product_code(judged.before.coverage)}
        lines = sum(len(file.executed | file.missing) for file in covered.values())
        reached = sum(
            len((file.executed | file.missing) & judged.reached.get(path, frozenset()))
            for path, file in covered.items()
        )
        return round(reached / lines, 4) if lines else None


def _change_of(root: Path, files: dict[str, str], patch: str | None) -> ChangeSet:
    """Return the submission as a change of the copy. Raises CallerError, PatchRefused."""
    if bool(files) == (patch is not None):
        raise CallerError("Either files or patch is needed.", "Give one of the two.", argument="files")
    if patch is not None:
        return apply_patch(patch, root)
    changes = []
    for path, text in files.items():
        place = (root / path).resolve()
        if not place.is_relative_to(root) or place == root or "\0" in path:
            raise CallerError(f"'{path}' leads out of the project.", "Name a file below it.", argument="files")
        before = place.read_bytes() if place.is_file() else None
        changes.append(FileChange(path, before, text.encode()))
    return ChangeSet(tuple(changes))


def _submitted(judged: _Judged, repeated: Repeated) -> dict[str, list[TestCase]]:
    """Return the submitted tests with their case in every run: new ones, and those on changed lines."""
    known = {case.id for case in judged.before.cases}
    lines = changed_lines(judged.change)
    found: dict[str, list[TestCase]] = {}
    for run in repeated.runs:
        for case in run.cases:
            path = case.path or case.id.split("::")[0]
            touched = case.line is not None and case.line in lines.get(path, frozenset())
            if case.id not in known or touched:
                found.setdefault(case.id, []).append(case)
    if not found:
        tail = repeated.runs[0].output_tail[-_SHOWN:]
        raise CallerError(
            f"The submission holds no test that {judged.copy.chosen.runner.name} finds. {tail}",
            "Name files and tests as the framework expects them.",
            argument="files",
        )
    return found


def _steadiness(test: str, cases: Sequence[TestCase]) -> TestVerdict | None:
    """Return why a test is refused for its outcomes; None when it passed every time."""
    outcomes = tuple(case.outcome for case in cases)
    if set(outcomes) == {"passed"} and len(cases) == TIMES:
        return None
    bad = next((case for case in cases if case.outcome != "passed"), cases[0])
    if "passed" in outcomes or len(cases) != TIMES:
        reason = f"It is not deterministic: it passed {outcomes.count('passed')} of {TIMES} times."
    elif "::" not in test and bad.outcome == "error":
        reason = "The file cannot be collected."
    elif bad.outcome in ("skipped", "xfailed"):
        reason = f"It was {bad.outcome}, so it shows nothing."
    else:
        reason = "It does not pass."
    return TestVerdict(id=test, kept=False, reason=reason, outcomes=outcomes, message=bad.message[-_SHOWN:])


def _lines_by(test: str, coverage: Sequence[FileCoverage]) -> dict[str, frozenset[int]]:
    return {
        file.path: frozenset(
            line for line, tests in file.contexts.items() if test in tests and line in file.executed
        )
        for file in product_code(coverage)
    }


def _note_reached(judged: _Judged, coverage: Sequence[FileCoverage]) -> None:
    for file in product_code(coverage):
        judged.reached[file.path] = file.executed
        judged.missing_branches[file.path] = file.missing_branches
    if not coverage:
        judged.not_assessed.append(f"Coverage: {judged.before.coverage_problem or 'nothing was measured'}")


def _line_rate(coverage: Sequence[FileCoverage]) -> float | None:
    code = product_code(coverage)
    lines = sum(len(file.executed) + len(file.missing) for file in code)
    return round(sum(len(file.executed) for file in code) / lines, 4) if lines else None


def _shown(lines: dict[str, frozenset[int]]) -> tuple[str, ...]:
    return tuple(f"{path}:{line}" for path, found in sorted(lines.items()) for line in sorted(found))


def without_tests(source: bytes, tests: set[str]) -> bytes | None:
    """Return a Python file without these tests; None when one of them cannot be told apart in it."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return None
    gone: list[tuple[int, int]] = []
    for test in tests:
        parts = test.split("[", 1)[0].split("::")[1:]
        nodes: Sequence[ast.stmt] = tree.body
        node: ast.stmt | None = None
        for part in parts:
            node = next((each for each in nodes if getattr(each, "name", None) == part), None)
            nodes = node.body if isinstance(node, ast.ClassDef) else []
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return None
        first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
        gone.append((first, node.end_lineno or node.lineno))
    kept = [
        line
        for number, line in enumerate(source.splitlines(keepends=True), 1)
        if not any(first <= number <= last for first, last in gone)
    ]
    return _or_none(b"".join(kept).rstrip() + b"\n")


def _or_none(source: bytes) -> bytes | None:
    """Return source that still is Python (a class may have lost its only method)."""
    try:
        ast.parse(source)
    except (SyntaxError, ValueError):
        return None
    return source
