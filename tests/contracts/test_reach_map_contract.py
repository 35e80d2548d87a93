"""What a map of reach promises: nothing that a change concerns is ever left out, wherever the map is kept."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from reference.projects import calculator

from quantum_suite.core.verdicts import Isolation
from quantum_suite.services.testing.interface import CaseOutcome, FileCoverage, TestCase, TestRun
from quantum_suite.services.testing.reach_map import MemoryReachMap, SqliteReachMap

pytestmark = pytest.mark.anyio

ADD, TWICE = "tests/test_calc.py::test_add", "tests/test_calc.py::test_twice"


@pytest.fixture(params=["memory", "sqlite"])
def reach(request: pytest.FixtureRequest, tmp_path: Path) -> MemoryReachMap:
    return MemoryReachMap() if request.param == "memory" else SqliteReachMap(tmp_path / "map")


def ran(
    outcomes: Mapping[str, CaseOutcome], reached: Mapping[str, Mapping[int, set[str]]], **more: object
) -> TestRun:
    coverage = tuple(
        FileCoverage(
            path,
            executed=frozenset(lines),
            missing=frozenset(),
            contexts={line: frozenset(tests) for line, tests in lines.items()},
        )
        for path, lines in reached.items()
    )
    cases = tuple(TestCase(test, outcome) for test, outcome in outcomes.items())
    return TestRun("pytest", "9", cases, "finished", Isolation.RLIMITS, 0.1, "", coverage, **more)  # type: ignore[arg-type] # any field


REACHED = {
    "calc.py": {1: {""}, 7: {""}, 11: {""}, 2: {ADD, TWICE}, 4: {ADD, TWICE}, 8: {TWICE}},
    "tests/test_calc.py": {1: {""}, 4: {""}, 5: {ADD}, 8: {""}, 9: {TWICE}},
}
PASSED: dict[str, CaseOutcome] = {ADD: "passed", TWICE: "passed"}


async def known(reach: MemoryReachMap, root: Path, **more: object) -> Path:
    await reach.update(root, ran(PASSED, REACHED, **more))
    return root


async def chosen(reach: MemoryReachMap, root: Path) -> set[str]:
    affected = await reach.affected(root, await reach.changed_since(root))
    assert not affected.everything, affected.explanation
    assert set(affected.reasons) == set(affected.tests)
    return set(affected.tests)


def edit(root: Path, path: str, old: str, new: str) -> None:
    file = root / path
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))


async def test_before_the_first_run_everything_is_concerned(reach: MemoryReachMap, tmp_path: Path) -> None:
    root = calculator(tmp_path / "p")
    affected = await reach.affected(root, {"calc.py": None})
    assert affected.everything
    assert "Nothing is known" in affected.explanation


async def test_nothing_changed_concerns_nobody_and_a_comment_is_nothing(
    reach: MemoryReachMap, tmp_path: Path
) -> None:
    root = await known(reach, calculator(tmp_path / "p"))
    assert await chosen(reach, root) == set()
    edit(root, "calc.py", "    return a + b\n", "    # a comment\n\n    return (a + b)\n")
    assert await chosen(reach, root) == set()


@pytest.mark.parametrize(
    ("old", "new", "concerned"),
    [
        ("    return add(a, a)", "    return add(a, a) + 0", {TWICE}),
        ("    return a + b", "    return b + a", {ADD, TWICE}),
        ("    return [x]", "    return [x, x]", set()),
        ("def twice(a):", "def twice(a=1):", {TWICE}),
        ("def lonely(x):", "def lonely(x, y=None):", set()),
        ("def lonely(x):\n    return [x]\n", "", {ADD, TWICE}),
        ("def lonely", "LIMIT = 3\n\n\ndef lonely", set()),
        ("def lonely", "LIMIT = int('3')\n\n\ndef lonely", {ADD, TWICE}),
        ("def lonely", "if True:\n    LIMIT = 3\n\n\ndef lonely", {ADD, TWICE}),
        ("def lonely", "import not_there\n\n\ndef lonely", {ADD, TWICE}),
        ("def lonely", "def lonely(:", {ADD, TWICE}),
    ],
)
async def test_an_edit_concerns_those_who_could_notice(
    reach: MemoryReachMap, tmp_path: Path, old: str, new: str, concerned: set[str]
) -> None:
    root = calculator(tmp_path / "p")
    if "lonely(x):\n" in old:
        # Somebody names what goes.
        edit(root, "tests/test_calc.py", "import calc\n", "import calc\nfrom calc import lonely\n")
    await known(reach, root)
    edit(root, "calc.py", old, new)
    assert await chosen(reach, root) >= concerned
    if not concerned:
        assert await chosen(reach, root) == set()


async def test_what_ran_at_import_concerns_every_test_that_imports_it(
    reach: MemoryReachMap, tmp_path: Path
) -> None:
    root = calculator(tmp_path / "p")
    (root / "tests" / "test_other.py").write_text("def test_alone():\n    pass\n")
    other = "tests/test_other.py::test_alone"
    at_import = {**REACHED, "calc.py": {**REACHED["calc.py"], 12: {""}}, "tests/test_other.py": {2: {other}}}
    await reach.update(root, ran({**PASSED, other: "passed"}, at_import))
    edit(root, "calc.py", "return [x]", "return [x, x]")
    assert await chosen(reach, root) == {ADD, TWICE}


async def test_names_are_followed_through_other_files(reach: MemoryReachMap, tmp_path: Path) -> None:
    root = calculator(
        tmp_path / "p",
        **{
            "base.py": "class Base:\n    def size(self):\n        return 1\n",
            "made.py": "from base import Base\n\n\nclass Made(Base):\n    pass\n\n\n"
            "def make():\n    return Made()\n",
            "tests/test_made.py": "import made\n\n\ndef test_made():\n    assert made.make()\n",
        },
    )
    made = "tests/test_made.py::test_made"
    reached = {**REACHED, "made.py": {1: {""}, 4: {""}, 9: {made}}, "tests/test_made.py": {5: {made}}}
    await reach.update(root, ran({**PASSED, made: "passed"}, reached))
    # Its own lines are not touched; what it makes has become false.
    edit(root, "base.py", "    def size", "    def __bool__(self):\n        return False\n\n    def size")
    assert await chosen(reach, root) == {made}


async def test_new_changed_and_removed_tests_are_known_by_name(reach: MemoryReachMap, tmp_path: Path) -> None:
    root = await known(reach, calculator(tmp_path / "p"))
    edit(
        root,
        "tests/test_calc.py",
        "def test_twice():\n    assert calc.twice(2) == 4\n",
        "def test_new():\n    pass\n",
    )
    assert TWICE not in await chosen(reach, root)
    assert "tests/test_calc.py::test_new" in await chosen(reach, root)
    (root / "tests" / "test_fresh.py").write_text("def test_fresh():\n    pass\n")
    assert "tests/test_fresh.py" in await chosen(reach, root)
    (root / "tests" / "test_calc.py").unlink()
    assert await chosen(reach, root) == {"tests/test_fresh.py"}


async def test_a_moved_file_and_a_removed_one_concern_their_importers(
    reach: MemoryReachMap, tmp_path: Path
) -> None:
    root = await known(reach, calculator(tmp_path / "p"))
    (root / "calc.py").rename(root / "sums.py")
    assert await chosen(reach, root) == {ADD, TWICE}


async def test_files_that_tests_open_concern_those_tests_and_texts_nobody_reads_none(
    reach: MemoryReachMap, tmp_path: Path
) -> None:
    root = calculator(tmp_path / "p", **{"data.csv": "1", "README.md": "text", "rates.csv": "2"})
    await known(reach, root, opened={"data.csv": frozenset({ADD}), "rates.csv": frozenset({""})})
    (root / "README.md").write_text("other text")
    assert await chosen(reach, root) == set()
    (root / "data.csv").write_text("2")
    assert await chosen(reach, root) == {ADD}
    (root / "rates.csv").write_text("3")
    affected = await reach.affected(root, await reach.changed_since(root))
    assert affected.everything
    assert "rates.csv" in affected.explanation


@pytest.mark.parametrize("path", ["pyproject.toml", "setup.py", "calc.so", "conftest.py"])
async def test_settings_and_compiled_code_concern_everything(
    reach: MemoryReachMap, tmp_path: Path, path: str
) -> None:
    root = await known(reach, calculator(tmp_path / "p"))
    (root / path).write_text("x = 1\n")
    affected = await reach.affected(root, await reach.changed_since(root))
    assert {ADD, TWICE} <= set(affected.tests)
    assert path in str(affected.reasons)


async def test_a_test_that_starts_processes_is_concerned_by_any_code(
    reach: MemoryReachMap, tmp_path: Path
) -> None:
    root = await known(reach, calculator(tmp_path / "p"), far=frozenset({ADD}))
    edit(root, "calc.py", "return [x]", "return [x, x]")
    assert await chosen(reach, root) == {ADD}


async def test_failing_tests_and_tests_left_out_of_a_run_stay_due(reach: MemoryReachMap, tmp_path: Path) -> None:
    root = calculator(tmp_path / "p")
    await reach.update(root, ran({ADD: "failed", TWICE: "passed"}, REACHED))
    assert await chosen(reach, root) == {ADD}
    edit(root, "calc.py", "return add(a, a)", "return add(a, a) + 0")
    # The run takes the edited file in, but not the test that it concerns.
    await reach.update(root, ran({ADD: "passed"}, {"calc.py": {2: {ADD}, 4: {ADD}}}))
    assert await chosen(reach, root) == {TWICE}
    await reach.update(root, ran({TWICE: "passed"}, {"calc.py": {2: {TWICE}, 4: {TWICE}, 8: {TWICE}}}))
    assert await chosen(reach, root) == set()


async def test_lines_move_with_their_functions(reach: MemoryReachMap, tmp_path: Path) -> None:
    root = await known(reach, calculator(tmp_path / "p"))
    edit(root, "calc.py", "def add", "# one\n# two\n\ndef add")
    await reach.update(root, ran({ADD: "passed"}, {"calc.py": {5: {ADD}, 7: {ADD}}}))
    lines = await reach.tests_reaching(root, "calc.py")
    assert lines[11] == {TWICE}
    assert lines[7] == {ADD, TWICE}
    assert await reach.tests_reaching(root, "nothing.py") == {}


async def test_lines_that_are_going_to_be_edited_concern_those_who_reach_their_function(
    reach: MemoryReachMap, tmp_path: Path
) -> None:
    root = await known(reach, calculator(tmp_path / "p"))
    assert (await reach.affected(root, {"calc.py": frozenset({8})})).tests == (TWICE,)
    assert set((await reach.affected(root, {"calc.py": frozenset({3})})).tests) == {ADD, TWICE}
    assert (await reach.affected(root, {"calc.py": frozenset({12})})).tests == ()
    assert set((await reach.affected(root, {"calc.py": frozenset({7})})).tests) == {ADD, TWICE}
    assert await reach.known_tests(root) == PASSED


async def test_a_copy_stands_for_the_workspace(reach: MemoryReachMap, tmp_path: Path) -> None:
    root, copy = calculator(tmp_path / "p"), calculator(tmp_path / "copy")
    await reach.update(root, ran(PASSED, REACHED), copy)
    edit(copy, "calc.py", "return add(a, a)", "return add(a, a) + 0")
    changed = await reach.changed_since(root, copy)
    assert set((await reach.affected(root, changed, copy)).tests) == {TWICE}
    assert await chosen(reach, root) == set()
