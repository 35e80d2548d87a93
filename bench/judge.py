"""Whether the judge of changes accepts the right ones, refuses the wrong ones, and for the true reason.

    mkdir data; git clone https://github.com/jkoppel/QuixBugs data/QuixBugs
    pip download --no-deps --no-binary :all: -d data more-itertools==10.8.0; tar xzf data/more*.tar.gz -C data
    python bench/judge.py --data data

**QuixBugs**: 40 programs, each right and with one defect. Each becomes a repository with its tests. The right
version is submitted as a change to the wrong one, and must be accepted; the wrong version as a change to the right
one, and must be refused at the gate `tests` by a test of that program that fails, or is named as one that does not
end.

**Subtle changes**: `bench/data/subtle_changes.toml` holds 40 changes of more-itertools 10.8.0, written for this
bench, that look right and are wrong. The library's own tests are run once with coverage, as a user of QTest would,
so that each judgement runs the affected ones. Reported: how many are refused, and at which gate. What passes is
caught neither by the library's tests nor by this judge; nothing was tuned on these changes.

`--smoke` judges one right and one wrong change of a program of its own, without data. With `--json` the last line
is `{"figures": {...}}`.
"""

import argparse
import ast
import difflib
import json
import shutil
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from quantum_suite.core.verdicts import Verdict
from quantum_suite.services.code_scanning.ruff_security import RuffSecurityEngine
from quantum_suite.services.code_scanning.rule_book import RuleBook
from quantum_suite.services.code_scanning.trivy import TrivyEngine
from quantum_suite.services.sandbox.opening import best_sandbox
from quantum_suite.services.scratch.files import FileScratchSpace
from quantum_suite.services.testing.interface import ReachMap, TestRequest
from quantum_suite.services.testing.reach_map import MemoryReachMap, SqliteReachMap
from quantum_suite.services.testing.runners import all_runners, choose_runner
from quantum_suite.services.validators.gates import code_gates
from quantum_suite.services.validators.judge import Judge
from quantum_suite.services.validators.tests_gate import TestLimits

SUBTLE = Path(__file__).resolve().parent / "data" / "subtle_changes.toml"
LIBRARY = "more_itertools-10.8.0"
LIMITS = TestLimits(seconds=180.0, case_seconds=10.0)
SUPPORT = ("load_testdata.py", "node.py")


@dataclass(slots=True)
class Result:
    """What became of one change."""

    name: str
    accepted: bool
    gate: str
    reason: str
    seconds: float
    true_reason: bool = False


@dataclass(slots=True)
class Tally:
    """What is published."""

    right: list[Result] = field(default_factory=list)
    wrong: list[Result] = field(default_factory=list)
    subtle: list[Result] = field(default_factory=list)


@contextmanager
def folder() -> Iterator[Path]:
    """Yield a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="judge-") as name:
        yield Path(name)


async def a_judge(work: Path, reach: ReachMap | None = None) -> Judge:
    """Return the judge as QAgent puts it together."""
    sandbox = (await best_sandbox(folder=work)).sandbox
    rules = RuleBook()
    engines = (TrivyEngine(rules, work / "trivy"), RuffSecurityEngine(rules))
    runners = all_runners(sandbox, work / "runs")
    gates = code_gates(sandbox, engines, runners, reach=reach, limits=LIMITS, work_dir=work)
    return Judge(FileScratchSpace(work / "copies"), gates)


def diff_of(path: str, before: str, after: str) -> str:
    """Return the change of one file."""
    lines = difflib.unified_diff(before.splitlines(True), after.splitlines(True), f"a/{path}", f"b/{path}")
    return "".join(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in lines)


def program_repository(data: Path, name: str, content: str, root: Path) -> Path:
    """Make the repository of one program of QuixBugs, with its tests."""
    for place in ("python_programs", "python_testcases", "json_testcases"):
        (root / place).mkdir(parents=True)
    (root / "python_programs" / f"{name}.py").write_text(content)
    shutil.copy(data / "conftest.py", root)
    for file in (*SUPPORT, f"test_{name}.py"):
        if (data / "python_testcases" / file).exists():
            shutil.copy(data / "python_testcases" / file, root / "python_testcases")
    cases = data / "json_testcases" / f"{name}.json"
    if cases.exists():
        shutil.copy(cases, root / "json_testcases")
    return root


async def judged(judge: Judge, name: str, root: Path, patch: str) -> tuple[Result, Verdict]:
    """Submit a change."""
    started = time.monotonic()
    verdict = (await judge.judge(root, patch)).verdict
    seconds = time.monotonic() - started
    return Result(name, verdict.accepted, verdict.gates[-1].gate, verdict.reason, seconds), verdict


async def quixbugs(data: Path, tally: Tally, only: list[str], jobs: int) -> None:
    """Submit every right and every wrong version."""
    names = sorted(path.stem.removeprefix("test_") for path in (data / "python_testcases").glob("test_*.py"))
    limiter = anyio.CapacityLimiter(jobs)
    with folder() as work:
        judge = await a_judge(work)

        async def program(name: str) -> None:
            async with limiter:
                await both_versions(data, judge, name, work, tally)

        async with anyio.create_task_group() as group:
            for name in (one for one in names if not only or one in only):
                group.start_soon(program, name)


async def both_versions(data: Path, judge: Judge, name: str, work: Path, tally: Tally) -> None:
    """Submit the right version of a program to the wrong one, and the other way round."""
    wrong = (data / "python_programs" / f"{name}.py").read_text()
    right = (data / "correct_python_programs" / f"{name}.py").read_text()
    path = f"python_programs/{name}.py"
    root = program_repository(data, name, wrong, work / f"{name}-right")
    result, verdict = await judged(judge, name, root, diff_of(path, wrong, right))
    ran = verdict.gate("tests")
    result.true_reason = ran is not None and ran.outcome.value == "passed"
    tally.right.append(result)
    show("right", result)
    root = program_repository(data, name, right, work / f"{name}-wrong")
    result, verdict = await judged(judge, name, root, diff_of(path, right, wrong))
    tests = verdict.gate("tests")
    result.true_reason = tests is not None and any(
        problem.blocking and f"test_{name}.py" in problem.message for problem in tests.problems
    )
    tally.wrong.append(result)
    show("wrong", result)


def changed_source(source: str, change: dict[str, str]) -> str:
    """Return the library's source with one change."""
    owner, _, method = change["function"].partition(".")
    node = next(one for one in ast.parse(source).body if getattr(one, "name", None) == owner)
    if method and isinstance(node, ast.ClassDef):
        node = next(one for one in node.body if getattr(one, "name", None) == method)
    lines = source.splitlines(True)
    start, end = node.lineno - 1, node.end_lineno or node.lineno
    text = "".join(lines[start:end])
    if text.count(change["search"]) != 1:
        raise SystemExit(f"{change['function']}: the text to replace does not stand there once. Is it {LIBRARY}?")
    return "".join(lines[:start]) + text.replace(change["search"], change["replace"]) + "".join(lines[end:])


async def reach_of(root: Path, work: Path, kept: Path | None) -> MemoryReachMap:
    """Run the library's tests once with coverage, and return which test reaches what."""
    reach = SqliteReachMap(kept) if kept is not None else MemoryReachMap()
    if await reach.known_tests(root):
        return reach
    sandbox = (await best_sandbox(folder=work)).sandbox
    async with FileScratchSpace(work / "copies").copy(root) as scratch:
        chosen = choose_runner(all_runners(sandbox, work / "runs"), scratch.root)
        request = TestRequest(scratch.root, coverage=True, contexts=True, processes=4, case_seconds=120.0)
        run = await chosen.runner.run(request)
        await reach.update(root, run, scratch.root)
        told = f"{LIBRARY}: {len(run.cases)} tests by {chosen.runner.name} in {run.seconds:.0f} s, {run.ended}"
        print(told, flush=True)
    return reach


async def subtle(data: Path, tally: Tally, most: int, jobs: int, kept: Path | None) -> None:
    """Submit the subtly wrong changes."""
    limiter = anyio.CapacityLimiter(jobs)
    changes = tomllib.loads(SUBTLE.read_text(encoding="utf-8"))["change"]
    with folder() as work:
        root = (data / LIBRARY).resolve()
        path = "more_itertools/more.py"
        source = (root / path).read_text()
        reach = await reach_of(root, work, kept)
        judge = await a_judge(work, reach)

        async def submit(change: dict[str, str]) -> None:
            async with limiter:
                patch = diff_of(path, source, changed_source(source, change))
                result, _ = await judged(judge, change["function"], root, patch)
                tally.subtle.append(result)
                show("subtle", result)

        async with anyio.create_task_group() as group:
            for change in changes[:most]:
                group.start_soon(submit, change)


async def smoke(tally: Tally) -> None:
    """Judge one right and one wrong change of a small program."""
    wrong, right = "def add(a, b):\n    return a - b\n", "def add(a, b):\n    return a + b\n"
    with folder() as work:
        judge = await a_judge(work)
        for name, before, after in (("right", wrong, right), ("wrong", right, wrong)):
            root = work / name
            (root / "tests").mkdir(parents=True)
            (root / "calc.py").write_text(before)
            (root / "conftest.py").write_text("")
            test = "from calc import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n"
            (root / "tests" / "test_calc.py").write_text(test)
            result, _ = await judged(judge, name, root, diff_of("calc.py", before, after))
            result.true_reason = result.accepted or result.gate == "tests"
            (tally.right if name == "right" else tally.wrong).append(result)
            show(name, result)


def show(kind: str, result: Result) -> None:
    """Print a line on one change."""
    word = "accepted" if result.accepted else f"refused at {result.gate}"
    print(f"{kind:<7}{result.name:<32}{word:<22}{result.seconds:>6.1f} s  {result.reason[:110]}", flush=True)


def figures_of(tally: Tally) -> dict[str, float]:
    """Return what is published."""
    figures: dict[str, float] = {}
    if tally.right:
        figures["quixbugs_right"] = len(tally.right)
        figures["quixbugs_right_accepted"] = sum(one.accepted and one.true_reason for one in tally.right)
        figures["quixbugs_wrong"] = len(tally.wrong)
        figures["quixbugs_wrong_refused"] = sum(not one.accepted and one.true_reason for one in tally.wrong)
    if tally.subtle:
        caught = [one for one in tally.subtle if not one.accepted]
        figures["subtle"] = len(tally.subtle)
        figures["subtle_caught"] = len(caught)
        for gate, count in sorted(Counter(one.gate for one in caught).items()):
            figures[f"subtle_caught_by_{gate}"] = count
    every = [*tally.right, *tally.wrong, *tally.subtle]
    figures["median_seconds"] = round(sorted(one.seconds for one in every)[len(every) // 2], 1)
    return figures


async def measure(options: argparse.Namespace) -> Tally:
    """Run what was asked for."""
    tally = Tally()
    if options.smoke:
        await smoke(tally)
        return tally
    if options.data is None:
        raise SystemExit("Give --data, a folder with QuixBugs and the library (see --help), or --smoke.")
    if options.only in (None, "quixbugs"):
        await quixbugs(options.data / "QuixBugs", tally, options.programs, options.jobs)
    if options.only in (None, "subtle"):
        await subtle(options.data, tally, options.most, options.jobs, options.map)
    return tally


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with QuixBugs and the unpacked library")
    parser.add_argument("--only", choices=("quixbugs", "subtle"), help="one part alone")
    parser.add_argument("--programs", nargs="*", default=[], help="programs of QuixBugs; all when left out")
    parser.add_argument("--most", type=int, default=1000, help="most subtle changes")
    parser.add_argument("--jobs", type=int, default=2, help="changes judged at once")
    parser.add_argument("--map", type=Path, help="folder that keeps which test reaches what, for further runs")
    parser.add_argument("--smoke", action="store_true", help="a run of seconds, without data")
    parser.add_argument("--json", action="store_true", help="end with one line of figures")
    options = parser.parse_args()
    figures = figures_of(anyio.run(measure, options))
    for name, value in figures.items():
        print(f"{name:<28}{value:>8g}")
    if options.json:
        print(json.dumps({"figures": figures}))


if __name__ == "__main__":
    main()
