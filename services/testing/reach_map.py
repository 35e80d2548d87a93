"""The map of which test reaches what, kept in memory or in SQLite."""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.to_thread

from quantum_suite.services.testing.affected_tests import decide
from quantum_suite.services.testing.code_blocks import Body, Definition, FileCode
from quantum_suite.services.testing.interface import Affected, CaseOutcome, TestRun
from quantum_suite.services.testing.known_project import (
    KnownFile,
    KnownProject,
    KnownTest,
    read_project,
    take_in,
)


class MemoryReachMap:
    """Keeps the map for as long as the process lives; see `ReachMap`."""

    def __init__(self) -> None:
        self._projects: dict[str, KnownProject] = {}
        self._lock = anyio.Lock()

    async def update(self, root: Path, run: TestRun, source: Path | None = None) -> None:
        """Take in a run; see `ReachMap.update`."""
        async with self._lock:
            before = await self._load(root)
            await self._save(root, await anyio.to_thread.run_sync(_updated, before, run, source or root))

    async def affected(
        self, root: Path, changed: Mapping[str, frozenset[int] | None], source: Path | None = None
    ) -> Affected:
        """Return the tests concerned; see `ReachMap.affected`."""
        known = await self._load(root)
        now = await anyio.to_thread.run_sync(read_project, source or root, known)
        return await anyio.to_thread.run_sync(decide, known, now, changed)

    async def changed_since(self, root: Path, source: Path | None = None) -> dict[str, frozenset[int] | None]:
        """Return the files whose content is not the one the map knows; see `ReachMap.changed_since`."""
        known = await self._load(root)
        now = await anyio.to_thread.run_sync(read_project, source or root, known)
        return _changes(known, now)

    async def tests_reaching(self, root: Path, path: str) -> Mapping[int, frozenset[str]]:
        """Return line -> test ids; see `ReachMap.tests_reaching`."""
        file = (await self._load(root)).files.get(path)
        return {line: frozenset(tests) for line, tests in sorted(file.reach.items())} if file is not None else {}

    async def known_tests(self, root: Path) -> dict[str, CaseOutcome]:
        """Return the tests that are known, and how each last went."""
        return {test: known.outcome for test, known in (await self._load(root)).tests.items()}

    async def _load(self, root: Path) -> KnownProject:
        return self._projects.get(str(root)) or KnownProject()

    async def _save(self, root: Path, project: KnownProject) -> None:
        self._projects[str(root)] = project


class SqliteReachMap(MemoryReachMap):
    """Keeps the map in one SQLite file, a project at a time, whole or not at all."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._file = directory / "reach.sqlite"

    async def _load(self, root: Path) -> KnownProject:
        return await anyio.to_thread.run_sync(self._read, str(root))

    async def _save(self, root: Path, project: KnownProject) -> None:
        await anyio.to_thread.run_sync(partial(self._write, str(root), project))

    def _connect(self) -> sqlite3.Connection:
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        connection = sqlite3.connect(self._file, timeout=30)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(_SCHEMA)
        return connection

    def _read(self, root: str) -> KnownProject:
        project = KnownProject()
        with closing(self._connect()) as connection, connection:
            names: dict[int, str] = {0: ""}
            for number, name, outcome, stale, far in connection.execute(
                "SELECT number, name, outcome, stale, far FROM tests WHERE root = ?", (root,)
            ):
                names[number] = name
                project.tests[name] = KnownTest(cast("CaseOutcome", outcome), stale)
                if far:
                    project.far.add(name)
            for path, digest, code, reach in connection.execute(
                "SELECT path, digest, code, reach FROM files WHERE root = ?", (root,)
            ):
                lines = {
                    int(line): {names[number] for number in numbers if number in names}
                    for line, numbers in json.loads(reach).items()
                }
                project.files[path] = KnownFile(digest, _code(json.loads(code)), lines)
            for path, digest, opened in connection.execute(
                "SELECT path, digest, opened FROM others WHERE root = ?", (root,)
            ):
                if digest:
                    project.others[path] = digest
                if readers := {names[number] for number in json.loads(opened) if number in names}:
                    project.opened[path] = readers
        return project

    def _write(self, root: str, project: KnownProject) -> None:
        numbers = {"": 0, **{name: number for number, name in enumerate(project.tests, 1)}}
        with closing(self._connect()) as connection, connection:
            for table in ("tests", "files", "others"):
                connection.execute(f"DELETE FROM {table} WHERE root = ?", (root,))  # noqa: S608 - a fixed name
            connection.executemany(
                "INSERT INTO tests VALUES (?, ?, ?, ?, ?, ?)",
                (
                    (root, numbers[name], name, test.outcome, test.stale, int(name in project.far))
                    for name, test in project.tests.items()
                ),
            )
            connection.executemany(
                "INSERT INTO files VALUES (?, ?, ?, ?, ?)",
                (
                    (root, path, file.digest, json.dumps(_plain(file.code)), json.dumps(_numbered(file, numbers)))
                    for path, file in project.files.items()
                ),
            )
            connection.executemany(
                "INSERT INTO others VALUES (?, ?, ?, ?)",
                (
                    (
                        root,
                        path,
                        project.others.get(path, ""),
                        json.dumps(sorted(numbers[t] for t in project.opened.get(path, ()) if t in numbers)),
                    )
                    for path in project.others.keys() | project.opened.keys()
                ),
            )


_SCHEMA = """
CREATE TABLE IF NOT EXISTS tests (root, number INTEGER, name, outcome, stale, far, PRIMARY KEY (root, number));
CREATE TABLE IF NOT EXISTS files (root, path, digest, code, reach, PRIMARY KEY (root, path));
CREATE TABLE IF NOT EXISTS others (root, path, digest, opened, PRIMARY KEY (root, path));
"""


def _updated(before: KnownProject, run: TestRun, source: Path) -> KnownProject:
    now = read_project(source, before)
    changed = _changes(before, now)
    stale: Mapping[str, str] = {}
    if changed and before.tests:
        stale = decide(before, now, changed).reasons
    return take_in(before, now, run, stale)


def _changes(known: KnownProject, now: KnownProject) -> dict[str, frozenset[int] | None]:
    changed: dict[str, frozenset[int] | None] = {}
    for path in known.files.keys() | now.files.keys():
        old, new = known.files.get(path), now.files.get(path)
        if old is None or new is None or old.digest != new.digest:
            changed[path] = None
    for path in known.others.keys() | now.others.keys():
        if known.others.get(path) != now.others.get(path):
            changed[path] = None
    return changed


def _numbered(file: KnownFile, numbers: Mapping[str, int]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = defaultdict(list)
    for line, tests in file.reach.items():
        found[line] = sorted(numbers[test] for test in tests if test in numbers)
    return {line: tests for line, tests in found.items() if tests}


def _plain(code: FileCode) -> dict[str, Any]:
    return {
        "bodies": [{**asdict(body), "key": key, "names": sorted(body.names)} for key, body in code.bodies.items()],
        "definitions": {
            name: [each.digest, sorted(each.names), sorted(each.means), each.safe]
            for name, each in code.definitions.items()
        },
        "rest": code.rest,
        "rest_names": sorted(code.rest_names),
        "imports": sorted(code.imports),
        "readable": code.readable,
    }


def _code(plain: dict[str, Any]) -> FileCode:
    return FileCode(
        bodies={
            body["key"]: Body(body["name"], body["first"], body["last"], body["digest"], frozenset(body["names"]))
            for body in plain["bodies"]
        },
        definitions={
            name: Definition(digest, frozenset(names), frozenset(means), safe)
            for name, (digest, names, means, safe) in plain["definitions"].items()
        },
        rest=plain["rest"],
        rest_names=frozenset(plain["rest_names"]),
        imports=frozenset((level, name) for level, name in plain["imports"]),
        readable=plain["readable"],
    )
