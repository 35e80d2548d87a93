from collections.abc import Mapping
from pathlib import Path

import pytest
from reference.judging import Files, open_court, write_project

from quantum_suite.core.verdicts import GateReport, Outcome
from quantum_suite.services.mutation.engine import PythonMutationEngine
from quantum_suite.services.validators.mutation_gate import MutationValidator

pytestmark = pytest.mark.anyio

PROJECT: dict[str, str] = {
    "calc.py": "def add(a, b):\n    return a + b\n",
    "tests/test_calc.py": "from calc import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n",
    "conftest.py": "",
}
LARGER = PROJECT["calc.py"] + "\n\ndef larger(a, b):\n    return a if a > b else b\n"
TESTED = PROJECT["tests/test_calc.py"].replace("import add", "import add, larger") + (
    "\n\ndef test_larger():\n    assert (larger(1, 2), larger(2, 1), larger(3, 3.0)) == (2, 2, 3)\n"
    "    assert isinstance(larger(3, 3.0), float)\n"
)
GLANCED_AT = PROJECT["tests/test_calc.py"].replace("import add", "import add, larger") + (
    "\n\ndef test_larger():\n    assert larger(1, 2)\n"
)


async def checked(
    tmp_path: Path,
    after: Mapping[str, str | bytes | None],
    before: Files = PROJECT,
    score_at_least: float = 0.9,
) -> GateReport:
    folder = tmp_path / "mutation"
    folder.mkdir()
    async with open_court(tmp_path / "court") as court:
        root = write_project(tmp_path / "project", before)
        engine = PythonMutationEngine(court.sandbox, folder)
        judgement = await court.judge(root, after, MutationValidator(engine, score_at_least=score_at_least))
    report = judgement.verdict.gate("mutation")
    assert report is not None
    return report


async def test_a_change_whose_tests_notice_every_mutant_passes_and_older_lines_are_let_be(tmp_path: Path) -> None:
    report = await checked(tmp_path, {"calc.py": LARGER, "tests/test_calc.py": TESTED})
    assert report.outcome is Outcome.PASSED, report
    assert report.problems == ()
    noticed, of, *_ = [int(word) for word in report.summary.split() if word.isdigit()]
    assert noticed == of >= 3


async def test_a_change_whose_tests_only_glance_at_it_is_refused_with_the_mutants_they_miss(
    tmp_path: Path,
) -> None:
    report = await checked(tmp_path, {"calc.py": LARGER, "tests/test_calc.py": GLANCED_AT})
    assert report.outcome is Outcome.FAILED
    places = {str(one.location) for one in report.problems}
    assert all(place.startswith("calc.py:6") for place in places), places
    assert {one.code for one in report.problems} == {"mutant-survived"}
    assert "every test still passes" in report.problems[0].message


async def test_code_that_no_test_reaches_is_refused_as_such(tmp_path: Path) -> None:
    report = await checked(tmp_path, {"calc.py": LARGER})
    assert report.outcome is Outcome.FAILED
    assert {one.code for one in report.problems} == {"mutant-no_coverage"}
    assert "no test reaches it" in report.problems[0].message


async def test_what_is_missed_above_the_bar_is_advice(tmp_path: Path) -> None:
    report = await checked(tmp_path, {"calc.py": LARGER, "tests/test_calc.py": GLANCED_AT}, score_at_least=0.0)
    assert report.outcome is Outcome.PASSED
    assert report.problems
    assert not any(one.blocking for one in report.problems)


async def test_tests_and_documents_are_not_mutated(tmp_path: Path) -> None:
    report = await checked(
        tmp_path, {"README.md": "# Calc\n", "tests/test_calc.py": TESTED.split("\n\n\ndef test_l")[0]}
    )
    assert (report.outcome, report.summary) == (
        Outcome.PASSED,
        "The change brings no line of Python code outside of tests.",
    )


async def test_what_cannot_be_mutated_is_said_to_be_unknown(tmp_path: Path) -> None:
    report = await checked(tmp_path, {"web.js": "export const a = 1;\n"})
    assert (report.outcome, report.summary) == (Outcome.NOT_ASSESSED, "Only Python is mutated, not web.js.")


async def test_tests_that_fail_without_any_mutant_prove_nothing(tmp_path: Path) -> None:
    before = {
        **PROJECT,
        "tests/test_bad.py": "from calc import add\n\n\ndef test_bad():\n    assert add(1, 1) == 3\n",
    }
    report = await checked(tmp_path, {"calc.py": LARGER, "tests/test_calc.py": TESTED}, before)
    assert report.outcome is Outcome.NOT_ASSESSED
    assert "fail on unmutated code" in report.summary
