"""What may be called without pytest, and that calling it says what pytest would say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROBE = """\
import json
import pytest
from quantum_suite.services.mutation.driver.direct import DirectCalls


class Probe:
    def pytest_runtestloop(self, session):
        direct = DirectCalls(session)
        calls = {item.name: direct.call(index) for index, item in enumerate(session.items)}
        print("SAID" + json.dumps({name: None if call is None else call() for name, call in calls.items()}))
        return True


pytest.main(["-q", "-s", "-p", "no:cacheprovider"], plugins=[Probe()])
"""

CALLED = """\
import logging
import unittest
import warnings

import pytest


def test_passes():
    assert True


def test_fails():
    assert [1, 2] == [1, 3]


def test_leaves():
    raise SystemExit(0)


def test_skips_itself():
    pytest.skip("not here")


def test_logs_what_cannot_be_formatted():
    logging.getLogger("x").warning("%d", "one")


def test_sees_a_warning_each_time():
    with warnings.catch_warnings(record=True) as seen:
        warnings.warn("old", DeprecationWarning)
    assert len(seen) == 1


@pytest.mark.parametrize("n", [1, 2])
def test_with(n):
    assert n == 1


class TestPlain:
    seen = None

    def test_one(self):
        self.seen = 1

    def test_two(self):
        assert self.seen is None


class Case(unittest.TestCase):
    def setUp(self):
        self.ready = True

    def test_case_passes(self):
        self.assertTrue(self.ready)

    def test_case_fails(self):
        self.assertTrue(False)

    def test_case_fails_in_a_part(self):
        with self.subTest("part"):
            self.assertTrue(False)

    @unittest.expectedFailure
    def test_case_fails_as_expected(self):
        self.assertTrue(False)

    @unittest.expectedFailure
    def test_case_passes_unexpectedly(self):
        pass

    @unittest.skip("never")
    def test_case_skipped(self):
        self.assertTrue(False)
"""

LEFT_TO_PYTEST = """\
import unittest

import pytest


@pytest.fixture
def given():
    return 1


def test_fixture(given):
    pass


@pytest.mark.parametrize("given", [2], indirect=True)
def test_indirect(given):
    pass


@pytest.mark.xfail
def test_marked():
    assert False


def test_temporary(tmp_path):
    pass


async def test_coroutine():
    pass


class TestMade:
    def setup_method(self):
        pass

    def test_made(self):
        pass


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.ready = True

    def test_class(self):
        self.assertTrue(self.ready)
"""


def said(folder: Path, **files: str) -> dict[str, bool | None]:
    for name, text in files.items():
        (folder / name.replace("_dot_", ".")).write_text(text)
    (folder / "probe.py").write_text(PROBE)
    done = subprocess.run(
        [sys.executable, "-B", "probe.py"], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    (line,) = [line for line in done.stdout.splitlines() if "SAID" in line]
    answers: dict[str, bool | None] = json.loads(line.partition("SAID")[2])
    return answers


def test_a_direct_call_says_what_pytest_would_say(tmp_path: Path) -> None:
    assert said(tmp_path, test_x_dot_py=CALLED) == {
        "test_passes": False,
        "test_fails": True,
        "test_leaves": True,
        "test_skips_itself": False,
        "test_logs_what_cannot_be_formatted": True,
        "test_sees_a_warning_each_time": False,
        "test_with[1]": False,
        "test_with[2]": True,
        "test_one": False,
        "test_two": False,
        "test_case_passes": False,
        "test_case_fails": True,
        "test_case_fails_in_a_part": True,
        "test_case_fails_as_expected": False,
        "test_case_passes_unexpectedly": True,
        "test_case_skipped": False,
    }


def test_what_needs_pytest_is_left_to_pytest(tmp_path: Path) -> None:
    assert set(said(tmp_path, test_x_dot_py=LEFT_TO_PYTEST).values()) == {None}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pytest_dot_ini", "[pytest]\nfilterwarnings = error\n"),
        ("conftest_dot_py", "def pytest_runtest_setup(item):\n    pass\n"),
        (
            "conftest_dot_py",
            "import pytest\n\n\n@pytest.fixture(autouse=True)\ndef always():\n    pass\n",
        ),
    ],
)
def test_a_project_that_has_a_say_in_how_tests_run_keeps_it(tmp_path: Path, name: str, text: str) -> None:
    answers = said(tmp_path, **{name: text, "test_x_dot_py": "def test_passes():\n    pass\n"})
    assert answers == {"test_passes": None}
