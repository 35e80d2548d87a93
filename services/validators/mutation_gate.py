"""The mutation gate: whether the tests notice small mistakes in the very lines that a change brings."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from quantum_suite.core.errors import CallerError, EngineMissing, SuiteError
from quantum_suite.core.verdicts import GateReport, Problem
from quantum_suite.services.mutation.interface import (
    MutantResult,
    MutantVerdict,
    MutationEngine,
    MutationReport,
    MutationRequest,
)
from quantum_suite.services.mutation.scores import counts
from quantum_suite.services.sandbox.interface import Limits
from quantum_suite.services.validators.interface import ChangedTree
from quantum_suite.services.validators.reporting import Found, not_assessed, problem, report
from quantum_suite.services.validators.safeguards import is_test_file

GATE = "mutation"
_MISSED = (MutantVerdict.SURVIVED, MutantVerdict.NO_COVERAGE)
_CODE_ELSEWHERE = (".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx", ".go", ".java", ".rs", ".c", ".cc", ".cpp", ".cs")


class MutationValidator:
    """Mutates the changed lines of Python code, tests left out, and has the project's tests judge each mutant."""

    gate = GATE

    def __init__(
        self, engine: MutationEngine, *, score_at_least: float, sample: int = 200, seconds: float = 600.0
    ) -> None:
        """Refuse a change whose mutants are noticed less often than `score_at_least` (0 to 1). Of more than
        `sample` mutants so many are drawn; all of it takes `seconds` at most."""
        self._engine = engine
        self._score_at_least = score_at_least
        self._sample = sample
        self._seconds = seconds

    async def validate(self, tree: ChangedTree) -> GateReport:
        """Judge the changed lines. What is unknown, for no test or no engine, is not assessed."""
        lines, elsewhere = _mutable(tree)
        if not lines:
            if elsewhere:
                return not_assessed(GATE, f"Only Python is mutated, not {', '.join(elsewhere)}.")
            return report(GATE, (), passed="The change brings no line of Python code outside of tests.")
        request = MutationRequest(
            root=tree.root,
            paths=tuple(lines),
            changed_lines=lines,
            sample=self._sample,
            python=tree.python,
            limits=Limits(seconds=self._seconds),
        )
        try:
            found = await self._engine.run(request)
        except EngineMissing as error:
            return not_assessed(GATE, error.message, install_command=error.command)
        except CallerError as error:
            return not_assessed(GATE, str(error))
        except SuiteError as error:
            return not_assessed(GATE, f"The mutation engine failed: {error}")
        return self._report(found, elsewhere)

    def _report(self, found: MutationReport, elsewhere: Sequence[str]) -> GateReport:
        unassessed = [f"Only Python is mutated, not {path}." for path in elsewhere]
        if found.stopped_early:
            unassessed.append(found.stopped_early)
        if found.score is None:
            if found.stopped_early and found.generated:
                return not_assessed(GATE, found.stopped_early, isolation=found.isolation, seconds=found.seconds)
            return report(
                GATE,
                (),
                passed="There is nothing in the changed lines that a mutant could change.",
                isolation=found.isolation,
                unassessed=unassessed,
                seconds=found.seconds,
            )
        blocks = found.score < self._score_at_least
        return report(
            GATE,
            [_missed(one, blocks=blocks) for one in found.results if one.verdict in _MISSED],
            passed=_summary(found),
            engine="quantum-suite mutation",
            isolation=found.isolation,
            unassessed=unassessed,
            seconds=found.seconds,
        )


def _mutable(tree: ChangedTree) -> tuple[dict[str, frozenset[int]], list[str]]:
    """Return the changed lines of Python code by file, and the changed code that is not Python."""
    lines: dict[str, frozenset[int]] = {}
    elsewhere: list[str] = []
    for path, changed in tree.changed_lines.items():
        name = PurePosixPath(path)
        if is_test_file(path) or name.name in ("setup.py", "conftest.py") or not changed:
            continue
        if name.suffix == ".py":
            lines[path] = changed
        elif name.suffix in _CODE_ELSEWHERE:
            elsewhere.append(path)
    return lines, elsewhere


def _summary(found: MutationReport) -> str:
    noticed, counted = counts(found.results)
    words = f"The tests notice {noticed} of {counted} mutants of the changed lines"
    if found.interval is not None:
        low, high = found.interval
        words += f", drawn from {found.generated} (95 % interval {low:.0%} to {high:.0%})"
    return f"{words}."


def _missed(result: MutantResult, *, blocks: bool) -> Problem:
    mutant = result.mutant
    how = "no test reaches it" if result.verdict is MutantVerdict.NO_COVERAGE else "every test still passes"
    region = mutant.location.region
    found = Found(
        mutant.location.path,
        f"mutant-{result.verdict.value}",
        f"With '{mutant.replacement}' for '{mutant.original}' {how} (mutant {mutant.id})",
        region.start_line if region is not None else None,
        region.start_column if region is not None else None,
        suggestion="a test that fails with it",
        blocking=blocks,
    )
    return problem(found)
