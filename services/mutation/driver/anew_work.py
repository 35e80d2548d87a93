"""What a child does that judges by importing anew: import the project and its tests, with a mutant in the source,
and run them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from quantum_suite.services.mutation.driver.children import Note
from quantum_suite.services.mutation.driver.loading import Switchboard
from quantum_suite.services.mutation.driver.model import Site
from quantum_suite.services.mutation.driver.narrowing import Narrowing
from quantum_suite.services.mutation.driver.running import Budget, Runner, Watcher, arm, prepare

_IMPORT_CPU_SPARE = 1.0


class Selection:
    """A plugin that keeps the tests chosen."""

    def __init__(self, tests: Sequence[str] | None) -> None:
        self._tests = set(tests) if tests is not None else None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Keep what was chosen; everything, when names changed with the mutant."""
        if self._tests is not None and self._tests <= {item.nodeid for item in items}:
            items[:] = [item for item in items if item.nodeid in self._tests]


@dataclass(frozen=True)
class Known:
    """What the server that has run the tests knows."""

    tests: Sequence[Mapping[str, Any]]
    collecting: float
    """Seconds from importing the project to the end of collecting."""


class AnewWork:
    """The work of children. They have a session that is about to collect, or none, and then start a pytest."""

    def __init__(self, board: Switchboard, known: Known, arguments: Sequence[str], *, narrow: bool) -> None:
        """`arguments` are what pytest is called with; `narrow` says whether they leave the paths open."""
        self.board = board
        self.tests = known.tests
        self.number = {test["id"]: index for index, test in enumerate(known.tests)}
        self.budget = Budget(known.tests)
        self.session: Any | None = None
        self._collecting = known.collecting
        self._arguments = arguments
        self._narrow = narrow

    @property
    def importing_wall(self) -> float:
        """Seconds within which the project has been imported and its tests collected."""
        return 3 * Budget.WALL_SPARE + Budget.WALL_TIMES * self._collecting

    def prepare(self, site: Site | None) -> None:
        """Make a mutant true for whatever is imported from here on, and bound the time that takes."""
        self.board.active = site
        arm(_IMPORT_CPU_SPARE + Budget.CPU_TIMES * self._collecting)

    def run_few(self, site: Site, indexes: Sequence[int], note: Note) -> dict[str, Any]:
        """Collect a few tests alone, and run them until one fails."""
        failed, watcher = self._collect_few(site, indexes)
        return failed or self._run(self.session, watcher, note)

    def run_each(self, indexes: Sequence[int], note: Note) -> dict[str, Any]:
        """Run each test alone, in a process forked for it, on unmutated code; say which pass."""
        failed, watcher = self._collect_few(None, indexes)
        if failed is not None:
            return failed
        runner = Runner(self.session, watcher)
        passing = []
        for place, item in enumerate(runner.items):
            index = self.number[item.nodeid]
            note.write(index, self.budget.wall(index))
            pid = os.fork()
            if not pid:
                try:
                    self.budget.arm(index)
                    answer = runner.run([place], lambda *_: None)
                    os._exit(0 if answer["failed"] is None else 1)
                finally:
                    os._exit(2)
            if os.waitpid(pid, 0)[1] == 0:
                passing.append(index)
        return {"failed": None, "ran": len(runner.items), "passing": passing}

    def run_all(self, site: Site, indexes: Sequence[int] | None, note: Note, *, in_order: bool) -> dict[str, Any]:
        """Collect and run all tests that can notice a mutant, None for every one; heavy ones last, or in order."""
        self.prepare(site)
        chosen = None if indexes is None else [self.tests[index]["id"] for index in indexes]
        paths = sorted({self.tests[index]["path"] for index in indexes}) if indexes and self._narrow else []
        session, watcher, selection = self.session, Watcher(brief=True), Selection(chosen)
        if session is None:
            alone = _Alone(lambda session: self._run(session, watcher, note, certain=True))
            pytest.main([*self._arguments, *paths], plugins=[watcher, selection, alone])
            return alone.answer
        session.config.pluginmanager.register(watcher)
        session.config.pluginmanager.register(selection)
        prepare(session, brief=True)
        failed = _collected(session, paths)
        return failed or self._run(session, watcher, note, certain=True, in_order=in_order)

    def _collect_few(self, site: Site | None, indexes: Sequence[int]) -> tuple[dict[str, Any] | None, Watcher]:
        session, watcher = self.session, Watcher(brief=True)
        assert session is not None
        self.prepare(site)
        session.config.pluginmanager.register(watcher)
        prepare(session, brief=True)
        paths = sorted({self.tests[index]["path"] for index in indexes})
        with Narrowing([self.tests[index]["id"] for index in indexes]).active(session):
            failed = _collected(session, paths)
        return failed, watcher

    def _run(
        self, session: Any, watcher: Watcher, note: Note, *, certain: bool = False, in_order: bool = True
    ) -> dict[str, Any]:
        runner = Runner(session, watcher)
        order = list(range(len(runner.items)))
        if not in_order:
            # Who came so far passed the likely ones; one whose name the mutant changed is as quick as any.
            numbers = [self.number.get(item.nodeid) for item in runner.items]
            order.sort(key=lambda place: runner.patience(place, numbers[place], self.budget))

        def begin(_: int, place: int) -> None:
            # One whose name the mutant changed may take as long as any.
            index = self.number.get(runner.items[place].nodeid, self.budget.longest)
            note.write(index, self.budget.wall(index))
            self.budget.arm(index)

        return runner.run(order, begin, certain=certain)


class _Alone:
    """A pytest plugin that runs the tests and keeps the answer."""

    def __init__(self, run: Callable[[Any], dict[str, Any]]) -> None:
        self._run = run
        self.answer: dict[str, Any] = {"failed": "import", "ran": 0}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: Any) -> bool | None:
        if session.testsfailed:
            return None
        self.answer = self._run(session)
        # What plugins do at the end is not the last test's.
        arm(0.0)
        return True


def _collected(session: Any, paths: Sequence[str]) -> dict[str, Any] | None:
    """Collect; returns the answer when that does not go well."""
    try:
        session.perform_collect(list(paths) or None)
    except BaseException as error:  # whatever ends collecting is noticed
        return {"failed": "import", "ran": 0, "because": type(error).__name__}
    return {"failed": "import", "ran": 0} if session.testsfailed else None
