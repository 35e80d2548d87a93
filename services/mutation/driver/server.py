"""The process that has imported the project and collected its tests, and forks a child for each mutant."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from quantum_suite.services.mutation.driver.children import Children, Ending, Note, passed
from quantum_suite.services.mutation.driver.guarded_tree import GuardedTree
from quantum_suite.services.mutation.driver.loading import Switchboard
from quantum_suite.services.mutation.driver.model import Site, Unit
from quantum_suite.services.mutation.driver.precedence import Precedence
from quantum_suite.services.mutation.driver.reach import first_run
from quantum_suite.services.mutation.driver.running import (
    Budget,
    Runner,
    Watcher,
    compile_once,
    import_once,
    known_patterns,
    quiet,
)
from quantum_suite.services.mutation.driver.switching import Job, SwitchJudge
from quantum_suite.services.mutation.driver.wire import Wire

_ASIDE = 10
_PAUSE_SECONDS = 0.02


@dataclass
class Plan:
    """What a server is to do; kept by the supervisor, so that another server can go on."""

    sites: list[Site]
    deadline: float
    suspects: list[str] = field(default_factory=list)
    """Mutants that were under way when a server ended: judged first and alone."""
    tests: list[dict[str, Any]] | None = None
    """What the first run showed."""
    imported: list[str] = field(default_factory=list)
    """Modules of the standard library that it brought in."""
    patterns: list[tuple[str, int]] = field(default_factory=list)
    """Regular expressions that it compiled, with their flags."""


class Server:
    """A pytest plugin that takes the place of running tests in order."""

    def __init__(
        self, plan: Plan, board: Switchboard, tree: GuardedTree, children: Children, wire: Wire, watcher: Watcher
    ) -> None:
        self.plan = plan
        self.board = board
        self.tree = tree
        self.children = children
        self.wire = wire
        self.watcher = watcher
        self.started = time.monotonic()
        self.equivalent: dict[Site, bool] = {}
        self.early = False
        """Whether the conftests have imported the project."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """Look whether the project is already here."""
        self.early = self.board.given

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: Any) -> bool | None:
        """Serve instead of running; with collection errors pytest says them itself."""
        if session.testsfailed or not session.items:
            return None
        with quiet(session):
            self._serve(session)
        # What pytest does at its end is for reports, and takes a second.
        os._exit(0)

    def _serve(self, session: Any) -> None:
        self.collecting = time.monotonic() - self.started
        self.runner = Runner(session, self.watcher)
        self.at_import = set(self.board.reached)
        # Whoever judges by importing anew can make itself ready meanwhile.
        self.wire.say("collected", foreign=_foreign_modules(self.tree.root), early=self.early)
        self.board.find_living()
        gc.collect()
        gc.freeze()
        tests = self.plan.tests or self._first_run()
        if tests is None:
            return
        self._know(tests)
        import_once(self.plan.imported)
        compile_once(self.plan.patterns)
        # From here on failures are what is hoped for, and nobody reads about them.
        self.watcher.brief = True
        for index in range(len(tests)):
            self.runner.direct.call(index)
        good = self.board.strip_probes()
        gc.freeze()
        pending, anew = self._sort(good)
        judge = self._judge(tests)
        judge.judge(pending)
        if not judge.stopped:
            judge.doubt()
        self.wire.say("anew", jobs=anew + judge.anew, collecting=self.collecting)
        self.wire.say(
            "served", stopped=judge.stopped, children_cpu=self.children.cpu_seconds, own_cpu=time.process_time()
        )

    def _judge(self, tests: Sequence[dict[str, Any]]) -> SwitchJudge:
        return SwitchJudge(
            self.board,
            self.tree,
            self.children,
            self.wire,
            self.runner,
            self.budget,
            self.precedence,
            [test["id"] for test in tests],
            self.plan.deadline,
            self._anew_instead,
        )

    # The first run

    def _first_run(self) -> list[dict[str, Any]] | None:
        """Run every test once on unmutated code; None when that says that mutants cannot be judged."""
        left = self.plan.deadline - time.monotonic()

        def work(note: Note) -> dict[str, Any]:
            self.runner.prepare()
            tests = first_run(self.runner, self.board.reached, note, left)
            return {"tests": tests, "imported": _standard_modules(), "patterns": known_patterns()}

        ending = self._alone("first run", work, self._compile_variants())
        if ending.answer is not None and "error" in ending.answer:
            self.wire.say("refused", reason=f"The tests could not be run: {ending.answer['error']}.", tests=[])
            return None
        if ending.answer is None:
            at = self.runner.items[ending.step].nodeid if ending.step >= 0 else "the start"
            why = (
                "took too long" if ending.how == "timeout" else f"ended the process ({ending.how} {ending.signal})"
            )
            self.wire.say("refused", reason=f"The tests do not pass on unmutated code: {at} {why}.", tests=[at])
            return None
        tests: list[dict[str, Any]] = ending.answer["tests"]
        self.plan.imported, self.plan.patterns = ending.answer["imported"], ending.answer["patterns"]
        failing = [index for index, test in enumerate(tests) if test["failed"]]
        if not all(test["skipped"] or test["failed"] for test in tests) and len(failing) <= _ASIDE:
            failing = [index for index in failing if not self._passes_alone(index)]
        if failing or all(test["skipped"] for test in tests):
            self._refuse(tests, failing)
            return None
        for test in tests:
            test["aside"] = test["failed"]
        written = self.tree.restore()
        self.tree.forget(written)
        if written:
            self.children.places = 1
        self.wire.say("warm", imported=self.plan.imported, patterns=self.plan.patterns)
        self.wire.say("tests", tests=tests, at_import=len(self.at_import), written=written[:20])
        return tests

    def _refuse(self, tests: list[dict[str, Any]], failing: list[int]) -> None:
        if not failing:
            self.wire.say("refused", reason="Every test is skipped: nothing can notice a mutant.", tests=[])
            return
        first = tests[failing[0]]
        self.wire.say(
            "refused",
            reason=f"{len(failing)} of {len(tests)} tests fail on unmutated code, first {first['id']}.",
            tests=[tests[index]["id"] for index in failing[:20]],
            message=first["message"],
        )

    def _passes_alone(self, index: int, times: int = 2) -> bool:
        endings = [self._alone("again", lambda note: self._run(note, [index], 30.0)) for _ in range(times)]
        return all(passed(ending) for ending in endings)

    def _alone(self, subject: str, work: Any, meanwhile: Iterator[None] | None = None) -> Ending:
        """Have one child answer; `meanwhile` is gone on with as long as it does not."""
        self.children.start(subject, work, max(1.0, self.plan.deadline - time.monotonic()))
        while True:
            pause = time.monotonic() + _PAUSE_SECONDS
            busy = meanwhile is not None
            while meanwhile is not None and busy and time.monotonic() < pause:
                busy = next(meanwhile, self) is None
            for ending in self.children.wait(0.0) if busy else self.children.wait():
                return ending

    def _compile_variants(self) -> Iterator[None]:
        """Compile every mutant of a function, one at a step: the first run keeps one processor busy, not two."""
        for site in self.plan.sites:
            file = self.board.file_of[site]
            self.equivalent[site] = file.is_equivalent(site)
            yield

    def _run(self, note: Note, order: Sequence[int], seconds: float) -> dict[str, Any]:
        self.runner.prepare()
        return self.runner.run(order, lambda _, index: note.write(index, seconds))

    # Sorting mutants by how they can be judged

    def _know(self, tests: list[dict[str, Any]]) -> None:
        self.budget = Budget(tests)
        self.precedence = Precedence(tests, self.budget, self.runner)

    def _sort(self, good: set[Unit]) -> tuple[deque[Job], list[dict[str, Any]]]:
        """Say what is known without running, and part the rest: by switch, or by importing anew."""
        pending: deque[Job] = deque()
        anew: list[dict[str, Any]] = []
        for site in self.plan.sites:
            if site not in self.equivalent:
                self.equivalent[site] = self.board.file_of[site].is_equivalent(site)
            if self.equivalent[site]:
                self.wire.say("result", id=site.id, verdict="equivalent")
                continue
            if site.unit is None and not self._is_default(site, good):
                anew.append(self._anew(site, "import_time", self._callers(site)))
            elif site.unit is not None and site.statement in self.at_import:
                anew.append(self._anew(site, "called at import", None))
            elif not self.precedence.reaching(site):
                self.wire.say("result", id=site.id, verdict="no_coverage")
            elif site.unit is not None and self.board.is_loaded(site) and site.unit not in good:
                anew.append(self._anew(site, "cannot be switched", self.precedence.reaching(site)))
            else:
                pending.append(Job(site, [], None, alone=site.id in self.plan.suspects))
        if self.plan.suspects:
            pending = deque(sorted(pending, key=lambda job: not job.alone))
        return pending, anew

    def _is_default(self, site: Site, good: set[Unit]) -> bool:
        """Whether a mutant is a default argument of a function that lives and was not called at import."""
        about = site.about
        return (
            about in good
            and bool(about.statements)
            and not self.at_import.intersection(about.statements)
            and self.board.file_of[site].variant(site) is not None
        )

    def _callers(self, site: Site) -> list[int] | None:
        """Return the tests that call the function whose default argument is changed; None for all tests."""
        about = site.about if site.operator == "default" else None
        if about is None or self.at_import.intersection(about.statements):
            return None
        return self.precedence.reaching(site)

    def _anew(self, site: Site, why: str, tests: list[int] | None) -> dict[str, Any]:
        usable = self.precedence.usable
        chosen = usable if tests is None else tests or usable[:1]
        first = self.precedence.likely(site, set(self.precedence.reaching(site)).intersection(chosen))
        return {"id": site.id, "why": why, "first": first, "tests": None if tests is None else chosen}

    def _anew_instead(self, site: Site) -> dict[str, Any]:
        """Have what cannot be switched on after all judged by importing anew."""
        return self._anew(
            site, "import_time" if site.unit is None else "cannot be switched", self.precedence.reaching(site)
        )


def _standard_modules() -> list[str]:
    """Return the modules of the standard library that are imported."""
    return [name for name in sys.modules if name.partition(".")[0] in sys.stdlib_module_names]


def _foreign_modules(root: str) -> list[str]:
    """Return the modules that the tests brought in and that are not the project's."""
    found = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if (
            file
            and not os.path.realpath(file).startswith(root + os.sep)
            and name == getattr(module, "__name__", "")
        ):
            found.append(name)
    return found
