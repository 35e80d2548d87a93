"""Vitest and Jest, as npm brings them, on small projects."""

from collections.abc import Callable
from pathlib import Path

import pytest
from reference.npm import JAVASCRIPT_TOOLS, NODE, add_packages
from reference.projects import make_project

from quantum_suite.services.sandbox.interface import Sandbox
from quantum_suite.services.sandbox.opening import best_sandbox
from quantum_suite.services.testing.interface import TestRequest, TestRun
from quantum_suite.services.testing.jest import JestRunner
from quantum_suite.services.testing.jest_like import JestLikeRunner
from quantum_suite.services.testing.vitest import VitestRunner

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(400)]

CALC = "function add(a, b) {\n  if (a > 100) {\n    return a;\n  }\n  return a + b;\n}\n"
TESTS = """\
test('adds', () => { expect(add(1, 1)).toBe(2); });
describe('group', () => {
  it('fails', () => { expect(add(1, 1)).toBe(3); });
  it.skip('skips', () => {});
});
"""
PROJECTS = {
    "vitest": {
        "package.json": '{"type": "module", "devDependencies": {"vitest": "3"}}',
        "calc.js": f"export {CALC}",
        "calc.test.js": "import { describe, expect, it, test } from 'vitest';\nimport { add } from './calc.js';\n"
        + TESTS,
        "other.test.js": "import { test } from 'vitest';\ntest('is fine', () => {});\n",
    },
    "jest": {
        "package.json": '{"devDependencies": {"jest": "30"}}',
        "calc.js": f"{CALC}module.exports = {{ add }};\n",
        "calc.test.js": "\nconst { add } = require('./calc.js');\n" + TESTS,
        "other.test.js": "test('is fine', () => {});\n",
    },
}
RUNNERS: dict[str, Callable[[Sandbox, Path], JestLikeRunner]] = {"vitest": VitestRunner, "jest": JestRunner}


@pytest.fixture(params=RUNNERS)
async def tested(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[JestLikeRunner, Path]:
    """A framework and a project that has it installed."""
    root = make_project(tmp_path / "p", PROJECTS[request.param])
    add_packages(root, JAVASCRIPT_TOOLS)
    sandbox = (await best_sandbox(folder=tmp_path / "s")).sandbox
    return RUNNERS[request.param](sandbox, NODE), root


def outcomes(run: TestRun) -> dict[str, str]:
    return {case.id: case.outcome for case in run.cases}


async def test_every_test_is_told_with_its_place_and_the_lines_it_leaves(
    tested: tuple[JestLikeRunner, Path],
) -> None:
    runner, root = tested
    run = await runner.run(TestRequest(root, coverage=True, order_seed=7))
    assert outcomes(run) == {
        "calc.test.js > adds": "passed",
        "calc.test.js > group > fails": "failed",
        "calc.test.js > group > skips": "skipped",
        "other.test.js > is fine": "passed",
    }, run.output_tail
    failed = next(case for case in run.cases if case.outcome == "failed")
    assert (failed.path, failed.line) == ("calc.test.js", 5)
    assert "3" in failed.message
    assert run.coverage_problem is None
    calc = next(file for file in run.coverage if file.path == "calc.js")
    assert 3 in calc.missing
    assert 5 in calc.executed
    assert (run.ended, run.passed) == ("finished", False)


async def test_tests_are_selected_by_id(tested: tuple[JestLikeRunner, Path]) -> None:
    runner, root = tested
    run = await runner.run(TestRequest(root, select=["calc.test.js > adds"]))
    assert outcomes(run) == {"calc.test.js > adds": "passed"}
    assert run.passed


async def test_a_file_that_cannot_be_read_is_an_error_of_its_own(tested: tuple[JestLikeRunner, Path]) -> None:
    runner, root = tested
    (root / "broken.test.js").write_text("test('never closed', () => {\n")
    run = await runner.run(TestRequest(root))
    assert outcomes(run)["broken.test.js"] == "error"
    assert outcomes(run)["other.test.js > is fine"] == "passed"
    assert run.ended == "collection_error"
