"""JavaScript's and Go's tests: run by the real Node, and read from what the real Go wrote."""

from pathlib import Path

import pytest
from docs.pages import ROOT
from reference.npm import NODE
from reference.projects import make_project

from quantum_suite.core.errors import CallerError, EngineMissing
from quantum_suite.services.sandbox.opening import best_sandbox
from quantum_suite.services.testing.coverage_profile import read_profile
from quantum_suite.services.testing.go_test import GoAccount, GoTestRunner
from quantum_suite.services.testing.interface import TestRequest, TestRun
from quantum_suite.services.testing.javascript_coverage import from_istanbul, merge_lines
from quantum_suite.services.testing.jest import JestRunner
from quantum_suite.services.testing.node_test import NodeTestRunner
from quantum_suite.services.testing.vitest import VitestRunner

pytestmark = pytest.mark.anyio

CALC = "export function add(a, b) {\n  if (a > 100) {\n    return a;\n  }\n  return a + b;\n}\n"
TESTS = """\
import { test, describe, it } from 'node:test';
import assert from 'node:assert';
import { add } from '../calc.mjs';
test('adds', () => { assert.equal(add(1, 1), 2); });
describe('group', () => {
  it('fails', () => { assert.equal(add(1, 1), 3); });
  it('skips', { skip: 'why' }, () => {});
});
"""


async def node_runner(folder: Path) -> NodeTestRunner:
    return NodeTestRunner((await best_sandbox(folder=folder)).sandbox, NODE)


def outcomes(run: TestRun) -> dict[str, str]:
    return {case.id: case.outcome for case in run.cases}


async def test_node_tests_are_told_one_by_one_with_lines_and_coverage(tmp_path: Path) -> None:
    root = make_project(tmp_path / "p", {"calc.mjs": CALC, "test/a.test.mjs": TESTS})
    runner = await node_runner(tmp_path / "s")
    assert runner.detect(root) == "test/a.test.mjs imports node:test"

    run = await runner.run(TestRequest(root, coverage=True))

    assert outcomes(run) == {
        "test/a.test.mjs > adds": "passed",
        "test/a.test.mjs > group > fails": "failed",
        "test/a.test.mjs > group > skips": "skipped",
    }
    failed = next(case for case in run.cases if case.outcome == "failed")
    assert "2 == 3" in failed.message
    assert (failed.path, failed.line) == ("test/a.test.mjs", 6)
    calc = next(file for file in run.coverage if file.path == "calc.mjs")
    assert calc.missing == {3, 4}
    assert (run.ended, run.passed) == ("finished", False)


async def test_a_node_file_that_ends_or_spins_costs_only_itself(tmp_path: Path) -> None:
    files = {
        "test/a.test.mjs": "import { test } from 'node:test';\ntest('fine', () => {});\n",
        "test/exit.test.mjs": "import { test } from 'node:test';\ntest('exits', () => { process.exit(3); });\n",
        "test/late.test.mjs": "import { test } from 'node:test';\n"
        "test('waits', () => new Promise(() => setTimeout(() => {}, 1e9)));\n",
    }
    run = await (await node_runner(tmp_path / "s")).run(
        TestRequest(make_project(tmp_path / "p", files), case_seconds=1, processes=2)
    )
    found = outcomes(run)
    assert found["test/a.test.mjs > fine"] == "passed"
    assert found["test/late.test.mjs > waits"] == "failed"
    ended = next(case for case in run.cases if case.path == "test/exit.test.mjs")
    assert ended.outcome == "error"
    assert "exit status 3" in ended.message


async def test_node_tests_are_selected_by_id_and_by_file(tmp_path: Path) -> None:
    root = make_project(tmp_path / "p", {"calc.mjs": CALC, "test/a.test.mjs": TESTS})
    runner = await node_runner(tmp_path / "s")
    run = await runner.run(TestRequest(root, select=["test/a.test.mjs > group > skips"]))
    assert outcomes(run) == {"test/a.test.mjs > group > skips": "skipped"}
    with pytest.raises(CallerError, match=r"no test file 'test/none.mjs'"):
        await runner.run(TestRequest(root, select=["test/none.mjs"]))


async def test_frameworks_that_are_not_installed_say_how_to_install_them(tmp_path: Path) -> None:
    sandbox = (await best_sandbox(folder=tmp_path / "s")).sandbox
    package = '{"devDependencies": {"vitest": "3", "jest": "30"}}'
    root = make_project(tmp_path / "p", {"package.json": package, "go.mod": "module m\n", "a_test.go": ""})
    for runner in (VitestRunner(sandbox, NODE), JestRunner(sandbox, NODE)):
        assert runner.detect(root) == "devDependencies in package.json"
        with pytest.raises(EngineMissing, match="npm install"):
            await runner.run(TestRequest(root))
    assert GoTestRunner(sandbox).detect(root) == "go.mod"


def test_what_go_wrote_is_read_test_by_test() -> None:
    account = GoAccount()
    for line in (ROOT / "tests/data/go-test.jsonl").read_bytes().splitlines():
        account.take(line)
    cases = {case.id: case for case in account.every()}
    assert {name: case.outcome for name, case in cases.items()} == {
        "example.org/g1.TestAdd": "passed",
        "example.org/g1.TestFails/one": "passed",
        "example.org/g1.TestFails/two": "failed",
        "example.org/g1.TestFails": "failed",
        "example.org/g1.TestSkips": "skipped",
        "example.org/g1/sub": "error",
    }
    assert "bad two" in cases["example.org/g1.TestFails/two"].message
    assert "undefined: undefined" in cases["example.org/g1/sub"].message


def test_a_go_test_that_was_running_when_its_process_ended_is_named() -> None:
    account = GoAccount()
    account.take(b'{"Action":"run","Package":"m","Test":"TestHangs"}')
    account.take(b'{"Action":"output","Package":"m","Test":"TestHangs","Output":"so far"}')
    account.take(b"not json")
    (case,) = account.every()
    assert (case.id, case.outcome) == ("m.TestHangs", "error")
    assert "so far" in case.message


def test_a_go_profile_tells_lines_of_files_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "calc.go").write_text("package g1\n")
    (file,) = read_profile(ROOT / "tests/data/go-cover.out", tmp_path)
    assert (file.path, file.executed, file.missing) == ("calc.go", {4, 7}, {5, 6})
    assert read_profile(tmp_path / "nothing", tmp_path) == ()


def test_malformed_coverage_of_javascript_is_left_out() -> None:
    good = {"path": "a.mjs", "lines": [[1, 2], [2, 0]], "branches": [[2, 0]]}
    (file,) = merge_lines([[good, {"path": "b.mjs"}, 7], [{**good, "lines": [[2, 1]], "branches": [[2, 1]]}]])
    assert (file.executed, file.missing, file.missing_branches) == ({1, 2}, frozenset(), frozenset())


def test_istanbul_reports_give_lines_and_branches() -> None:
    place = {"start": {"line": 2}}
    report = {
        "/r/a.js": {
            "statementMap": {"0": {"start": {"line": 1}}, "1": place},
            "s": {"0": 1, "1": 0},
            "branchMap": {"0": {"loc": {"start": {"line": 1}}, "locations": [{"start": {"line": 1}}, place]}},
            "b": {"0": [1, 0]},
        },
        "/elsewhere/b.js": {},
    }
    (file,) = from_istanbul(report, "/r")
    assert (file.path, file.executed, file.missing, file.missing_branches) == ("a.js", {1}, {2}, {(1, 2)})
