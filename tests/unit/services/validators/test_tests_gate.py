from collections.abc import Mapping
from pathlib import Path

import pytest
from reference.judging import Files, open_court, write_project

from quantum_suite.core.verdicts import GateReport, Isolation, Outcome
from quantum_suite.services.patches.interface import FileChange
from quantum_suite.services.testing.interface import Affected, TestCase
from quantum_suite.services.testing.reach_map import MemoryReachMap
from quantum_suite.services.testing.runners import all_runners
from quantum_suite.services.validators.tests_gate import TestLimits, TestsValidator, how_it_ended, old_lines

pytestmark = pytest.mark.anyio

PROJECT: dict[str, str] = {
    "calc.py": "def add(a, b):\n    return a + b\n\n\ndef sub(a, b):\n    return a + b\n",
    "tests/test_add.py": "from calc import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n",
    "tests/test_sub.py": "from calc import sub\n\n\ndef test_sub():\n    assert sub(3, 2) == 1\n",
    "conftest.py": "",
}
LIMITS = TestLimits(seconds=60.0, case_seconds=3.0)


class Map(MemoryReachMap):
    """A reach map that says what the test says."""

    def __init__(self, affected: Affected) -> None:
        super().__init__()
        self.affected_tests = affected
        self.asked: Mapping[str, frozenset[int] | None] = {}

    async def affected(
        self, root: Path, changed: Mapping[str, frozenset[int] | None], source: Path | None = None
    ) -> Affected:
        self.asked = changed
        return self.affected_tests


async def checked(
    tmp_path: Path, after: Mapping[str, str | bytes | None], before: Files = PROJECT, reach: Map | None = None
) -> GateReport:
    async with open_court(tmp_path / "court") as court:
        root = write_project(tmp_path / "project", before)
        gate = TestsValidator(all_runners(court.sandbox, tmp_path / "runs"), reach, LIMITS)
        judgement = await court.judge(root, after, gate)
    report = judgement.verdict.gate("tests")
    assert report is not None
    return report


async def test_a_test_that_fails_now_and_not_before_is_refused_by_name(tmp_path: Path) -> None:
    broken = PROJECT["calc.py"].replace("def add(a, b):\n    return a + b", "def add(a, b):\n    return a - b")
    report = await checked(tmp_path, {"calc.py": broken})
    assert report.outcome is Outcome.FAILED
    told = {(problem.message.split(" ")[0], problem.introduced) for problem in report.problems}
    assert told == {("tests/test_add.py::test_add", True), ("tests/test_sub.py::test_sub", False)}
    assert report.isolation in (Isolation.BUBBLEWRAP, Isolation.RLIMITS)


async def test_a_fix_is_accepted_though_another_test_fails_as_before(tmp_path: Path) -> None:
    report = await checked(tmp_path, {"calc.py": PROJECT["calc.py"] + "\n\ndef mul(a, b):\n    return a * b\n"})
    assert report.outcome is Outcome.PASSED
    assert [problem.introduced for problem in report.problems] == [False]


async def test_a_new_test_that_fails_is_refused(tmp_path: Path) -> None:
    report = await checked(tmp_path, {"tests/test_new.py": "def test_new():\n    assert 1 == 2\n"})
    assert report.outcome is Outcome.FAILED
    assert "tests/test_new.py::test_new" in report.problems[0].message


async def test_a_change_that_never_ends_is_refused_as_such(tmp_path: Path) -> None:
    hangs = PROJECT["calc.py"].replace("def add(a, b):\n", "def add(a, b):\n    while True:\n        pass\n")
    report = await checked(tmp_path, {"calc.py": hangs})
    assert report.outcome is Outcome.FAILED
    assert "took longer than 3 seconds" in report.problems[0].message


async def test_a_change_that_ends_the_process_is_refused_as_such(tmp_path: Path) -> None:
    ends = PROJECT["calc.py"].replace("def add(a, b):\n", "import os\n\n\ndef add(a, b):\n    os._exit(3)\n")
    report = await checked(tmp_path, {"calc.py": ends})
    assert report.outcome is Outcome.FAILED
    assert "ended the process" in report.problems[0].message


async def test_a_file_that_can_no_longer_be_imported_is_refused(tmp_path: Path) -> None:
    report = await checked(tmp_path, {"calc.py": "raise RuntimeError('no')\n"})
    assert report.outcome is Outcome.FAILED
    assert any(problem.blocking and "tests/test_add.py" in problem.message for problem in report.problems)


async def test_a_flaky_failure_is_advice(tmp_path: Path) -> None:
    flaky = (
        "import pathlib\n\n\ndef test_now_and_then():\n    seen = pathlib.Path('seen')\n"
        "    first = not seen.exists()\n    seen.write_text('x')\n    assert not first\n"
    )
    before = {key: value for key, value in PROJECT.items() if "sub" not in key}
    report = await checked(tmp_path, {"tests/test_flaky.py": flaky}, before)
    assert report.outcome is Outcome.PASSED
    assert [problem.code for problem in report.problems] == ["flaky-test"]


async def test_only_the_tests_the_map_names_are_run(tmp_path: Path) -> None:
    reach = Map(Affected(("tests/test_add.py::test_add",), False, {}, ""))
    report = await checked(tmp_path, {"calc.py": PROJECT["calc.py"] + "\n\nx = 1\n"}, reach=reach)
    assert report.outcome is Outcome.PASSED
    assert report.summary.startswith("1 test ran")
    assert set(reach.asked) == {"calc.py"}


async def test_a_change_no_test_reaches_is_not_taken_for_tested(tmp_path: Path) -> None:
    reach = Map(Affected((), False, {}, ""))
    report = await checked(tmp_path, {"calc.py": PROJECT["calc.py"] + "\n\nx = 1\n"}, reach=reach)
    assert report.outcome is Outcome.NOT_ASSESSED


async def test_a_project_without_tests_is_not_taken_for_tested(tmp_path: Path) -> None:
    report = await checked(tmp_path, {"calc.py": "x = 1\n"}, {"README": "x"})
    assert report.outcome is Outcome.NOT_ASSESSED


async def test_documents_concern_no_test(tmp_path: Path) -> None:
    report = await checked(tmp_path, {"README.md": "hello\n"})
    assert report.outcome is Outcome.PASSED


async def test_tests_in_javascript_are_run_as_well(tmp_path: Path) -> None:
    project = {
        "package.json": '{"name": "x", "type": "module", "scripts": {"test": "node --test"}}\n',
        "sum.js": "export const sum = (a, b) => a + b;\n",
        "sum.test.js": "import test from 'node:test';\nimport assert from 'node:assert';\n"
        "import { sum } from './sum.js';\ntest('adds', () => { assert.equal(sum(1, 2), 3); });\n",
    }
    report = await checked(tmp_path, {"sum.js": "export const sum = (a, b) => a - b;\n"}, project)
    assert report.outcome is Outcome.FAILED
    assert "adds" in report.problems[0].message


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        (b"a\nb\nc\n", b"a\nX\nc\n", {2}),
        (b"a\nb\nc\n", b"a\nc\n", {2}),
        (b"a\nb\n", b"a\nX\nb\n", {1, 2}),
        (None, b"a\n", None),
        (b"a\n", None, None),
        (b"a\n" * 30_000, b"b\n", None),
    ],
)
def test_the_old_lines_of_a_change(before: bytes | None, after: bytes | None, lines: set[int] | None) -> None:
    assert old_lines(FileChange("a.py", before, after)) == (None if lines is None else frozenset(lines))


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("", "fails"),
        ("AssertionError: 3 is not 4\nlonger", "fails: AssertionError: 3 is not 4"),
        ("Traceback (most recent call last):\n  File 'a.py'\nKeyError: 'b'", "fails: KeyError: 'b'"),
        (
            "t.py:5: in test_f\n    assert f() == 4\nE   assert 3 == 4\nE    +  where 3 = f()",
            "fails: assert 3 == 4",
        ),
        (
            'path.py:1: in load\nE     File "t.py", line 10\nE       def (\nE   SyntaxError: invalid syntax',
            "fails: SyntaxError: invalid syntax",
        ),
    ],
)
def test_a_failure_is_told_by_what_it_comes_to(message: str, told: str) -> None:
    assert how_it_ended(TestCase("t.py::test_f", "failed", message=message)) == told
