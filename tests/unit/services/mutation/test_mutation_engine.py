"""The engine on small real projects, in a real sandbox."""

import contextlib
import os
import signal
import sys
import venv
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import anyio
import psutil
import pytest

from quantum_suite.core.errors import CallerError, EngineError, EngineMissing
from quantum_suite.services.mutation.engine import FOLDER_PREFIX, PythonMutationEngine
from quantum_suite.services.mutation.interface import MutantResult, MutantVerdict, MutationReport, MutationRequest
from quantum_suite.services.sandbox.interface import Limits
from quantum_suite.services.sandbox.opening import best_sandbox

pytestmark = pytest.mark.anyio
LIMITS = Limits(seconds=600.0)


def project(tmp_path: Path, files: Mapping[str, str]) -> Path:
    root = tmp_path / "project"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root.resolve()


async def engine(tmp_path: Path) -> PythonMutationEngine:
    folder = tmp_path / "work"
    folder.mkdir(exist_ok=True)
    return PythonMutationEngine((await best_sandbox(folder=folder)).sandbox, folder)


def of(report: MutationReport, original: str, replacement: str) -> MutantResult:
    found = [r for r in report.results if (r.mutant.original, r.mutant.replacement) == (original, replacement)]
    assert len(found) == 1, [(r.mutant.original, r.mutant.replacement) for r in report.results]
    return found[0]


KINDS = {
    "prices.py": """\
RATE = 2


def fee(n=3):
    return n


def price(count):
    if count > 10:
        return count
    total = 0
    while count > 0:
        total += RATE
        count -= 1
    return total


def unreached():
    return 4
""",
    "test_prices.py": """\
import prices


def test_price():
    assert prices.price(3) == 6
    assert prices.price(20) == 20


def test_fee():
    assert prices.fee() == 3
""",
}


async def test_every_kind_of_verdict_is_given_where_it_belongs(tmp_path: Path) -> None:
    root = project(tmp_path, KINDS)
    told: list[tuple[int, int]] = []

    async def progress(done: int, total: int, message: str) -> None:
        told.append((done, total))

    request = MutationRequest(root, limits=LIMITS, python=Path(sys.executable), verify_killed=1)
    report = await (await engine(tmp_path)).run(request, progress)
    assert of(report, "count > 10", "(count <= 10)").verdict is MutantVerdict.KILLED
    assert of(report, "count > 10", "(count <= 10)").killed_by == "test_prices.py::test_price"
    survivor = of(report, "count > 10", "(count >= 10)")
    assert (survivor.verdict, survivor.verified) == (MutantVerdict.SURVIVED, True)
    assert of(report, "count -= 1", "pass").verdict is MutantVerdict.TIMEOUT
    assert of(report, "4", "5").verdict is MutantVerdict.NO_COVERAGE
    rate = of(report, "2", "3")
    assert (rate.verdict, rate.killed_by) == (MutantVerdict.IMPORT_TIME, "test_prices.py::test_price")
    assert of(report, "3", "4").killed_by == "test_prices.py::test_fee"
    assert report.disagreements == ()
    assert report.interval is None
    counted = Counter(result.verdict for result in report.results)
    noticed = counted[MutantVerdict.KILLED] + counted[MutantVerdict.TIMEOUT]
    missed = counted[MutantVerdict.SURVIVED] + counted[MutantVerdict.NO_COVERAGE]
    assert report.score == noticed / (noticed + missed)
    assert sum(r.verified for r in report.results if r.verdict is MutantVerdict.KILLED) == 1
    assert told
    assert (root / "prices.py").read_text() == KINDS["prices.py"]


async def test_only_changed_lines_are_mutated_and_a_sample_comes_with_its_interval(tmp_path: Path) -> None:
    root = project(tmp_path, KINDS)
    request = MutationRequest(
        root,
        changed_lines={"prices.py": frozenset({9, 10})},
        sample=2,
        limits=LIMITS,
        verify_survivors=0,
        verify_killed=0,
    )
    report = await (await engine(tmp_path)).run(request)
    assert len(report.results) == 2
    assert report.generated > 2
    assert {r.mutant.location.region.start_line for r in report.results if r.mutant.location.region} <= {9, 10}
    assert report.interval is not None
    assert report.score is not None
    assert report.interval[0] <= report.score <= report.interval[1]


HOSTILE = {
    "harm.py": """\
import os
import pathlib
import signal
import time

HERE = pathlib.Path(__file__).parent


def leaves(n):
    if n > 90:
        os._exit(0)
    return n


def crashes(n):
    if n > 91:
        os.kill(os.getpid(), signal.SIGSEGV)
    return n


def deletes(n):
    if n > 92:
        for path in HERE.glob("*.py"):
            path.unlink()
    return n


def kills(n):
    if n > 93:
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(5)
    return n


def breeds(n):
    while n > 5:
        if os.fork() == 0:
            time.sleep(60)
        n -= 1
    return n
""",
    "test_harm.py": """\
import harm


def test_leaves():
    assert harm.leaves(1) == 1


def test_crashes():
    assert harm.crashes(1) == 1


def test_deletes():
    assert harm.deletes(1) == 1


def test_kills():
    assert harm.kills(1) == 1


def test_breeds():
    assert harm.breeds(1) == 1
""",
}


async def test_mutants_that_do_harm_are_contained_and_count_as_killed(tmp_path: Path) -> None:
    root = project(tmp_path, HOSTILE)
    request = MutationRequest(
        root,
        limits=LIMITS,
        verify_survivors=0,
        verify_killed=0,
        changed_lines={"harm.py": frozenset({10, 16, 22, 29, 36})},
    )
    report = await (await engine(tmp_path)).run(request)
    for original, replacement in (
        ("n > 90", "(n <= 90)"),
        ("n > 91", "(n <= 91)"),
        ("n > 93", "(n <= 93)"),
        ("n > 5", "(n <= 5)"),
    ):
        assert of(report, original, replacement).verdict is MutantVerdict.KILLED
    assert (root / "harm.py").read_text() == HOSTILE["harm.py"]
    assert (root / "test_harm.py").read_text() == HOSTILE["test_harm.py"]
    assert of(report, "90", "91").verdict is MutantVerdict.SURVIVED
    assert report.stopped_early is None


BREEDING = """\
import os
import subprocess
import time


def doubles(n):
    while n > 5:
        os.fork()
    return n


def employs(n):
    while n > 6:
        subprocess.Popen(["sleep", "60"])
    return n


def departs(n):
    while n > 7:
        if os.fork() == 0:
            time.sleep(60)
    return n
"""


async def test_mutants_that_breed_end_nobody_but_themselves(tmp_path: Path) -> None:
    names = ("doubles", "employs", "departs")
    tests = "".join(f"\n\ndef test_{name}():\n    assert harm.{name}(1) == 1\n" for name in names)
    root = project(tmp_path, {"harm.py": BREEDING, "test_harm.py": f"import harm\n{tests}"})
    request = MutationRequest(
        root,
        limits=replace(LIMITS, processes=96),
        verify_survivors=0,
        verify_killed=0,
        changed_lines={"harm.py": frozenset({7, 13, 19})},
    )
    report = await (await engine(tmp_path)).run(request)
    assert report.stopped_early is None
    for name, limit in zip(names, (5, 6, 7), strict=True):
        killed = of(report, f"n > {limit}", f"(n <= {limit})")
        assert (killed.verdict, killed.killed_by) == (MutantVerdict.KILLED, f"test_harm.py::test_{name}")
        assert of(report, str(limit), str(limit + 1)).verdict is MutantVerdict.SURVIVED


async def test_a_test_that_wavers_is_kept_apart(tmp_path: Path) -> None:
    files = {
        "m.py": "def f(n):\n    return n + 1\n",
        "test_m.py": "import pathlib\nimport m\n\nCOUNT = pathlib.Path(__file__).with_name('count')\n\n\n"
        "def test_plain():\n    assert m.f(1) > -5\n\n\n"
        "def test_every_other_time():\n    m.f(1)\n"
        "    runs = len(COUNT.read_text()) if COUNT.exists() else 0\n"
        "    COUNT.write_text('x' * (runs + 1))\n    assert runs % 2 == 0\n",
    }
    root = project(tmp_path, files)
    request = MutationRequest(root, limits=LIMITS, workers=1, verify_survivors=0, verify_killed=0)
    report = await (await engine(tmp_path)).run(request)
    survivor = of(report, "1", "2")
    assert survivor.killed_by != "test_m.py::test_every_other_time"
    assert survivor.verdict in (MutantVerdict.SURVIVED, MutantVerdict.FLAKY)


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        ("import m\n\n\ndef test_f():\n    assert m.f(1) == 3\n", "1 of 1 tests fail on unmutated code"),
        ("import nothing_like_this\n", "could not be imported"),
        ("", "no tests were found"),
        ("import pytest\n\n\n@pytest.mark.skip\ndef test_f():\n    pass\n", "Every test is skipped"),
    ],
)
async def test_what_cannot_be_judged_is_refused_with_the_reason(tmp_path: Path, tests: str, said: str) -> None:
    root = project(tmp_path, {"m.py": "def f(n):\n    return n + 1\n", "test_m.py": tests})
    with pytest.raises(CallerError, match=said):
        await (await engine(tmp_path)).run(MutationRequest(root, limits=LIMITS))


async def test_a_new_test_is_told_which_survivors_it_kills(tmp_path: Path) -> None:
    root = project(tmp_path, KINDS)
    run = await engine(tmp_path)
    before = await run.run(
        MutationRequest(root, changed_lines={"prices.py": frozenset({9})}, limits=LIMITS, verify_killed=0)
    )
    survivor = of(before, "count > 10", "(count >= 10)").mutant.id
    killed = of(before, "10", "11").mutant.id
    (root / "test_more.py").write_text("import prices\n\n\ndef test_ten():\n    assert prices.price(10) == 20\n")
    report = await run.judge(
        MutationRequest(root, tests=["test_more.py"], limits=LIMITS), [survivor, killed, "0" * 16]
    )
    assert report.killed == {survivor: "test_more.py::test_ten"}
    assert report.survived == (killed,)
    assert report.unknown == ("0" * 16,)
    assert report.not_judged == ()


ENDLESS = {
    "m.py": "def f(n):\n    return n + 1\n",
    "test_m.py": "import time\nimport m\n\n\ndef test_f():\n    m.f(1)\n    time.sleep(0.5)\n",
}


def drivers() -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        # Processes come and go while one looks.
        with contextlib.suppress(psutil.Error):
            line = process.cmdline()
            # The driver itself, not the sandbox around it, whose command names it too.
            is_driver = len(line) == 2 and line[1].endswith("mutation/driver/start.py")
            alive = is_driver and process.status() != "zombie"
            if alive and os.getpid() in [parent.pid for parent in process.parents()]:
                found.append(process)
    return found


async def test_a_cancelled_run_leaves_no_process_and_no_folder(tmp_path: Path) -> None:
    root = project(tmp_path, ENDLESS)
    run = await engine(tmp_path)
    started = anyio.Event()

    async def progress(done: int, total: int, message: str) -> None:
        started.set()

    async with anyio.create_task_group() as group:
        group.start_soon(run.run, MutationRequest(root, limits=LIMITS), progress)
        await started.wait()
        assert drivers()
        group.cancel_scope.cancel()
    assert drivers() == []
    assert list((tmp_path / "work").glob(f"{FOLDER_PREFIX}*")) == []


async def test_a_run_whose_process_is_killed_says_so(tmp_path: Path) -> None:
    root = project(tmp_path, ENDLESS)
    run = await engine(tmp_path)
    killed: list[int] = []

    async def progress(done: int, total: int, message: str) -> None:
        if not killed:
            for process in drivers():
                # Children of the driver come and go.
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGKILL)
                    killed.append(process.pid)

    report = await run.run(MutationRequest(root, limits=LIMITS, verify_survivors=0, verify_killed=0), progress)
    assert killed
    assert report.stopped_early is not None
    assert "ended early" in report.stopped_early
    assert len(report.results) < report.generated


async def test_a_project_that_pytest_itself_stands_on_is_mutated_and_not_the_installed_one(tmp_path: Path) -> None:
    files = {
        "src/iniconfig/__init__.py": "def larger(a, b):\n    return a if a > b else b\n",
        "test_it.py": "from iniconfig import larger\n\n\ndef test_it():\n    assert larger(1, 2) == 2\n",
    }
    report = await (await engine(tmp_path)).run(MutationRequest(project(tmp_path, files), limits=LIMITS))
    assert MutantVerdict.NO_COVERAGE not in {result.verdict for result in report.results}
    assert of(report, "a > b", "(a <= b)").verdict is MutantVerdict.KILLED


async def test_a_test_that_fails_without_those_before_it_kills_nothing_by_itself(tmp_path: Path) -> None:
    files = {
        "m.py": "A = 10\nB = 20\nC = 30\n",
        "test_m.py": "import m\n\nSEEN = []\n\n\ndef test_first():\n    SEEN.append(1)\n    assert m.A < 15\n\n\n"
        "def test_second():\n    assert SEEN\n    assert m.B == 20\n",
    }
    request = MutationRequest(project(tmp_path, files), limits=LIMITS, workers=1, verify_killed=0)
    report = await (await engine(tmp_path)).run(request)
    assert of(report, "20", "21").killed_by == "test_m.py::test_second"
    # Judged after its neighbour, by the test that killed that one.
    assert of(report, "30", "31").killed_by is None
    assert of(report, "10", "11").killed_by is None
    assert report.disagreements == ()


async def test_import_time_mutants_meet_the_parameters_that_killed_their_neighbours(tmp_path: Path) -> None:
    files = {
        "m.py": "TABLE = [('a', 'x'), ('b', 'y'), ('c', 'z')]\n\n\ndef look(key):\n    return dict(TABLE)[key]\n",
        "test_m.py": "import unittest\n\nimport pytest\n\nimport m\n\n\n"
        "@pytest.mark.parametrize(('key', 'value'), [('a', 'x'), ('b', 'y')])\ndef test_look(key, value):\n"
        "    assert m.look(key) == value\n\n\nclass Sizes(unittest.TestCase):\n    def test_size(self):\n"
        "        self.assertEqual(len(m.TABLE), 3)\n\n"
        "    def test_more(self):\n        self.assertTrue(m.TABLE)\n",
    }
    request = MutationRequest(project(tmp_path, files), limits=LIMITS, workers=1)
    report = await (await engine(tmp_path)).run(request)
    for original, replacement, test in (
        ("'a'", "'XXaXX'", "test_m.py::test_look[a-x]"),
        ("'x'", "'XXxXX'", "test_m.py::test_look[a-x]"),
        ("'y'", "'XXyXX'", "test_m.py::test_look[b-y]"),
    ):
        assert of(report, original, replacement).killed_by == test
    survivor = of(report, "'z'", "'XXzXX'")
    assert (survivor.verdict, survivor.killed_by, survivor.verified) == (MutantVerdict.IMPORT_TIME, None, True)
    assert report.disagreements == ()


REMEMBERS = """\
CACHE = {}
CALLS = []


def square(n):
    if n not in CACHE:
        CACHE[n] = n * n
    return CACHE[n]


def steps(n):
    CALLS.append(n)
    return n + 1


def bound(n):
    return min(n, 5)
"""


async def test_what_a_mutant_leaves_behind_judges_no_other(tmp_path: Path) -> None:
    files = {
        "m.py": REMEMBERS,
        "test_m.py": "import m\n\n\ndef test_square():\n    assert m.square(3) == 9\n\n\n"
        "def test_steps():\n    before = len(m.CALLS)\n    assert m.steps(1) == 2\n"
        "    assert len(m.CALLS) == before + 1\n\n\n"
        "def test_bound():\n    assert m.bound(7) == 5\n",
    }
    request = MutationRequest(project(tmp_path, files), limits=LIMITS, verify_killed=3)
    report = await (await engine(tmp_path)).run(request)
    assert report.disagreements == ()
    # Its test fails without it, too, as long as what it stored is there: it takes a process of its own.
    assert of(report, "n * n", "(n / n)").killed_by == "test_m.py::test_square"
    assert of(report, "n not in CACHE", "(n in CACHE)").verdict is MutantVerdict.KILLED
    assert of(report, "n + 1", "(n - 1)").killed_by == "test_m.py::test_steps"
    assert of(report, "min(n, 5)", "max(n, 5)").killed_by == "test_m.py::test_bound"
    assert {r.verdict for r in report.results if r.mutant.function} == {MutantVerdict.KILLED}


DEFAULTS = """\
import functools

SIGNATURES = {}


def registered(function):
    SIGNATURES[function.__name__] = function.__defaults__
    return function


def plain(n=3, *, step=1):
    return n + step


class Thing:
    def method(self, size=None, name="a"):
        return (size, name)

    @functools.lru_cache
    def cached(self, n=4):
        return n


@registered
def looked_at(n=5):
    return SIGNATURES["looked_at"][0] + n * 0


def early(n=6):
    return n


AT_IMPORT = early()
"""


async def test_default_arguments_are_judged_where_functions_live(tmp_path: Path) -> None:
    files = {
        "m.py": DEFAULTS,
        "test_m.py": "import m\n\n\ndef test_plain():\n    assert m.plain() == 4\n    assert m.plain(3) == 4\n\n\n"
        "def test_method():\n    assert m.Thing().method(1)[1] == 'a'\n\n\n"
        "def test_cached():\n    assert m.Thing().cached() == 4\n\n\n"
        "def test_looked_at():\n    assert m.looked_at() == 5\n\n\n"
        "def test_early():\n    assert m.AT_IMPORT == 6\n",
    }
    request = MutationRequest(project(tmp_path, files), limits=LIMITS, verify_killed=2)
    report = await (await engine(tmp_path)).run(request)
    assert report.disagreements == ()
    found = {
        (r.mutant.original, r.mutant.replacement): (r.verdict, r.killed_by)
        for r in report.results
        if r.mutant.operator == "default"
    }
    killed, told_apart = MutantVerdict.KILLED, MutantVerdict.IMPORT_TIME
    assert found == {
        ("3", "4"): (killed, "test_m.py::test_plain"),
        ("1", "2"): (killed, "test_m.py::test_plain"),
        ("None", "''"): (MutantVerdict.SURVIVED, None),
        ('"a"', "'XXaXX'"): (killed, "test_m.py::test_method"),
        ("4", "5"): (killed, "test_m.py::test_cached"),
        # Somebody reads the signature while it is imported, or calls the function.
        ("5", "6"): (told_apart, "test_m.py::test_looked_at"),
        ("6", "7"): (told_apart, "test_m.py::test_early"),
    }


async def test_who_shares_a_fixture_meets_what_makes_and_ends_it_and_not_what_the_others_do(
    tmp_path: Path,
) -> None:
    files = {
        "m.py": "def made():\n    return [1]\n\n\ndef ended(things):\n    things.append(2)\n\n\n"
        "def first(n):\n    return n > 3\n\n\ndef second(n):\n    return n > 4\n",
        "conftest.py": "import m\nimport pytest\n\n\n@pytest.fixture(autouse=True)\ndef things():\n"
        "    found = m.made()\n    yield found\n    m.ended(found)\n",
        "test_m.py": "import m\n\n\ndef test_first():\n    assert m.first(9)\n\n\n"
        "def test_second():\n    assert m.second(9)\n",
    }
    request = MutationRequest(project(tmp_path, files), limits=LIMITS, verify_survivors=0, verify_killed=0)
    report = await (await engine(tmp_path)).run(request)
    survivors = {r.mutant.function: r.tests_run for r in report.results if r.verdict is MutantVerdict.SURVIVED}
    assert survivors == {"made": 2, "ended": 2, "first": 1, "second": 1}
    assert of(report, "n > 3", "(n <= 3)").killed_by == "test_m.py::test_first"
    assert of(report, "n > 4", "(n <= 4)").killed_by == "test_m.py::test_second"


AT_IMPORT = {
    "m.py": "RATE = 2\nSTEP = 5\nUNUSED = 7\n\n\ndef price(n):\n    return RATE * n + STEP\n",
    "tests/test_m.py": "import m\n\n\ndef test_nothing():\n    assert m\n\n\n"
    "def test_price():\n    assert m.price(3) == 11\n\n\ndef test_made(made):\n    assert made == 7\n",
}
CONFTEST = "import m\nimport pytest\n\n\n@pytest.fixture\ndef made():\n    return m.price(1)\n"
# Whatever the tests bring in is brought in early, to be shared: too early for this one.
PATCHING = "import sys\n\nassert 'colorsys' not in sys.modules\nimport colorsys\n"
BREAKING = "import m\n\nassert m.UNUSED == 7\n"


@pytest.mark.parametrize(
    ("conftests", "unused"),
    [
        pytest.param({"tests/conftest.py": CONFTEST}, None, id="read while collecting"),
        pytest.param({"conftest.py": CONFTEST}, None, id="read before"),
        pytest.param({"conftest.py": CONFTEST + BREAKING}, "import", id="ended by a mutant"),
        pytest.param({"conftest.py": PATCHING + CONFTEST}, None, id="patching before others import"),
        pytest.param(
            {"conftest.py": CONFTEST, "early.py": "import m\n", "pytest.ini": "[pytest]\naddopts = -p early\n"},
            None,
            id="after a plugin",
        ),
    ],
)
async def test_what_runs_at_import_is_judged_whoever_imports_it_first(
    tmp_path: Path, conftests: Mapping[str, str], unused: str | None
) -> None:
    root = project(tmp_path, AT_IMPORT | conftests)
    request = MutationRequest(root, paths=("m.py",), limits=LIMITS, python=Path(sys.executable), verify_killed=0)
    report = await (await engine(tmp_path)).run(request)
    judged = {r.mutant.original: r for r in report.results if r.verdict is MutantVerdict.IMPORT_TIME}
    assert {place: r.killed_by for place, r in judged.items()} == {
        "2": "tests/test_m.py::test_price",
        "5": "tests/test_m.py::test_price",
        "7": unused,
    }
    assert report.disagreements == ()


async def test_a_conftest_that_judges_at_the_end_has_its_say_in_fresh_processes(tmp_path: Path) -> None:
    files = {
        "m.py": "def f(n):\n    return n + 1\n",
        "conftest.py": "def pytest_sessionfinish(session):\n    from m import f\n\n"
        "    if f(1) != 2:\n        session.exitstatus = 1\n",
        "test_m.py": "import m\n\n\ndef test_f():\n    assert m.f(1) is not None or True\n",
    }
    request = MutationRequest(project(tmp_path, files), limits=LIMITS, python=Path(sys.executable), sample=1)
    report = await (await engine(tmp_path)).run(request)
    assert [(r.verdict, r.killed_by) for r in report.results] == [(MutantVerdict.KILLED, "pytest ended with 1")]
    assert len(report.disagreements) == 1


AN_OLD_PYTHON = """\
#!/bin/sh
exec "{python}" -c 'import runpy, sys
sys.version_info, sys.version, sys.executable = (3, 9, 18), "3.9.18 (main)", "{old}"
runpy.run_path(sys.argv[1], run_name="__main__")' "$@"
"""


async def test_an_interpreter_that_cannot_do_it_is_told_with_what_would(tmp_path: Path) -> None:
    root = project(tmp_path, KINDS)
    old = tmp_path / "old/bin/python"
    old.parent.mkdir(parents=True)
    old.write_text(AN_OLD_PYTHON.format(python=sys.executable, old=old))
    old.chmod(0o755)
    with pytest.raises(EngineError, match=r"is Python 3\.9\.18; mutants are made with Python 3\.10 or newer"):
        await (await engine(tmp_path)).run(MutationRequest(root, limits=LIMITS, python=old))
    venv.create(tmp_path / "env", symlinks=True)
    (root / ".venv").symlink_to(tmp_path / "env")
    with pytest.raises(EngineMissing) as missing:
        await (await engine(tmp_path)).run(MutationRequest(root, limits=LIMITS))
    assert missing.value.command == f"{tmp_path.resolve()}/env/bin/python -m pip install pytest"
