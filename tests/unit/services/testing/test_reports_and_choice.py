"""Reports other tools read, the runner a project is taken to use, flaky tests, and who may read what."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from reference.npm import NODE
from reference.projects import calculator, make_project

from quantum_suite.core.errors import CallerError, NotFound
from quantum_suite.core.principals import LOCAL, Principal
from quantum_suite.core.verdicts import Isolation
from quantum_suite.services.sandbox.rlimits import RlimitSandbox
from quantum_suite.services.testing.coverage_reports import cobertura, html_page, lcov, totals
from quantum_suite.services.testing.flaky_tests import find_flaky
from quantum_suite.services.testing.interface import CaseOutcome, FileCoverage, TestCase, TestRun
from quantum_suite.services.testing.junit_xml import junit_xml
from quantum_suite.services.testing.report_store import KEEP_RUNS, ReportStore
from quantum_suite.services.testing.runners import all_runners, choose_runner

ALICE, BOB = Principal("key:alice"), Principal("key:bob")
CALC = FileCoverage("calc.py", frozenset({1, 2, 4}), frozenset({3}), frozenset({(2, 3), (9, -8)}), 4)


def run_of(**outcomes: CaseOutcome) -> TestRun:
    cases = tuple(TestCase(f"t::{name}", outcome, message=outcome) for name, outcome in outcomes.items())
    return TestRun("pytest", "9", cases, "finished", Isolation.RLIMITS, 0.1, "")


def test_cobertura_and_lcov_say_what_was_reached() -> None:
    top = ElementTree.fromstring(cobertura([CALC], "/r"))
    assert (top.get("lines-valid"), top.get("lines-covered"), top.get("branch-rate")) == ("4", "3", "0.5000")
    lines = {line.get("number"): line for line in top.iter("line")}
    assert (lines["3"].get("hits"), lines["2"].get("missing-branches")) == ("0", "3")
    trace = lcov([CALC]).splitlines()
    assert {"SF:calc.py", "DA:3,0", "DA:1,1", "BRF:4", "BRH:2", "LF:4", "LH:3", "end_of_record"} <= set(trace)
    assert (totals([]).line_rate, totals([]).branch_rate) == (1.0, 1.0)


def test_the_page_marks_lines_and_escapes_the_code(tmp_path: Path) -> None:
    (tmp_path / "calc.py").write_text("a = '<script>'\nif a:\n    b = 1\nc = 2\n")
    page = html_page([CALC, FileCoverage("gone.py", frozenset({1}), frozenset())], tmp_path)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert '<tr class="m"><td class="n">3</td>' in page
    assert '<tr class="b"><td class="n">2</td>' in page
    assert "not there any more" in page


def test_junit_holds_any_text() -> None:
    xml = junit_xml("pytest", [TestCase("a.py::T::t", "failed", 1.5, "bad \x00\ud800 <&> \x1b[31m", "a.py", 3)], 2)
    case = next(ElementTree.fromstring(xml).iter("testcase"))
    assert (case.get("classname"), case.get("name"), case.get("line")) == ("a.py::T", "t", "3")
    assert "<&>" in (case[0].text or "")


def test_flaky_tests_are_those_that_differ_with_seeds_that_show_it() -> None:
    runs = [run_of(a="passed", b="passed", c="failed"), run_of(a="failed", b="passed", c="failed")]
    (flaky,) = find_flaky(runs, [4, 5])
    assert (flaky.id, flaky.outcomes, flaky.passing_seed, flaky.failing_seed) == (
        "t::a",
        ("passed", "failed"),
        4,
        5,
    )
    assert find_flaky([run_of(a="not_run"), run_of(a="passed")], [1, 2]) == ()


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"tests/test_a.py": "def test(): pass"}, "pytest"),
        ({"tests/test_a.py": "import unittest"}, "unittest"),
        ({"tests/test_a.py": "import unittest", "conftest.py": ""}, "pytest"),
        ({"tests/test_a.py": "import unittest", "pyproject.toml": "[tool.pytest.ini_options]"}, "pytest"),
        ({"tests/deep/test_a.py": "x = 1"}, "pytest"),
        ({"package.json": '{"devDependencies": {"vitest": "1"}}'}, "vitest"),
        ({"package.json": '{"scripts": {"test": "jest --ci"}}'}, "jest"),
        ({"package.json": '{"scripts": {"test": "node --test"}}'}, "node"),
        ({"go.mod": "module m", "a_test.go": ""}, "go"),
    ],
)
def test_the_runner_is_told_by_the_projects_files(tmp_path: Path, files: dict[str, str], name: str) -> None:
    runners = all_runners(RlimitSandbox(), node=NODE)
    chosen = choose_runner(runners, make_project(tmp_path, files))
    assert chosen.runner.name == name
    assert chosen.reason


def test_an_unknown_runner_and_a_project_without_tests_are_refused(tmp_path: Path) -> None:
    runners = all_runners(RlimitSandbox())
    with pytest.raises(CallerError, match="no runner 'nose'"):
        choose_runner(runners, tmp_path, "nose")
    with pytest.raises(CallerError, match="No tests were recognised") as told:
        choose_runner(runners, make_project(tmp_path, {"a.py": "", "pyproject.toml": "not toml ["}))
    assert str(tmp_path) not in str(told.value)
    assert choose_runner(runners, calculator(tmp_path), "unittest").runner.name == "unittest"


@pytest.mark.anyio
async def test_runs_are_their_owners_and_the_oldest_go_first(tmp_path: Path) -> None:
    store = ReportStore(tmp_path)
    first = await store.save(ALICE, "tests", tmp_path, {"passed": True}, {"junit": b"<x/>"})
    assert await store.report(first.id, "junit", ALICE) == b"<x/>"
    assert await store.report(first.id, "junit", LOCAL) == b"<x/>"
    for reader, run, view in (
        (BOB, first.id, "junit"),
        (ALICE, "../secrets", "junit"),
        (ALICE, first.id, "run.json"),
    ):
        with pytest.raises(NotFound):
            await store.report(run, view, reader)
    for _ in range(KEEP_RUNS):
        last = await store.save(ALICE, "tests", tmp_path, {}, {})
    with pytest.raises(NotFound):
        await store.get(first.id, ALICE)
    assert [record.id for record in await store.latest(ALICE, 1)] == [last.id]
    assert await store.latest(BOB) == []
