"""Judging what runs at import: a child imports the project and its tests anew, with the mutant in the source."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import Any

import pytest

from quantum_suite.services.mutation.driver import loading
from quantum_suite.services.mutation.driver.children import Children, Ending
from quantum_suite.services.mutation.driver.loading import Switchboard
from quantum_suite.services.mutation.driver.model import Site
from quantum_suite.services.mutation.driver.running import Budget, Runner, Watcher


class Selection:
    """A plugin that runs chosen tests, likely killers first, until one fails."""

    def __init__(self, first: Sequence[str], tests: Sequence[str] | None, watcher: Watcher) -> None:
        self._first = {name: rank for rank, name in enumerate(first)}
        self._tests = set(tests) if tests is not None else None
        self._watcher = watcher
        self.answer: dict[str, Any] | None = None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Keep what was chosen; everything, when names changed with the mutant."""
        if self._tests is not None and self._tests <= {item.nodeid for item in items}:
            items[:] = [item for item in items if item.nodeid in self._tests]
        items.sort(key=lambda item: self._first.get(item.nodeid, len(self._first)))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: Any) -> bool | None:
        """Run them."""
        if session.testsfailed:
            return None
        runner = Runner(session, self._watcher)
        self.answer = runner.run(range(len(runner.items)), lambda *_: None)
        return True


class Anew:
    """Starts such children, and reads their answers."""

    def __init__(
        self, board: Switchboard, arguments: Sequence[str], tests: Sequence[str], collecting: float
    ) -> None:
        self._board = board
        self._arguments = list(arguments)
        self._narrow = not tests
        self._collecting = collecting

    def start(self, children: Children, job: dict[str, Any], site: Site) -> None:
        """Start a child for one mutant."""
        expected = self._collecting + job["seconds"]
        children.start(job, lambda _: self._work(job, site, expected), 3 * Budget.WALL_SPARE + 20 * expected)

    def _work(self, job: dict[str, Any], site: Site, expected: float) -> dict[str, Any]:
        signal.setitimer(signal.ITIMER_PROF, 3.0 + Budget.CPU_TIMES * expected)
        self._board.active, self._board.probing = site, False
        loading.install(self._board)
        watcher = Watcher(brief=True)
        selection = Selection(job["first"], job["tests"], watcher)
        paths = job["paths"] if self._narrow and job["paths"] else []
        code = pytest.main([*self._arguments, *paths], plugins=[watcher, selection])
        return selection.answer or {"failed": "import", "ran": 0, "code": int(code)}

    def verdict(self, ending: Ending) -> dict[str, Any]:
        """Return the fields of a result."""
        job, answer = ending.subject, ending.answer
        told_apart = job["why"] == "import_time"
        fields: dict[str, Any] = {"id": job["id"], "anew": job["why"], "killed_by": None, "tests_run": 0}
        if answer is not None:
            fields |= {"killed_by": answer["failed"], "tests_run": answer["ran"]}
            verdict = "killed" if answer["failed"] else "survived"
        else:
            verdict = "timeout" if ending.how == "timeout" else "killed"
            fields |= {"killed_by": "import or a test: " + ending.how, "because": f"{ending.how} {ending.signal}"}
        return {**fields, "verdict": "import_time" if told_apart else verdict, "noticed": verdict != "survived"}



