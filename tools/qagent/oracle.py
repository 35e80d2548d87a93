"""An oracle: tests that somebody else than the author of a change wrote, as a gate of its own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import anyio.to_thread

from quantum_suite.core.errors import CallerError, SuiteError
from quantum_suite.core.verdicts import GateReport
from quantum_suite.services.patches.interface import ChangeSet, FileChange
from quantum_suite.services.patches.writing import write
from quantum_suite.services.testing.interface import Runner, TestRequest, TestRun
from quantum_suite.services.testing.runners import choose_runner
from quantum_suite.services.validators.interface import ChangedTree
from quantum_suite.services.validators.reporting import Found, not_assessed, problem, report
from quantum_suite.services.validators.tests_gate import TestLimits, how_it_ended

GATE = "oracle"
_GOOD = ("passed", "skipped", "xfailed")


@dataclass(slots=True)
class OracleValidator:
    """Puts the oracle's tests over whatever the change made of them, and runs those alone."""

    files: Mapping[str, str]
    """Test files by path. They are written last: an author cannot change what measures it."""
    select: tuple[str, ...]
    """Further tests of the original to run, by id or file; they are restored as well."""
    runners: tuple[Runner, ...]
    limits: TestLimits
    share: float = 0.0
    """After a run: the share of its tests that pass, 0 to 1."""
    tests: int = 0
    gate: str = field(default=GATE, init=False)

    async def validate(self, tree: ChangedTree) -> GateReport:
        """Run the oracle; every one of its tests must pass."""
        self.share, self.tests = 0.0, 0
        restored = await self._restored(tree)
        await anyio.to_thread.run_sync(write, restored, tree.root)
        try:
            chosen = await anyio.to_thread.run_sync(choose_runner, self.runners, tree.root)
            run = await chosen.runner.run(self._request(tree))
        except CallerError as error:
            return report(GATE, [problem(Found("", "oracle-not-run", str(error)))], passed="")
        except SuiteError as error:
            return not_assessed(GATE, str(error))
        return self._report(run)

    def _request(self, tree: ChangedTree) -> TestRequest:
        return TestRequest(
            root=tree.root,
            select=(*self.files, *self.select),
            python=tree.python,
            readable=tree.scratch.read_only,
            case_seconds=self.limits.case_seconds,
            limits=self.limits.sandbox,
        )

    async def _restored(self, tree: ChangedTree) -> ChangeSet:
        """Return what puts the oracle's files back to what they are to be."""
        wanted = {path: text.encode() for path, text in self.files.items()}
        named = {test.split("::")[0] for test in self.select}
        if named:
            original = await tree.original.root()
            for path in named:
                if (original / path).is_file():
                    wanted[path] = await anyio.to_thread.run_sync((original / path).read_bytes)
        return ChangeSet(tuple(_file(tree.root, path, content) for path, content in wanted.items()))

    def _report(self, run: TestRun) -> GateReport:
        good = sum(case.outcome in _GOOD for case in run.cases)
        self.tests = len(run.cases)
        self.share = good / self.tests if self.tests else 0.0
        problems = [
            problem(
                Found(case.path or case.id, f"oracle-{case.outcome}", f"{case.id} {how_it_ended(case)}", case.line)
            )
            for case in run.cases
            if case.outcome not in _GOOD
        ]
        if not run.cases:
            problems = [problem(Found("", "oracle-not-run", run.explanation))]
        return report(
            GATE,
            problems,
            passed=f"All {self.tests} tests of the oracle pass.",
            engine=f"{run.runner} {run.runner_version}".strip(),
            isolation=run.isolation,
        )


def _file(root: Path, path: str, content: bytes) -> FileChange:
    there = (root / path).read_bytes() if (root / path).is_file() else None
    return FileChange(path, there, content)
