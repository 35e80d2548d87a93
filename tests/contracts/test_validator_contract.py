"""What every gate keeps to: it reports on anything, raises for nothing, and leaves the change as it is."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from reference.judging import open_court, write_project

from quantum_suite.core.verdicts import GateReport, Outcome
from quantum_suite.services.code_scanning.ruff_security import RuffSecurityEngine
from quantum_suite.services.code_scanning.rule_book import RuleBook
from quantum_suite.services.testing.runners import all_runners
from quantum_suite.services.validators.gates import code_gates
from quantum_suite.services.validators.interface import ChangedTree, Validator
from quantum_suite.services.validators.tests_gate import TestLimits

pytestmark = pytest.mark.anyio

GATES = ("syntax", "imports", "api", "lint", "format", "safeguards", "security", "types", "tests")
PROJECT = {
    "calc.py": "def add(a, b):\n    return a + b\n",
    "old.py": "import json\n",
    "tests/test_calc.py": "from calc import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n",
    "conftest.py": "",
}
HARMLESS = {"calc.py": PROJECT["calc.py"] + "\n\ndef sub(a, b):\n    return a - b\n"}
HOSTILE: dict[str, str | bytes | None] = {
    "old.py": None,
    "bytes.py": b"\xff\xfe\x00import os\n",
    "null.py": b"x = 1\x00\n",
    "broken.py": b"def f(:\n",
    "deep.py": b"x = " + b"-" * 100_000 + b"1\n",
    "data.bin": bytes(range(256)) * 10,
    "empty.py": b"",
    "odd name \u202e.py": b"import sys\n",
    "pyproject.toml": b"[tool.ruff\n[tool.mypy]\nplugins = 7\n",
    "loop.ts": b"const x: = {{{{{{\n",
}


@dataclass
class Watched:
    """A gate, and whether the change was the same after it."""

    inner: Validator
    same: bool = False

    @property
    def gate(self) -> str:
        return self.inner.gate

    async def validate(self, tree: ChangedTree) -> GateReport:
        report = await self.inner.validate(tree)
        self.same = all(
            (tree.root / one.path).read_bytes() == one.after if one.after is not None
            else not (tree.root / one.path).exists()
            for one in tree.change.files
        )  # fmt: skip
        return report


async def reported(tmp_path: Path, name: str, after: dict[str, str | bytes | None]) -> GateReport:
    async with open_court(tmp_path / "court") as court:
        root = write_project(tmp_path / "project", PROJECT)
        gates = code_gates(
            court.sandbox,
            (RuffSecurityEngine(RuleBook()),),
            all_runners(court.sandbox, tmp_path / "runs"),
            limits=TestLimits(seconds=60.0, case_seconds=20.0),
            work_dir=tmp_path,
        )
        assert tuple(gate.gate for gate in gates) == GATES
        watched = Watched(gates[GATES.index(name)])
        report = (await court.judge(root, after, watched)).verdict.gate(name)
    assert report is not None
    assert watched.same
    return report


@pytest.mark.parametrize("name", GATES)
async def test_a_harmless_change_passes(tmp_path: Path, name: str) -> None:
    report = await reported(tmp_path, name, dict(HARMLESS))
    assert report.outcome is Outcome.PASSED, report.summary
    assert not any(problem.blocking for problem in report.problems)


@pytest.mark.parametrize("name", GATES)
async def test_a_hostile_change_is_reported_on_and_never_passes_in_silence(tmp_path: Path, name: str) -> None:
    report = await reported(tmp_path, name, HOSTILE)
    assert report.summary
    if report.outcome is Outcome.FAILED:
        assert any(problem.blocking for problem in report.problems)
    for problem in report.problems:
        assert problem.location is None or not problem.location.path.startswith("/")
