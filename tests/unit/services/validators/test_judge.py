import os
from pathlib import Path

import anyio
import pytest
from reference.judging import Court, open_court, patch_of, write_project

from quantum_suite.core.errors import Conflict
from quantum_suite.core.verdicts import GateReport, Outcome, Problem
from quantum_suite.services.code_scanning.ruff_security import RuffSecurityEngine
from quantum_suite.services.code_scanning.rule_book import RuleBook
from quantum_suite.services.scratch.files import FileScratchSpace
from quantum_suite.services.testing.runners import all_runners
from quantum_suite.services.validators.gates import code_gates
from quantum_suite.services.validators.interface import ChangedTree
from quantum_suite.services.validators.judge import Judge, verdict_of
from quantum_suite.services.validators.reporting import not_assessed, report

pytestmark = pytest.mark.anyio

PROJECT = {
    "pkg/__init__.py": "",
    "pkg/calc.py": "def add(a: int, b: int) -> int:\n    return a + b\n",
    "tests/test_calc.py": "from pkg.calc import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n",
    "conftest.py": "",
    "pyproject.toml": "[tool.mypy]\nstrict = true\nexclude = ['tests']\n",
}


def full_judge(court: Court, tmp_path: Path) -> Judge:
    gates = code_gates(
        court.sandbox,
        (RuffSecurityEngine(RuleBook()),),
        all_runners(court.sandbox, tmp_path / "runs"),
        work_dir=tmp_path,
    )
    return Judge(FileScratchSpace(tmp_path / "copies"), gates)


ADD = PROJECT["pkg/calc.py"]
BAD = [
    (ADD + "def sub(a: int, b: int) -> int\n    return a - b\n", "syntax", "pkg/calc.py:3"),
    ("import nowhere_at_all.json\nfrom pkg import nothing\n" + ADD, "imports", "pkg/calc.py:"),
    ("import json\n\nX = json.lods('1')\n" + ADD, "api", "pkg/calc.py:3"),
    (ADD.replace("a + b", "a + c"), "lint", "pkg/calc.py:2"),
    (f"import subprocess\n\nsubprocess.run(str(1), shell=True)\n\n\n{ADD}", "security", "pkg/calc.py:3"),
    (ADD + "\n\nX: str = add(1, 2)\n", "types", "pkg/calc.py:5"),
    (ADD.replace("a + b", "a - b"), "tests", "tests/test_calc.py"),
]


@pytest.mark.parametrize(("source", "gate", "place"), BAD, ids=[gate for _, gate, _ in BAD])
async def test_a_bad_change_is_refused_at_its_gate_with_place_and_next_step(
    tmp_path: Path, source: str, gate: str, place: str
) -> None:
    async with open_court(tmp_path / "court") as court:
        root = write_project(tmp_path / "project", PROJECT)
        judge = full_judge(court, tmp_path)
        verdict = (await judge.judge(root, patch_of(root, {"pkg/calc.py": source}))).verdict
    assert not verdict.accepted
    assert verdict.gates[-1].gate == gate
    assert [one.gate for one in verdict.gates] == list(judge.gates[: len(verdict.gates)])
    assert verdict.next_step is not None
    assert place in verdict.next_step
    assert verdict.reason.startswith(f"Refused at the gate '{gate}'")


async def test_a_good_change_is_accepted_and_the_workspace_stays_as_it_is(tmp_path: Path) -> None:
    async with open_court(tmp_path / "court") as court:
        root = write_project(tmp_path / "project", PROJECT)
        source = ADD + "\n\ndef sub(a: int, b: int) -> int:\n    return a - b\n"
        told: list[str] = []

        async def progress(done: int, total: int, message: str) -> None:
            told.append(message)

        judge = full_judge(court, tmp_path)
        judgement = await judge.judge(root, patch_of(root, {"pkg/calc.py": source}), progress)
        assert judgement.verdict.accepted, judgement.verdict.reason
        assert judgement.verdict.next_step is None
        assert "+def sub" in judgement.diff
        assert {path.name for path in root.iterdir()} == {"pkg", "tests", "conftest.py", "pyproject.toml"}
        assert (root / "pkg/calc.py").read_text() == ADD
        assert told == ["copying the workspace", *judge.gates[1:], "judged"]
        assert list((tmp_path / "copies").glob("copy-*")) == []


@pytest.mark.parametrize(
    "patch",
    [
        "--- a/../outside.py\n+++ b/../outside.py\n@@ -0,0 +1 @@\n+x\n",
        "--- /dev/null\n+++ b/link/x.py\n@@ -0,0 +1 @@\n+x\n",
        "--- /dev/null\n+++ b/.git/hooks/pre-commit\n@@ -0,0 +1 @@\n+x\n",
        "--- /dev/null\n+++ /etc/passwd\n@@ -0,0 +1 @@\n+x\n",
        "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+/etc/passwd\n",
        "--- a/pkg/calc.py\n+++ b/pkg/calc.py\n@@ -1,1 +1,1 @@\n-nothing like it\n+x\n",
        "pkg/calc.py\n<<<<<<< SEARCH\nnothing like it\n=======\nx\n>>>>>>> REPLACE\n",
        "no patch at all",
        "",
        "\ud800",
        "+" * (5 * 1024 * 1024),
    ],
)
async def test_a_patch_that_does_not_fit_is_refused_before_anything_runs(tmp_path: Path, patch: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    async with open_court(tmp_path / "court") as court:
        root = write_project(tmp_path / "project", PROJECT)
        (root / "link").symlink_to(outside)
        judgement = await court.judge(root, {}, patch=patch)
    assert not judgement.verdict.accepted
    assert [one.gate for one in judgement.verdict.gates] == ["applies"]
    assert judgement.verdict.next_step is not None
    assert judgement.change is None
    assert list(outside.iterdir()) == []
    assert not (tmp_path / "outside.py").exists()


class Waits:
    """A gate that compares with the original, after somebody has been at the workspace."""

    gate = "waits"

    def __init__(self, root: Path) -> None:
        self._root = root

    async def validate(self, tree: ChangedTree) -> GateReport:
        (self._root / "new.py").write_text("x = 1\n")
        await tree.original.root()
        raise AssertionError("a changed workspace was compared with")


async def test_a_workspace_that_changes_meanwhile_is_a_conflict(tmp_path: Path) -> None:
    async with open_court(tmp_path / "court") as court:
        root = write_project(tmp_path / "project", PROJECT)
        with pytest.raises(Conflict, match="changed while"):
            await court.judge(root, {"pkg/calc.py": "x = 1\n"}, Waits(root))


class Forever:
    """A gate that does not end by itself."""

    gate = "forever"

    def __init__(self) -> None:
        self.begun = anyio.Event()

    async def validate(self, tree: ChangedTree) -> GateReport:
        self.begun.set()
        await anyio.sleep_forever()
        raise AssertionError


async def test_a_cancelled_judgement_leaves_no_copy(tmp_path: Path) -> None:
    async with open_court(tmp_path / "court") as court:
        root = write_project(tmp_path / "project", PROJECT)
        gate = Forever()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: court.judge(root, {"pkg/calc.py": "x = 1\n"}, gate))
            await gate.begun.wait()
            assert list((tmp_path / "court/copies").iterdir()) != []
            tasks.cancel_scope.cancel()
        assert list((tmp_path / "court/copies").iterdir()) == []


def test_what_nobody_assessed_is_named_and_never_a_pass_in_silence() -> None:
    verdict = verdict_of(
        [report("syntax", (), passed="ok"), not_assessed("types", "gone", install_command="get it")]
    )
    assert verdict.accepted
    assert "leaves types open" in verdict.reason
    assert verdict.not_assessed == ("types: gone Install it with: get it",)


def test_a_long_list_is_cut_worst_first_and_counted() -> None:
    advice = [Problem(code="W", message=str(number), blocking=False) for number in range(40)]
    cut = report("lint", [*advice, Problem(code="E", message="bad")], passed="ok")
    assert cut.outcome is Outcome.FAILED
    assert cut.problems[0].code == "E"
    assert (len(cut.problems), cut.omitted) == (30, 11)


async def test_a_workspace_with_odd_things_in_it_is_judged(tmp_path: Path) -> None:
    async with open_court(tmp_path / "court") as court:
        root = write_project(tmp_path / "project", PROJECT)
        os.mkfifo(root / "pipe")
        (root / "loop").symlink_to("loop")
        judgement = await court.judge(root, {"pkg/calc.py": ADD + "\n"})
    assert judgement.verdict.accepted
