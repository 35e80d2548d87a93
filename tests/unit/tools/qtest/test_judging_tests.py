"""What new tests are worth, and where tests are missing."""

import subprocess
from pathlib import Path

import pytest
from reference.projects import calculator

from quantum_suite.core.principals import LOCAL
from quantum_suite.services.capacity.memory import MemoryCapacity
from quantum_suite.services.testing.interface import FileCoverage
from quantum_suite.tools.qtest.measure_coverage import changed_lines
from quantum_suite.tools.qtest.project_copy import ProjectCopies
from quantum_suite.tools.qtest.rank_gaps import churn_of, rank_gaps
from quantum_suite.tools.qtest.submit_tests import TestJudge, without_tests

NEW = """\
import calc
import os


def test_large():
    assert calc.add(101, 1) == 101


def test_nothing():
    assert calc.add(5, 6) == 11


def test_wrong():
    assert calc.add(1, 2) == 4
"""


async def silent(done: int, total: int, message: str) -> None:
    """Progress nobody looks at."""


@pytest.mark.anyio
async def test_only_tests_that_show_something_are_kept_and_written(tmp_path: Path) -> None:
    root = calculator(tmp_path / "project")
    judge = TestJudge(ProjectCopies(tmp_path / "qtest", MemoryCapacity(1)), None, tmp_path / "changes")
    answer = await judge.submit(root, {"tests/test_new.py": NEW}, None, True, 100, LOCAL, silent)

    verdicts = {each.id.split("::")[1]: each for each in answer.verdicts}
    assert {name: each.kept for name, each in verdicts.items()} == {
        "test_large": True,
        "test_nothing": False,
        "test_wrong": False,
    }
    assert verdicts["test_large"].new_lines == ("calc.py:3",)
    assert verdicts["test_large"].outcomes == ("passed",) * 5
    assert verdicts["test_wrong"].reason == "It does not pass."
    assert "test_nothing" in answer.not_assessed[0]  # Nobody mutates here.
    assert (answer.line_rate_after or 0) > (answer.line_rate_before or 1)
    assert answer.written
    written = (root / "tests" / "test_new.py").read_text()
    assert "def test_large" in written
    assert "def test_nothing" not in written
    assert written in answer.patch.replace("\n+", "\n") or "+def test_large" in answer.patch


def test_refused_tests_are_taken_out_of_their_file_or_the_file_is_refused() -> None:
    source = (
        b"import calc\n\n\n@mark\ndef test_a():\n    pass\n\n\nclass TestB:\n    def test_c(self):\n        pass\n"
    )
    assert without_tests(source, {"t.py::test_a[1]"}) == source.replace(b"@mark\ndef test_a():\n    pass\n", b"")
    assert without_tests(source, {"t.py::TestB::test_c"}) is None
    assert without_tests(source, {"t.py::test_elsewhere"}) is None
    assert without_tests(b"def (", {"t.py::test_a"}) is None


@pytest.mark.anyio
async def test_gaps_are_ranked_by_what_can_go_wrong_how_often_it_changes_and_who_calls(tmp_path: Path) -> None:
    root = calculator(tmp_path / "project")
    coverage = [
        FileCoverage(
            "calc.py",
            executed=frozenset({1, 2, 4, 7, 11}),
            missing=frozenset({3, 8, 12}),
            missing_branches=frozenset({(2, 3)}),
            branches=2,
        )
    ]
    gaps = rank_gaps(root, coverage, {"calc.py": 5}, None)
    assert gaps[0].function == "add"
    first = gaps[0]
    assert (first.complexity, first.churn, first.callers) == (2, 5, 1)
    assert (first.missing_lines, first.missing_branches) == ((3,), ("2->3",))
    assert {gap.function for gap in gaps} == {"add", "twice", "lonely"}
    only = rank_gaps(root, coverage, {}, {"calc.py": frozenset({12})})
    assert [gap.function for gap in only] == ["lonely"]
    assert await churn_of(root) == {}


@pytest.mark.anyio
async def test_churn_and_changed_lines_come_from_git(tmp_path: Path) -> None:
    root = calculator(tmp_path / "project")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", "-C", str(root)]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *command], check=True)
    assert (await churn_of(root))["calc.py"] == 1
    (root / "calc.py").write_text((root / "calc.py").read_text().replace("return [x]", "y = x\n    return [y]"))
    assert await changed_lines(root, "HEAD") == {"calc.py": frozenset({12, 13})}
