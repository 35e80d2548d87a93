"""Judging what runs at import: a child imports the project and its tests anew, with the mutant in the source.

The children are forked from a pytest that has read its settings and plugins and is about to collect. Where a
conftest has imported the project by then, each child starts a pytest of its own.

A mutant meets first, in a child of its own, the few tests that noticed its neighbours: only their functions are
collected. Who passes there meets all tests.
"""

from __future__ import annotations

import gc
import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from quantum_suite.services.mutation.driver.children import Children, Ending, Note, passed
from quantum_suite.services.mutation.driver.guarded_tree import GuardedTree
from quantum_suite.services.mutation.driver.loading import Switchboard
from quantum_suite.services.mutation.driver.model import Site
from quantum_suite.services.mutation.driver.narrowing import Narrowing
from quantum_suite.services.mutation.driver.running import (
    Budget,
    Runner,
    Watcher,
    arm,
    import_once,
    prepare,
    quiet,
)
from quantum_suite.services.mutation.driver.wire import Wire

_LIKELY = 6
_HELD = 40
_TRIES = 1
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


@dataclass(eq=False)
class Anew:
    """A mutant to judge."""

    site: Site
    why: str
    first: list[int]
    """Numbers of the tests that are near it."""
    tests: list[int] | None
    """Numbers of those that can notice it; None for all."""
    near: list[int] | None = None
    """Those it meets first; None before they are chosen."""
    whole: bool = False
    """It passed them: it meets all, heavy ones last."""
    in_order: bool = False
    """It is to meet all as they were collected: they depend on each other."""
    tainted: bool = False
    tries: int = 0


@dataclass(frozen=True)
class _Held:
    """A mutant that few tests noticed, until it is proven that they pass without it."""

    job: Anew
    fields: dict[str, Any]
    tests: tuple[int, ...]


@dataclass(frozen=True)
class Known:
    """What the server that has run the tests knows."""

    tests: Sequence[Mapping[str, Any]]
    collecting: float
    """Seconds from importing the project to the end of collecting."""


class AnewServer:
    """A pytest plugin that takes the place of collecting."""

    def __init__(
        self,
        board: Switchboard,
        tree: GuardedTree,
        children: Children,
        wire: Wire,
        jobs: Callable[[], tuple[Known, list[Anew]]],
        *,
        deadline: float,
        foreign: Sequence[str],
        narrow: bool,
    ) -> None:
        """`jobs` waits for what is to be done."""
        self.board = board
        self.tree = tree
        self.children = children
        self.wire = wire
        self._given = jobs
        self.deadline = deadline
        self.foreign = foreign
        self.narrow = narrow
        self.arguments: list[str] = []
        self.jobs: deque[Anew] = deque()
        self.kills: list[tuple[Site, int]] = []
        self.held: list[_Held] = []
        self.proofs: deque[list[_Held]] = deque()

    @pytest.hookimpl
    def pytest_collection(self, session: Any) -> bool | None:
        """Serve instead of collecting, unless the project is already here."""
        if not self.board.given:
            import_once(self.foreign)
        if self.board.given:
            return None
        with quiet(session):
            self.serve(session)
        self.wire.say("served", stopped=bool(self.jobs))
        os._exit(0)

    def serve(self, session: Any | None) -> None:
        """Judge the jobs; without a session each child starts its own."""
        self.session = session
        self.board.prepare_anew()
        known, jobs = self._given()
        if not jobs:
            return
        self.tests, self.collecting = known.tests, known.collecting
        self.number = {test["id"]: index for index, test in enumerate(self.tests)}
        self.budget = Budget(self.tests)
        self.jobs = _spread(jobs, self.children.places)
        gc.collect()
        gc.freeze()
        self._judge()

    def _judge(self) -> None:
        while self.jobs or self.proofs or self.held or self.children.running:
            late = time.monotonic() > self.deadline
            if late:
                self._end_jobs()
            if self.held and (late or not self.jobs or len(self.held) >= _HELD):
                self.proofs.extend(self._by_files(self.held))
                self.held = []
            while (self.proofs or (self.jobs and not late)) and self.children.has_place:
                if self.proofs:
                    self._prove(self.proofs.popleft())
                else:
                    self._start(self.jobs.popleft())
            for ending in self.children.wait():
                if isinstance(ending.subject, Anew):
                    self._take(ending)
                else:
                    self._proven(ending)
            if late and not (self.proofs or self.held or self.children.running):
                return

    def _end_jobs(self) -> None:
        """The time is over: what has been found is still to be proven."""
        if any(isinstance(child.subject, Anew) for child in self.children.running):
            self.proofs.extend(child.subject for child in self.children.running if isinstance(child.subject, list))
            self.jobs.extend(child.subject for child in self.children.running if isinstance(child.subject, Anew))
            self.children.end()

    def _start(self, job: Anew) -> None:
        if job.near is None:
            job.near = self._near(job)
        job.in_order = job.in_order or self.session is None
        job.whole = job.whole or job.in_order or not job.near
        self.wire.say("begin", id=job.site.id)
        self.children.start(job, lambda note: self._work(job, note), self._importing_wall())

    def _importing_wall(self) -> float:
        return 3 * Budget.WALL_SPARE + Budget.WALL_TIMES * self.collecting

    def _near(self, job: Anew) -> list[int]:
        """Return what noticed the closest of those judged so far, then what is near by itself."""
        file = self.board.file_of[job.site]
        here = [
            (abs(site.start - job.site.start), i) for site, i in self.kills if self.board.file_of[site] is file
        ]
        ranked = [index for _, index in sorted(here)] + job.first
        possible = None if job.tests is None else set(job.tests)
        return [index for index in dict.fromkeys(ranked) if possible is None or index in possible][:_LIKELY]

    def _take(self, ending: Ending) -> None:
        job: Anew = ending.subject
        if self.tree.restore():
            # Whoever ran meanwhile may have met files that were not the project's.
            for child in self.children.running:
                if isinstance(child.subject, Anew):
                    child.subject.tainted = True
        if job.tainted and job.tries < _TRIES:
            job.tainted, job.tries = False, job.tries + 1
            self.jobs.append(job)
            return
        if not job.whole and passed(ending):
            job.whole = True
            self.jobs.appendleft(job)
            return
        fields = self._fields(job, ending)
        killer = self.number.get(fields["killed_by"] or "")
        if killer is not None:
            self.kills.append((job.site, killer))
        if job.in_order or (job.whole and killer is None):
            self.wire.say("result", **fields)
        else:
            self.wire.say("held", id=job.site.id)
            self.held.append(_Held(job, fields, (killer,) if killer is not None else tuple(job.near or ())))

    def _fields(self, job: Anew, ending: Ending) -> dict[str, Any]:
        """Return the fields of a result."""
        answer = ending.answer
        if answer is not None and "error" in answer:
            answer = {"failed": "import", "ran": 0, "because": answer["error"]}
        fields: dict[str, Any] = {"id": job.site.id, "anew": job.why}
        if answer is not None:
            fields |= {"killed_by": answer["failed"], "tests_run": answer["ran"]}
            verdict = "killed" if answer["failed"] else "survived"
        else:
            verdict = "timeout" if ending.how == "timeout" else "killed"
            at = self.tests[ending.step]["id"] if ending.step >= 0 else "import"
            fields |= {"killed_by": at, "tests_run": 0, "because": f"{ending.how} {ending.signal}".strip()}
        told_apart = job.why == "import_time"
        return {**fields, "verdict": "import_time" if told_apart else verdict, "noticed": verdict != "survived"}

    # Doubting the killers

    def _by_files(self, held: Sequence[_Held]) -> list[list[_Held]]:
        """Part them by the files of their tests: a file may change what another one meets."""
        groups: dict[frozenset[str], list[_Held]] = {}
        for one in held:
            groups.setdefault(frozenset(self.tests[index]["path"] for index in one.tests), []).append(one)
        return list(groups.values())

    def _prove(self, held: list[_Held]) -> None:
        """Run what killed, collected as it was then, on unmutated code."""
        indexes = list(dict.fromkeys(index for one in held for index in one.tests))
        names = [self.tests[index]["id"] for index in indexes]
        self.children.start(held, lambda note: self._run_each(names, indexes, note), self._importing_wall())

    def _proven(self, ending: Ending) -> None:
        """Who fails on unmutated code has proven nothing, and its mutants meet all tests in order."""
        passing = set(ending.answer["passing"]) if passed(ending) else set()
        for one in ending.subject:
            if passing.issuperset(one.tests):
                self.wire.say("result", **one.fields)
            else:
                one.job.in_order = True
                self.jobs.append(one.job)

    # In a child

    def _work(self, job: Anew, note: Note) -> dict[str, Any]:
        indexes = job.near or []
        names = [self.tests[index]["id"] for index in indexes]
        return self._run_all(job, note) if job.whole else self._run_few(job.site, names, indexes, note)

    def _run_few(self, site: Site, names: Sequence[str], indexes: Sequence[int], note: Note) -> dict[str, Any]:
        failed, watcher = self._collect_few(site, names, indexes)
        return failed or self._run(self.session, watcher, note)

    def _run_each(self, names: Sequence[str], indexes: Sequence[int], note: Note) -> dict[str, Any]:
        """Run each test alone, in a process forked for it, on unmutated code; say which pass."""
        failed, watcher = self._collect_few(None, names, indexes)
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

    def _collect_few(
        self, site: Site | None, names: Sequence[str], indexes: Sequence[int]
    ) -> tuple[dict[str, Any] | None, Watcher]:
        self.board.active = site
        session, watcher = self.session, Watcher(brief=True)
        assert session is not None
        self._arm_import()
        session.config.pluginmanager.register(watcher)
        prepare(session, brief=True)
        paths = sorted({self.tests[index]["path"] for index in indexes})
        with Narrowing(names).active(session):
            failed = _collected(session, paths)
        return failed, watcher

    def _run_all(self, job: Anew, note: Note) -> dict[str, Any]:
        self.board.active = job.site
        self._arm_import()
        chosen = None if job.tests is None else [self.tests[index]["id"] for index in job.tests]
        paths = sorted({self.tests[index]["path"] for index in job.tests}) if job.tests and self.narrow else []
        session, watcher, selection = self.session, Watcher(brief=True), Selection(chosen)
        if session is None:
            alone = _Alone(lambda session: self._run(session, watcher, note, certain=True))
            pytest.main([*self.arguments, *paths], plugins=[watcher, selection, alone])
            return alone.answer
        session.config.pluginmanager.register(watcher)
        session.config.pluginmanager.register(selection)
        prepare(session, brief=True)
        failed = _collected(session, paths)
        return failed or self._run(session, watcher, note, certain=True, in_order=job.in_order)

    def _arm_import(self) -> None:
        arm(_IMPORT_CPU_SPARE + Budget.CPU_TIMES * self.collecting)

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
        return True


def _spread(jobs: Sequence[Anew], places: int) -> deque[Anew]:
    """Have those that are judged at one time lie far from each other: each learns from what its neighbours met."""
    size = -(-len(jobs) // max(1, places))
    strands = [jobs[start : start + size] for start in range(0, len(jobs), size or 1)]
    return deque(strand[place] for place in range(size) for strand in strands if place < len(strand))


def _collected(session: Any, paths: Sequence[str]) -> dict[str, Any] | None:
    """Collect; returns the answer when that does not go well."""
    try:
        session.perform_collect(list(paths) or None)
    except BaseException as error:  # whatever ends collecting is noticed
        return {"failed": "import", "ran": 0, "because": type(error).__name__}
    return {"failed": "import", "ran": 0} if session.testsfailed else None
