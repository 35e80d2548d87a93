"""How many tests a change needs, and whether a failing one is ever left out, on real commits of real libraries.

    git clone --bare https://github.com/more-itertools/more-itertools data/more-itertools
    git clone --bare https://github.com/mahmoud/boltons data/boltons
    python bench/affected_tests.py --data data --commits 15

For each commit that changes code, three changes are judged, each with a map made on the state before it:

- `forward`: the parent, then the commit as it is;
- `old_tests`: the parent, then the commit's code under the parent's tests (what a developer has before the tests
  are written);
- `regression`: the commit, then its code taken back while its tests stay (what the tests are there to notice).

After each change all tests are run. One that fails, is new or came to another outcome than before is owed, and
missed where it was not chosen. `--peer DIR` runs pytest-testmon from the environment there (with
pytest-timeout: some changes make a test endless) on the same changes; what it ran counts as chosen, and changes on
which it breaks down are counted apart. `--smoke` makes a small repository itself.
With `--json` the last line is `{"figures": {...}}`.
"""

import argparse
import io
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import anyio

from quantum_suite.services.sandbox.interface import Limits, Sandbox
from quantum_suite.services.sandbox.opening import best_sandbox
from quantum_suite.services.testing.interface import Affected, TestRequest, TestRun
from quantum_suite.services.testing.pytest import PytestRunner
from quantum_suite.services.testing.reach_map import MemoryReachMap

CHANGES = ("forward", "old_tests", "regression")
LONGEST_SECONDS = 1.0
"""Tests that take longer in a repository's first run are left out of all of it, chosen or not."""
CASE_SECONDS = 30
PEER_BYTES = 4 * 1024**3
BAD = ("failed", "error", "not_run", "xpassed")
_RAN = (0, 1, 5)
"""Exit codes of pytest: passed, some failed, none chosen."""
_WRONG_USE = 4
Files = dict[str, bytes]


@dataclass(slots=True)
class Judged:
    """One change, and what was chosen for it."""

    repository: str
    commit: str
    change: str
    tests: int
    chosen: int
    owed: int
    failing: int
    missed: tuple[str, ...]
    everything: bool
    seconds: float
    """For choosing alone."""


@dataclass(slots=True)
class Peer:
    """What testmon did with the same changes."""

    python: Path
    chosen: list[float] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    broken: int = 0
    """Changes on which pytest broke down."""


def git(repository: Path, *arguments: str) -> bytes:
    """Return what git prints."""
    command = ["git", f"--git-dir={repository}", *arguments]
    return subprocess.run(command, check=True, capture_output=True).stdout


def commits(repository: Path, count: int) -> list[str]:
    """Return the newest commits, no merges, that change a library's Python code."""
    found: list[str] = []
    for commit in (
        git(repository, "log", "--min-parents=1", "--max-parents=1", "--format=%H", "-n", "600").decode().split()
    ):
        names = git(repository, "show", "--format=", "--name-only", commit).decode().split()
        if any(name.endswith(".py") and not is_test(name) and not is_aside(name) for name in names):
            found.append(commit)
        if len(found) == count:
            break
    return found


def is_test(path: str) -> bool:
    """Whether a path belongs to the tests."""
    return path.startswith(("tests/", "test/")) or "/tests/" in path


def is_aside(path: str) -> bool:
    """Whether a path is no part of a library: at the top, or of its documentation and tools."""
    return "/" not in path or path.startswith(("docs/", "misc/", "requirements/", "."))


def tree(repository: Path, commit: str) -> Files:
    """Return the files of a commit."""
    files = {}
    with tarfile.open(fileobj=io.BytesIO(git(repository, "archive", commit))) as archive:
        for member in archive.getmembers():
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None:
                files[member.name] = content.read()
    return files


def write(folder: Path, files: Files) -> None:
    """Make a folder hold exactly these files."""
    for path in sorted(folder.rglob("*"), reverse=True):
        relative = path.relative_to(folder).as_posix()
        if path.is_file() and relative not in files and not relative.startswith(".testmon"):
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    for name, content in files.items():
        path = folder / name
        if not path.exists() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def states(old: Files, new: Files) -> Iterator[tuple[str, Files, Files]]:
    """Yield each change as (name, before, after)."""
    tests = [{name: text for name, text in files.items() if is_test(name)} for files in (old, new)]
    code = [{name: text for name, text in files.items() if not is_test(name)} for files in (old, new)]
    yield "forward", old, new
    if tests[0] != tests[1]:
        yield "old_tests", old, code[1] | tests[0]
    yield "regression", new, code[0] | tests[1]


async def slow_tests(sandbox: Sandbox, repository: Path, commit: str) -> tuple[str, ...]:
    """Return the tests that take longer than `LONGEST_SECONDS`, or do not end."""
    with tempfile.TemporaryDirectory(prefix="affected-") as place:
        folder = Path(place).resolve()
        write(folder, tree(repository, commit))
        run = await PytestRunner(sandbox).run(request(folder))
    return tuple(case.id for case in run.cases if case.seconds > LONGEST_SECONDS or "took longer" in case.message)


async def judge(
    sandbox: Sandbox,
    repository: tuple[str, Path],
    commit: str,
    changes: Sequence[str],
    slow: Sequence[str],
    peer: Peer | None,
) -> list[Judged]:
    """Judge the changes of one commit."""
    runner = PytestRunner(sandbox)
    old, new = tree(repository[1], f"{commit}^"), tree(repository[1], commit)
    runs: dict[int, tuple[TestRun, MemoryReachMap]] = {}
    done = []
    with tempfile.TemporaryDirectory(prefix="affected-") as place:
        folder = Path(place).resolve() / "project"
        folder.mkdir()
        for name, before, after in states(old, new):
            if name not in changes:
                continue
            if id(before) not in runs:
                write(folder, before)
                reach = MemoryReachMap()
                run = await runner.run(request(folder, slow, contexts=True))
                await reach.update(folder, run)
                runs[id(before)] = (run, reach)
            was, reach = runs[id(before)]
            write(folder, after)
            started = time.monotonic()
            affected = await reach.affected(folder, await reach.changed_since(folder))
            seconds = time.monotonic() - started
            now = await runner.run(request(folder, slow))
            done.append(judged(repository[0], commit, name, was, now, affected, seconds))
            if peer is not None:
                ask_peer(peer, folder, before, after, owed(was, now), len(now.cases))
    return done


def request(folder: Path, skip: Sequence[str] = (), *, contexts: bool = False) -> TestRequest:
    """Return the request for all tests."""
    limits = Limits(seconds=900)
    return TestRequest(
        folder, skip=skip, contexts=contexts, runner="pytest", case_seconds=CASE_SECONDS, limits=limits
    )


def owed(was: TestRun, now: TestRun) -> set[str]:
    """Return the tests that have to be chosen: failing, new, or different from before."""
    before = {case.id: case.outcome for case in was.cases}
    return {case.id for case in now.cases if case.outcome in BAD or before.get(case.id) != case.outcome}


def is_chosen(test: str, affected: Affected) -> bool:
    """Whether a test is among the chosen: by its id, or those of its function, class or file."""
    if "::" not in test:
        # A file that cannot be collected: whichever of its tests is run shows it.
        return affected.everything or any(name.split("::")[0] == test for name in affected.tests)
    parts = test.split("[", 1)[0].split("::")
    names = {test, *("::".join(parts[:end]) for end in range(1, len(parts) + 1))}
    return affected.everything or not names.isdisjoint(affected.tests)


def judged(
    repository: str, commit: str, change: str, was: TestRun, now: TestRun, affected: Affected, seconds: float
) -> Judged:
    """Compare what was chosen with what was owed."""
    due = owed(was, now)
    return Judged(
        repository,
        commit[:9],
        change,
        tests=len(now.cases),
        chosen=sum(is_chosen(case.id, affected) for case in now.cases),
        owed=len(due),
        failing=sum(case.outcome in BAD for case in now.cases),
        missed=tuple(sorted(test for test in due if not is_chosen(test, affected))),
        everything=affected.everything,
        seconds=seconds,
    )


def ask_peer(peer: Peer, folder: Path, before: Files, after: Files, due: set[str], all_tests: int) -> None:
    """Have testmon see the state before, then choose after the change."""
    for left in folder.glob(".testmondata*"):
        left.unlink()
    write(folder, before)
    command = [str(peer.python), "-m", "pytest", "-q", "--testmon", "--continue-on-collection-errors"]
    command.append(f"--timeout={CASE_SECONDS}")
    ready = run_peer(command, folder)
    write(folder, after)
    report = folder.parent / "peer.xml"
    report.unlink(missing_ok=True)
    command += [f"--junitxml={report}", "-o", "junit_family=xunit1"]
    if not (ready and run_peer(command, folder)):
        peer.broken += 1
        print(f"{'':16}testmon broke down", flush=True)
        return
    ran = set()
    if report.exists():
        for case in ElementTree.parse(report).iter("testcase"):
            file, name = case.get("file", ""), case.get("name", "")
            module = file.removesuffix(".py").replace("/", ".")
            classes = case.get("classname", "").removeprefix(module).lstrip(".")
            ran.add("::".join(part for part in (file, classes.replace(".", "::"), name) if part))
    peer.chosen.append(len(ran) / max(1, all_tests))
    missed = sorted(test for test in due if not is_among(test, ran))
    peer.missed += missed
    print(f"{'':16}testmon{len(ran):>17} ran{len(missed):>30} missed", flush=True)


def is_among(test: str, ran: set[str]) -> bool:
    """Whether a test was run; a file that cannot be collected is reported under its module's name."""
    if "::" in test:
        return test in ran
    return test.removesuffix(".py").replace("/", ".") in ran or any(one.split("::")[0] == test for one in ran)


def run_peer(command: Sequence[str], folder: Path) -> bool:
    """Run pytest with testmon; returns whether it came to an end. Raises SystemExit where it cannot be run so."""

    def limit() -> None:
        # An endless test may be one that fills a list.
        resource.setrlimit(resource.RLIMIT_AS, (PEER_BYTES, PEER_BYTES))

    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, preexec_fn=limit)
    if done.returncode == _WRONG_USE:
        raise SystemExit(f"testmon could not run:\n{(done.stdout + done.stderr)[-2000:]}")
    return done.returncode in _RAN


async def measure(
    repositories: Sequence[tuple[str, Path]], count: int, changes: Sequence[str], peer: Peer | None
) -> list[Judged]:
    """Judge the newest commits of each repository."""
    choice = await best_sandbox()
    done: list[Judged] = []
    for repository in repositories:
        chosen = commits(repository[1], count)
        slow = await slow_tests(choice.sandbox, repository[1], chosen[0]) if chosen else ()
        print(f"{repository[0]}: {len(slow)} tests of more than {LONGEST_SECONDS:g} s are left out", flush=True)
        for commit in chosen:
            for one in await judge(choice.sandbox, repository, commit, changes, slow, peer):
                done.append(one)
                show(one)
    return done


def show(one: Judged) -> None:
    """Print one line, and what was missed."""
    share = one.chosen / max(1, one.tests)
    print(
        f"{one.repository:<16}{one.commit:<11}{one.change:<11}{one.tests:>6} tests{one.chosen:>6} chosen"
        f"{share:>7.1%}{one.owed:>5} owed{one.failing:>4} failing{len(one.missed):>4} missed"
        f"{'  everything' if one.everything else ''}",
        flush=True,
    )
    for test in one.missed:
        print(f"    missed {test}")


def make_repository(folder: Path) -> Path:
    """Make a small repository whose second commit changes what one test file stands on."""
    work = folder / "small"
    (work / "tests").mkdir(parents=True)
    (work / "small").mkdir()
    core, tests = work / "small/core.py", work / "tests/test_core.py"
    (work / "small/__init__.py").write_text("from small.core import add, twice\n")
    core.write_text("def add(a, b):\n    return a + b\n\n\ndef twice(a):\n    return add(a, a)\n")
    (work / "small/other.py").write_text("def name():\n    return 'other'\n")
    tests.write_text(
        "from small import add, twice\n\n\ndef test_add():\n    assert add(1, 2) == 3\n\n\n"
        "def test_twice():\n    assert twice(2) == 4\n"
    )
    (work / "tests/test_other.py").write_text(
        "from small.other import name\n\n\ndef test_name():\n    assert name() == 'other'\n"
    )
    command = ["git", "-c", "user.name=bench", "-c", "user.email=bench@localhost", "-C", str(work)]
    subprocess.run([*command, "init", "-q"], check=True)
    for number in (1, 2):
        if number == 2:
            core.write_text(core.read_text().replace("a + b", "a + b if a else abs(b)"))
            tests.write_text(tests.read_text() + "\n\ndef test_zero():\n    assert add(0, -1) == 1\n")
        subprocess.run([*command, "add", "."], check=True)
        subprocess.run([*command, "commit", "-q", "-m", f"state {number}"], check=True)
    (work / ".git").rename(folder / "repository")
    shutil.rmtree(work)
    return folder / "repository"


def find_repositories(data: Path) -> list[tuple[str, Path]]:
    """Return the git directories below a folder, by name: bare ones, or those of checkouts."""
    found = []
    for path in sorted(data.iterdir()):
        for candidate in (path, path / ".git"):
            if (candidate / "HEAD").is_file() and (candidate / "objects").is_dir():
                found.append((path.name.removesuffix(".git"), candidate))
                break
    return found


def figures(done: Sequence[Judged], peer: Peer | None) -> dict[str, float]:
    """Return what is published."""
    shares = [one.chosen / max(1, one.tests) for one in done]
    found: dict[str, float] = {
        "commits": len({one.commit for one in done}),
        "changes": len(done),
        "owed_tests": sum(one.owed for one in done),
        "failing_tests": sum(one.failing for one in done),
        "missed_tests": sum(len(one.missed) for one in done),
        "chosen_share_mean": round(statistics.mean(shares), 4),
        "chosen_share_median": round(statistics.median(shares), 4),
        "everything_chosen": sum(one.everything for one in done),
        "choose_seconds_median": round(statistics.median(one.seconds for one in done), 3),
    }
    if peer is not None and peer.chosen:
        found["testmon_missed_tests"] = len(peer.missed)
        found["testmon_broken_changes"] = peer.broken
        found["testmon_chosen_share_mean"] = round(statistics.mean(peer.chosen), 4)
        found["testmon_chosen_share_median"] = round(statistics.median(peer.chosen), 4)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder of git repositories")
    parser.add_argument("--commits", type=int, default=15, help="commits of each repository")
    parser.add_argument("--changes", nargs="+", choices=CHANGES, default=list(CHANGES), help="what to judge")
    parser.add_argument("--peer", type=Path, help="an environment with pytest and pytest-testmon")
    parser.add_argument("--smoke", action="store_true", help="a small repository made here; some seconds")
    parser.add_argument("--json", action="store_true", help="end with one line of figures")
    options = parser.parse_args()
    if not options.smoke and options.data is None:
        parser.error("give --data, or --smoke")
    peer = Peer(options.peer / "bin" / "python") if options.peer else None
    with tempfile.TemporaryDirectory(prefix="affected-") as place:
        small = [("small", make_repository(Path(place)))] if options.smoke else []
        repositories = small or find_repositories(options.data)
        if not repositories:
            sys.exit(f"{options.data} holds no git repository.")
        done = anyio.run(measure, repositories, options.commits, options.changes, peer)
    if not done:
        sys.exit("No commit changes code.")
    found = figures(done, peer)
    for name, value in found.items():
        print(f"{name:<28}{value:>10}")
    for test in peer.missed if peer is not None else ():
        print(f"testmon missed {test}")
    if options.json:
        print(json.dumps({"figures": found}))


if __name__ == "__main__":
    main()
