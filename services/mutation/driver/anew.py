"""Judging what runs at import: a child imports the project and its tests anew, with the mutant in the source.

The children are forked from a pytest that has read its settings and plugins and is about to collect. Where a
conftest has imported the project by then, each child starts a pytest of its own.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import pytest

from quantum_suite.services.mutation.driver.children import Children, Ending
from quantum_suite.services.mutation.driver.guarded_tree import GuardedTree
from quantum_suite.services.mutation.driver.loading import Switchboard
from quantum_suite.services.mutation.driver.model import Site
from quantum_suite.services.mutation.driver.running import Budget, Runner, Watcher, arm, quiet
from quantum_suite.services.mutation.driver.wire import Wire


class Selection:
    """A plugin that puts likely killers first, and keeps the tests chosen."""

    def __init__(self, first: Sequence[str], tests: Sequence[str] | None) -> None:
        self._first = {name: rank for rank, name in enumerate(first)}
        self._tests = set(tests) if tests is not None else None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Keep what was chosen; everything, when names changed with the mutant."""
        if self._tests is not None and self._tests <= {item.nodeid for item in items}:
            items[:] = [item for item in items if item.nodeid in self._tests]
        items.sort(key=lambda item: self._first.get(item.nodeid, len(self._first)))


class AnewServer:
    """A pytest plugin that takes the place of collecting."""

    def __init__(
        self,
        jobs: deque[tuple[dict[str, Any], Site]],
        board: Switchboard,
        tree: GuardedTree,
        children: Children,
        wire: Wire,
        *,
        deadline: float,
        collecting: float,
        foreign: Sequence[str],
        narrow: bool,
    ) -> None:
        self.jobs = jobs
        self.board = board
        self.tree = tree
        self.children = children
        self.wire = wire
        self.deadline = deadline
        self.collecting = collecting
        self.foreign = foreign
        self.narrow = narrow
        self.arguments: list[str] = []

    @pytest.hookimpl
    def pytest_collection(self, session: Any) -> bool | None:
        """Serve instead of collecting, unless the project is already here."""
        if not self.board.given:
            self._import_foreign()
        if self.board.given:
            return None
        gc.collect()
        gc.freeze()
        with quiet(session):
            self.serve(session)
        self.wire.say("served", stopped=bool(self.jobs))
        os._exit(0)

    def _import_foreign(self) -> None:
        """Import once here what each child would import. What cannot be is left to the project."""
        for name in self.foreign:
            with contextlib.suppress(Exception):
                importlib.import_module(name)

    def serve(self, session: Any | None) -> None:
        """Judge the jobs; without a session each child starts its own."""
        while self.jobs or self.children.running:
            if time.monotonic() > self.deadline:
                self.children.end()
                return
            while self.jobs and len(self.children.running) < self.children.places:
                self._start(*self.jobs.popleft(), session)
            for ending in self.children.wait():
                self.wire.say("result", **_fields(ending))
                self.tree.restore()

    def _start(self, job: dict[str, Any], site: Site, session: Any | None) -> None:
        expected = self.collecting + job["seconds"]
        self.wire.say("begin", id=site.id)
        wall = 3 * Budget.WALL_SPARE + Budget.WALL_TIMES * expected
        self.children.start(job, lambda _: self._work(job, site, session, expected), wall)

    def _work(self, job: dict[str, Any], site: Site, session: Any | None, expected: float) -> dict[str, Any]:
        arm(3.0 + Budget.CPU_TIMES * expected)
        self.board.active = site
        watcher, selection = Watcher(brief=True), Selection(job["first"], job["tests"])
        paths = job["paths"] if self.narrow and job["paths"] else []
        if session is None:
            alone = _Alone(watcher)
            pytest.main([*self.arguments, *paths], plugins=[watcher, selection, alone])
            return alone.answer
        session.config.pluginmanager.register(watcher)
        session.config.pluginmanager.register(selection)
        runner = Runner(session, watcher)
        runner.prepare()
        return _collect_and_run(session, watcher, paths)


class _Alone:
    """A pytest plugin that runs the tests and keeps the answer."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self.answer: dict[str, Any] = {"failed": "import", "ran": 0}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: Any) -> bool | None:
        if session.testsfailed:
            return None
        self.answer = _run(session, self._watcher)
        return True


def _collect_and_run(session: Any, watcher: Watcher, paths: Sequence[str]) -> dict[str, Any]:
    try:
        session.perform_collect(list(paths) or None)
    except BaseException as error:  # whatever ends collecting is noticed
        return {"failed": "import", "ran": 0, "because": type(error).__name__}
    if session.testsfailed:
        return {"failed": "import", "ran": 0}
    return _run(session, watcher)


def _run(session: Any, watcher: Watcher) -> dict[str, Any]:
    runner = Runner(session, watcher)
    return runner.run(range(len(runner.items)), lambda *_: None)


def _fields(ending: Ending) -> dict[str, Any]:
    """Return the fields of a result."""
    job, answer = ending.subject, ending.answer
    if answer is not None and "error" in answer:
        answer = {"failed": "import", "ran": 0, "because": answer["error"]}
    fields: dict[str, Any] = {"id": job["id"], "anew": job["why"]}
    if answer is not None:
        fields |= {"killed_by": answer["failed"], "tests_run": answer["ran"]}
        verdict = "killed" if answer["failed"] else "survived"
    else:
        verdict = "timeout" if ending.how == "timeout" else "killed"
        fields |= {"killed_by": "import", "tests_run": 0, "because": f"{ending.how} {ending.signal}".strip()}
    told_apart = job["why"] == "import_time"
    return {**fields, "verdict": "import_time" if told_apart else verdict, "noticed": verdict != "survived"}
