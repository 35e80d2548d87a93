"""What running Python's tests promises, whichever framework, on tests that mean harm too."""

import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from reference.projects import make_project

from quantum_suite.core.errors import CallerError, EngineMissing
from quantum_suite.services.sandbox.interface import Limits
from quantum_suite.services.sandbox.opening import best_sandbox
from quantum_suite.services.testing.interface import Runner, TestRequest, TestRun
from quantum_suite.services.testing.pytest import PytestRunner
from quantum_suite.services.testing.unittest import UnittestRunner

pytestmark = pytest.mark.anyio
MEBIBYTE = 1024 * 1024


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder).resolve()


@pytest.fixture(params=["pytest", "unittest"])
async def runner(request: pytest.FixtureRequest, place: Path) -> Runner:
    sandbox = (await best_sandbox(folder=place / "sandbox")).sandbox
    kind = PytestRunner if request.param == "pytest" else UnittestRunner
    return kind(sandbox, place / "work")


def project(place: Path, body: str, **files: str) -> Path:
    text = f"import unittest\nimport os\nimport calc\n\n\nclass Case(unittest.TestCase):\n{body}"
    calc = "def add(a, b):\n    if a > 100:\n        return a\n    return a + b\n"
    return make_project(place / "project", {"calc.py": calc, "tests/test_it.py": text, **files})


def outcomes(run: TestRun) -> dict[str, str]:
    return {case.id.split("::", 1)[-1]: case.outcome for case in run.cases}


ORDINARY = """\
    def test_passes(self):
        self.assertEqual(calc.add(1, 1), 2)

    def test_fails(self):
        self.assertEqual(calc.add(1, 1), 3, "key sk-abcdefghijklmnopqrstuvwxyz")

    def test_errs(self):
        with self.subTest(n=1):
            raise ValueError("inside")

    @unittest.skip("not today")
    def test_skips(self):
        pass

    @unittest.expectedFailure
    def test_known(self):
        self.fail("as known")
"""


async def test_every_outcome_is_told_with_its_reason_and_its_place(runner: Runner, place: Path) -> None:
    told: list[tuple[int, int]] = []

    async def progress(done: int, total: int, message: str) -> None:
        told.append((done, total))

    run = await runner.run(TestRequest(project(place, ORDINARY)), progress)

    assert outcomes(run) == {
        "Case::test_passes": "passed",
        "Case::test_fails": "failed",
        "Case::test_errs": "failed",
        "Case::test_skips": "skipped",
        "Case::test_known": "xfailed",
    }
    failed = next(case for case in run.cases if case.outcome == "failed" and "fails" in case.id)
    assert failed.id == "tests/test_it.py::Case::test_fails"
    assert (failed.path, failed.line) == ("tests/test_it.py", 10)
    assert "2 != 3" in failed.message
    assert "sk-abc" not in failed.message
    assert told[-1] == (5, 5)
    assert (run.ended, run.passed) == ("finished", False)
    suite = ElementTree.fromstring(run.junit_xml)
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("5", "2", "2")


async def test_a_test_that_ends_its_process_costs_only_itself(runner: Runner, place: Path) -> None:
    body = """\
    def test_a(self):
        calc.add(1, 1)

    def test_exits(self):
        os._exit(0)

    def test_faults(self):
        os.kill(os.getpid(), 11)

    def test_z(self):
        calc.add(200, 1)
"""
    run = await runner.run(TestRequest(project(place, body), contexts=True))

    assert outcomes(run) == {
        "Case::test_a": "passed",
        "Case::test_exits": "error",
        "Case::test_faults": "error",
        "Case::test_z": "passed",
    }
    assert run.ended == "finished"
    assert "SIGSEGV" in next(case.message for case in run.cases if "faults" in case.id)
    # What the others reached is known, though two processes took theirs with them.
    calc = next(file for file in run.coverage if file.path == "calc.py")
    assert calc.executed == {1, 2, 3, 4}
    assert calc.contexts[3] == {"tests/test_it.py::Case::test_z"}


async def test_a_test_that_never_ends_is_named_with_where_it_stood(runner: Runner, place: Path) -> None:
    body = """\
    def test_hangs(self):
        while True:
            spins = 1

    def test_other(self):
        pass
"""
    run = await runner.run(TestRequest(project(place, body), case_seconds=1))

    assert outcomes(run) == {"Case::test_hangs": "error", "Case::test_other": "passed"}
    message = next(case.message for case in run.cases if "hangs" in case.id)
    assert "took longer than 1 seconds" in message
    assert "test_hangs" in message.split("It stood at:")[1]


async def test_when_the_time_for_all_is_over_the_running_test_is_named_and_the_rest_was_not_run(
    runner: Runner, place: Path
) -> None:
    body = """\
    def test_a(self):
        pass

    def test_b_hangs(self):
        import time
        time.sleep(1000)

    def test_c(self):
        pass
"""
    run = await runner.run(TestRequest(project(place, body), limits=Limits(seconds=15)))

    assert outcomes(run) == {"Case::test_a": "passed", "Case::test_b_hangs": "error", "Case::test_c": "not_run"}
    assert (run.ended, run.passed) == ("timeout", False)


async def test_tests_that_fork_flood_and_delete_are_contained(runner: Runner, place: Path) -> None:
    body = """\
    def test_a_forks(self):
        if os.fork() == 0:
            return

    def test_b_floods(self):
        for _ in range(1000):
            os.write(2, b"x" * 100_000)

    def test_c_fills(self):
        with open("huge", "wb") as file:
            for _ in range(1000):
                file.write(b"x" * 1_000_000)

    def test_z_deletes(self):
        import shutil
        shutil.rmtree(os.getcwd(), ignore_errors=True)
"""
    limits = Limits(seconds=60, file_bytes=20 * MEBIBYTE, output_bytes=100_000)
    run = await runner.run(TestRequest(project(place, body), limits=limits))

    found = outcomes(run)
    assert set(found) == {f"Case::test_{name}" for name in ("a_forks", "b_floods", "c_fills", "z_deletes")}
    # Told once, though the test came back twice.
    assert [case.id for case in run.cases].count("tests/test_it.py::Case::test_a_forks") == 1
    assert found["Case::test_a_forks"] == "passed"
    # Who came back deletes the folder too: where that is before this test, pytest itself ends.
    assert found["Case::test_c_fills"] in ("failed", "error", "not_run")
    assert not run.passed
    assert (place / "work").exists()
    assert not list((place / "work").iterdir())


async def test_a_file_that_cannot_be_collected_is_told_and_the_others_run(runner: Runner, place: Path) -> None:
    root = project(
        place, "    def test_a(self):\n        pass\n", **{"tests/test_broken.py": "import nowhere_to_be\n"}
    )
    run = await runner.run(TestRequest(root))

    assert run.ended == "collection_error"
    broken = next(case for case in run.cases if case.outcome == "error")
    assert broken.id == "tests/test_broken.py"
    assert "nowhere_to_be" in broken.message
    assert outcomes(run)["Case::test_a"] == "passed"


async def test_a_seed_gives_an_order_and_shards_run_every_test_once(runner: Runner, place: Path) -> None:
    body = "".join(f"    def test_{n}(self):\n        pass\n\n" for n in range(8))
    root = project(place, body)
    (root / "tests" / "test_more.py").write_text((root / "tests" / "test_it.py").read_text())
    first = await runner.run(TestRequest(root, order_seed=7))
    again = await runner.run(TestRequest(root, order_seed=7))
    other = await runner.run(TestRequest(root, order_seed=8, processes=2))

    order = [case.id for case in first.cases]
    assert order == [case.id for case in again.cases]
    assert order != sorted(order)
    assert sorted(order) == sorted(case.id for case in other.cases)
    assert other.passed


async def test_tests_are_selected_by_file_and_by_id_and_missing_ones_are_refused(
    runner: Runner, place: Path
) -> None:
    root = project(place, ORDINARY)
    one = await runner.run(TestRequest(root, select=["tests/test_it.py::Case::test_passes"]))
    assert outcomes(one) == {"Case::test_passes": "passed"}
    with pytest.raises(CallerError, match="test_absent") as caught:
        await runner.run(TestRequest(root, select=["tests/test_it.py::Case::test_absent"]))
    assert caught.value.argument == "select"
    lenient = await runner.run(TestRequest(root, select=["tests/test_it.py::Case::test_absent"], missing_ok=True))
    assert (lenient.ended, lenient.cases) == ("no_tests", ())
    left = await runner.run(TestRequest(root, skip=["tests/test_it.py::Case::test_fails"]))
    assert "Case::test_fails" not in outcomes(left)


async def test_the_first_failure_ends_the_run_where_that_is_asked_for(runner: Runner, place: Path) -> None:
    body = "".join(f"    def test_{n}(self):\n        self.fail()\n\n" for n in range(3))
    run = await runner.run(TestRequest(project(place, body), stop_at_first_failure=True))
    assert sorted(outcomes(run).values()) == ["failed", "not_run", "not_run"]


async def test_coverage_tells_lines_branches_and_which_test_reached_what(runner: Runner, place: Path) -> None:
    body = """\
    @classmethod
    def setUpClass(cls):
        cls.big = calc.add(200, 1)

    def test_one(self):
        self.assertEqual(self.big, 200)

    def test_two(self):
        self.assertEqual(calc.add(1, 1), 2)
"""
    run = await runner.run(TestRequest(project(place, body), contexts=True))

    calc = next(file for file in run.coverage if file.path == "calc.py")
    both = {"tests/test_it.py::Case::test_one", "tests/test_it.py::Case::test_two"}
    assert calc.contexts[1] == {""}
    assert calc.contexts[3] == both  # Set up once, for both.
    assert calc.contexts[4] == {"tests/test_it.py::Case::test_two"}
    assert (calc.missing, calc.missing_branches, calc.branches) == (frozenset(), frozenset(), 2)


async def test_an_interpreter_without_the_framework_is_told_with_what_installs_it(place: Path) -> None:
    sandbox = (await best_sandbox(folder=place / "sandbox")).sandbox
    bare = Path("/usr/bin/python3")
    if not bare.exists():
        pytest.fail("this test stands on the system's own Python, which has no pytest")
    root = project(place, ORDINARY)
    with pytest.raises(EngineMissing, match="pip install pytest"):
        await PytestRunner(sandbox).run(TestRequest(root, python=bare))
    with pytest.raises(CallerError, match="There is no interpreter"):
        await PytestRunner(sandbox).run(TestRequest(root, python=place / "nowhere"))
    venv.create(place / "env", symlinks=True)
    (root / ".venv").symlink_to(place / "env")
    with pytest.raises(EngineMissing) as missing:
        await PytestRunner(sandbox).run(TestRequest(root))
    # The folder may be a copy that is gone by the time somebody reads this.
    assert missing.value.command == f"{place.resolve()}/env/bin/python -m pip install pytest"
