from pathlib import Path

import pytest
from reference.judging import Files, open_court, write_project

from quantum_suite.core.verdicts import GateReport, Outcome
from quantum_suite.services.validators import ruff
from quantum_suite.services.validators.ruff import FormatValidator, LintValidator

pytestmark = pytest.mark.anyio

CONFIGURED = '[tool.ruff.lint]\nselect = ["F", "B"]\n[tool.ruff.format]\nquote-style = "double"\n'


async def checked(gate: str, tmp_path: Path, before: Files, after: Files) -> GateReport:
    async with open_court(tmp_path / "court") as court:
        root = write_project(tmp_path / "project", {"README": "x", **before})
        one = LintValidator(court.bench) if gate == "lint" else FormatValidator(court.bench)
        judgement = await court.judge(root, after, one)
    report = judgement.verdict.gate(gate)
    assert report is not None
    return report


async def test_an_undefined_name_blocks_without_any_configuration(tmp_path: Path) -> None:
    report = await checked("lint", tmp_path, {}, {"a.py": "def f():\n    return undefined_name\n"})
    assert report.outcome is Outcome.FAILED
    assert [problem.code for problem in report.problems] == ["F821"]
    assert str(report.problems[0].location) == "a.py:2"


async def test_without_configuration_matters_of_taste_are_advice(tmp_path: Path) -> None:
    report = await checked("lint", tmp_path, {}, {"a.py": "import os\n"})
    assert report.outcome is Outcome.PASSED
    assert [(problem.code, problem.blocking) for problem in report.problems] == [("F401", False)]


async def test_the_projects_own_rules_block(tmp_path: Path) -> None:
    source = "def f(x=[]):\n    return x\n"
    report = await checked("lint", tmp_path, {"pyproject.toml": CONFIGURED}, {"a.py": source})
    assert report.outcome is Outcome.FAILED
    assert [problem.code for problem in report.problems] == ["B006"]


async def test_what_was_wrong_before_is_told_apart_though_lines_moved(tmp_path: Path) -> None:
    before = {"pyproject.toml": CONFIGURED, "a.py": "import os\n"}
    report = await checked("lint", tmp_path, before, {"a.py": "x = 1\n\nimport os\nimport sys\n"})
    told = {(problem.message.split("`")[1], problem.introduced) for problem in report.problems}
    assert told == {("os", False), ("sys", True)}


async def test_files_that_the_project_excludes_are_left_alone(tmp_path: Path) -> None:
    settings = '[tool.ruff]\nexclude = ["gen"]\n'
    report = await checked("lint", tmp_path, {"pyproject.toml": settings}, {"gen/a.py": "undefined_name\n"})
    assert report.outcome is Outcome.PASSED
    assert report.problems == ()


async def test_a_broken_configuration_is_not_a_pass(tmp_path: Path) -> None:
    settings = '[tool.ruff.lint]\nselect = ["NOSUCH"]\n'
    report = await checked("lint", tmp_path, {"pyproject.toml": settings}, {"a.py": "x = 1\n"})
    assert report.outcome is Outcome.NOT_ASSESSED
    assert "NOSUCH" in report.summary


async def test_layout_is_advice_unless_the_project_asks_for_the_formatter(tmp_path: Path) -> None:
    source = "x = 1\ny = {  'a':1 }\n"
    advice = await checked("format", tmp_path / "1", {}, {"a.py": source})
    assert advice.outcome is Outcome.PASSED
    assert str(advice.problems[0].location) == "a.py:2"
    asked = await checked("format", tmp_path / "2", {"pyproject.toml": CONFIGURED}, {"a.py": source})
    assert asked.outcome is Outcome.FAILED
    assert asked.problems[0].suggestion == "ruff format a.py"


async def test_a_file_that_was_not_laid_out_before_is_no_concern(tmp_path: Path) -> None:
    before = {"pyproject.toml": CONFIGURED, "a.py": "y = {  'a':1 }\n"}
    report = await checked("format", tmp_path, before, {"a.py": "y = {  'a':2 }\n"})
    assert report.problems == ()


async def test_a_project_with_black_is_not_judged_by_another_formatter(tmp_path: Path) -> None:
    settings = CONFIGURED + "[tool.black]\nline-length = 100\n"
    report = await checked("format", tmp_path, {"pyproject.toml": settings}, {"a.py": "y = {  'a':2 }\n"})
    assert report.outcome is Outcome.PASSED


async def test_without_ruff_the_gates_name_what_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ruff, "locate_program", lambda *_: None)
    for gate in ("lint", "format"):
        report = await checked(gate, tmp_path / gate, {}, {"a.py": "x = 1\n"})
        assert report.outcome is Outcome.NOT_ASSESSED
        assert report.install_command == "pip install ruff"
