"""What is remembered of a project between runs: its files in parts, its tests, and who reached what."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from quantum_suite.services.testing.code_blocks import Body, FileCode, read_code
from quantum_suite.services.testing.interface import OUTSIDE_TESTS, CaseOutcome, TestRun

_NEVER = {"node_modules", "venv", "site-packages", "__pycache__", "build", "dist"}
_LARGEST_FILE = 2_000_000


@dataclass(slots=True)
class KnownFile:
    """A Python file as it was when it was last run, and who reached which line."""

    digest: str
    code: FileCode
    reach: dict[int, set[str]] = field(default_factory=dict)


@dataclass(slots=True)
class KnownTest:
    """A test, how it last went, and whether something it reaches has changed since."""

    outcome: CaseOutcome
    stale: str = ""
    """Why it should have run again; empty when it did."""

    @property
    def settled(self) -> bool:
        """Whether it ran to its end and passed (or was not to run)."""
        return self.outcome in ("passed", "skipped", "xfailed") and not self.stale


@dataclass(slots=True)
class KnownProject:
    """Everything known of one project."""

    files: dict[str, KnownFile] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)
    """Files that are no Python, with their digests."""
    tests: dict[str, KnownTest] = field(default_factory=dict)
    opened: dict[str, set[str]] = field(default_factory=dict)
    far: set[str] = field(default_factory=set)


def file_of(test: str) -> str:
    """Return the file a test is in."""
    return test.split("::")[0]


def project_files(root: Path) -> Iterator[str]:
    """Yield the files of a project that count, as paths below it."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _NEVER and not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if not path.is_symlink() and path.is_file() and not name.endswith(".pyc"):
                yield path.relative_to(root).as_posix()


def digest_of(path: Path) -> str:
    """Return the digest of a file's content; empty when it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:24]
    except OSError:
        return ""


def read_project(root: Path, before: KnownProject | None = None) -> KnownProject:
    """Return the files of a project as they are; what has not changed since `before` is not parsed again."""
    found = KnownProject()
    for path in project_files(root):
        digest = digest_of(root / path)
        if not path.endswith(".py"):
            found.others[path] = digest
            continue
        known = before.files.get(path) if before is not None else None
        if known is not None and known.digest == digest:
            found.files[path] = KnownFile(digest, known.code)
        else:
            source = (root / path).read_bytes()
            code = read_code(source) if len(source) <= _LARGEST_FILE else FileCode(rest=digest, readable=False)
            found.files[path] = KnownFile(digest, code)
    return found


def take_in(before: KnownProject, now: KnownProject, run: TestRun, stale: Mapping[str, str]) -> KnownProject:
    """Return what is known after a run: its tests replaced, the others kept with their lines moved along.

    `stale` names the tests that a change since `before` concerns; those the run left out stay to be run.
    """
    ran = {case.id: case for case in run.cases if case.outcome != "not_run" and "::" in case.id}
    kept = {test: known for test, known in before.tests.items() if test not in ran and _exists(test, now)}
    for path, file in now.files.items():
        old = before.files.get(path)
        if old is not None:
            file.reach = _moved(old, file, keep=kept.keys() | {OUTSIDE_TESTS})
    for measured in run.coverage:
        into = now.files.get(measured.path)
        if into is not None:
            for line, tests in measured.contexts.items():
                into.reach.setdefault(line, set()).update(t for t in tests if t in ran or t == OUTSIDE_TESTS)
    now.opened = _merged_opened(before, run, kept.keys() | {OUTSIDE_TESTS})
    now.far = {test for test in before.far if test in kept} | {test for test in run.far if test in ran}
    now.tests = {
        test: KnownTest(known.outcome, stale.get(test) or known.stale) for test, known in kept.items()
    } | {test: KnownTest(case.outcome) for test, case in ran.items()}
    return now


def _merged_opened(before: KnownProject, run: TestRun, keep: set[str]) -> dict[str, set[str]]:
    opened: dict[str, set[str]] = defaultdict(set)
    for path, tests in before.opened.items():
        opened[path] |= tests & keep
    for path, found in run.opened.items():
        opened[path] |= found
    return {path: tests for path, tests in opened.items() if tests}


def _exists(test: str, now: KnownProject) -> bool:
    file = now.files.get(file_of(test))
    return file is not None and still_there(test, file.code)


def still_there(test: str, code: FileCode) -> bool:
    """Whether a test may still be in its file. Methods of a class with bases may come from those."""
    if not code.readable:
        return True
    parts = test.split("[", 1)[0].split("::")[1:]
    if not parts or code.rest_names & {parts[0]}:
        return True
    top = code.definitions.get(parts[0])
    # A name that is bound under a condition is not among the definitions: its body is.
    return top is not None or any(name.split("@")[0] == parts[-1] for name in code.bodies)


def _moved(old: KnownFile, new: KnownFile, keep: set[str]) -> dict[int, set[str]]:
    """Return who reached which line, in the lines of the new version: function by function."""
    if old.digest == new.digest:
        return {line: tests & keep for line, tests in old.reach.items() if tests & keep}
    moved: dict[int, set[str]] = defaultdict(set)
    inside: set[int] = set()
    for name, body in old.code.bodies.items():
        lines = range(body.first, body.last + 1)
        inside.update(lines)
        into = new.code.bodies.get(name)
        if into is None:
            continue
        for line in lines:
            tests = old.reach.get(line, set()) & keep
            if tests:
                for target in _targets(line, body, into):
                    moved[target] |= tests
    outside = {test for line, tests in old.reach.items() if line not in inside for test in tests & keep}
    if outside:
        moved[1] |= outside
    return dict(moved)


def _targets(line: int, old: Body, new: Body) -> range:
    if old.digest == new.digest and old.last - old.first == new.last - new.first:
        return range(line - old.first + new.first, line - old.first + new.first + 1)
    # Where lines cannot be matched, the whole body is taken to be reached.
    return range(new.first, new.last + 1)
