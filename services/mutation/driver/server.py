"""The process that has imported the project and collected its tests, and forks a child for each mutant."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from quantum_suite.services.mutation.driver.children import Children, Ending, Note, passed
from quantum_suite.services.mutation.driver.compiled import Variant
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
from quantum_suite.services.mutation.driver.strands import (
    MOST_MUTANTS,
    MOST_TESTS,
    Outcome,
    QuickLook,
    Record,
    Seen,
    Strand,
)
from quantum_suite.services.mutation.driver.wire import Wire

_ASIDE = 10
_TRIES = 2
_MOST_NAMED = 5_000
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


@dataclass(eq=False)
class Job:
    """A mutant to judge in a child."""

    site: Site
    order: list[int]
    variant: Variant | None
    alone: bool = False
    looked: bool = False
    """It was looked at among others, and is to have a child of its own."""
    passed: bool = False
    """What it met then did not notice it."""
    tries: int = 0
    tainted: bool = False
    excluded: frozenset[int] = frozenset()


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
        self.killed_by: dict[int, list[Site]] = {}
        self.killed_once: set[int] = set()
        """Tests that killed in a child of its own, and were not repeated there."""
        self.equivalent: dict[Site, bool] = {}
        self.recent: list[Job] = []
        self.stopped = False
        self.record = Record()
        self.once: set[int] = set()
        """Tests that could not be run twice in one process."""
        self.strands_pay = True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: Any) -> bool | None:
        """Serve instead of running; with collection errors pytest says them itself."""
        if session.testsfailed or not session.items:
            return None
        with quiet(session):
            self._serve(session)
        return True

    def _serve(self, session: Any) -> None:
        self.collecting = time.monotonic() - self.started
        self.runner = Runner(session, self.watcher)
        self.at_import = set(self.board.reached)
        # Whoever judges by importing anew can make itself ready meanwhile.
        self.wire.say("collected", foreign=_foreign_modules(self.tree.root))
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
        self._judge(pending, anew)
        if not self.stopped:
            self._doubt(anew)
        self.wire.say("anew", jobs=anew, collecting=self.collecting)
        self.wire.say(
            "served", stopped=self.stopped, children_cpu=self.children.cpu_seconds, own_cpu=time.process_time()
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
        self.tests = tests
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
                self._say(site, "equivalent")
                continue
            if site.unit is None and not self._is_default(site, good):
                anew.append(self._anew(site, "import_time", self._callers(site)))
            elif site.unit is not None and site.statement in self.at_import:
                anew.append(self._anew(site, "called at import", None))
            elif not self.precedence.reaching(site):
                self._say(site, "no_coverage")
            elif site.unit is not None and self._is_loaded(site) and site.unit not in good:
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

    # Judging by switch

    def _judge(self, pending: deque[Job], anew: list[dict[str, Any]]) -> None:
        while pending or self.children.running:
            if time.monotonic() > self.plan.deadline:
                self.stopped = True
                self._end(pending, anew)
                return
            while pending and self._may_start(pending[0]):
                if strand := self._strand(pending):
                    self._start_strand(strand)
                else:
                    self._start(pending.popleft(), anew)
            for ending in self.children.wait():
                if isinstance(ending.subject, Strand):
                    self._take_strand(ending, pending, anew)
                else:
                    self._take(ending, pending, anew)

    def _may_start(self, job: Job) -> bool:
        running = self.children.running
        if job.alone or any(child.subject.alone for child in running):
            return not running
        return self.children.has_place

    def _start(self, job: Job, anew: list[dict[str, Any]]) -> None:
        site = job.site
        if job.variant is None:
            job.variant = self.board.file_of[site].variant(site)
        loaded = self._is_loaded(site)
        if loaded and job.variant is None:
            anew.append(self._anew_instead(site))
            return
        job.order = self.precedence.order(job.site, job.excluded)
        if job.passed:
            # Those it has met and passed are not likely to notice it now.
            job.order = [*job.order[MOST_TESTS:], *job.order[:MOST_TESTS]]
        self.wire.say("begin", id=site.id)
        self.children.start(job, lambda note: self._child(job, loaded, note), self.budget.wall(job.order[0]))

    def _strand(self, pending: deque[Job]) -> list[Job]:
        """Take those from the front that can be looked at one after the other in one child."""
        jobs: list[Job] = []
        most = min(MOST_MUTANTS, -(-len(pending) // self.children.places))
        while pending and len(jobs) < most and self._may_be_looked_at(pending[0]):
            jobs.append(pending.popleft())
        return jobs

    def _may_be_looked_at(self, job: Job) -> bool:
        apart = job.looked or job.alone or job.excluded or job.tries
        return self.strands_pay and not apart and self._is_loaded(job.site)

    def _start_strand(self, jobs: list[Job]) -> None:
        for job in jobs:
            job.variant = self.board.file_of[job.site].variant(job.site)
            self.wire.say("begin", id=job.site.id)
        strand = Strand(jobs)
        look = QuickLook(self.board, self.runner, self.budget, self.precedence, self.once)
        first = self.precedence.order(jobs[0].site)[0]
        self.children.start(strand, lambda note: look.at(strand, note), self.budget.wall(first))

    def _take_strand(self, ending: Ending, pending: deque[Job], anew: list[dict[str, Any]]) -> None:
        """Take what was proven, and have the others judged each in a child of its own."""
        strand: Strand = ending.subject
        waiting, seen = strand.parted()
        if not seen:
            waiting[0].looked = True
        pending.extendleft(reversed(waiting))
        jobs = [job for job, _ in seen]
        if self._tampered(jobs, (), pending):
            return
        if strand.tainted:
            self._again(jobs, pending)
            return
        self._take_seen(seen, pending, anew)
        self.strands_pay = self.record.note(outcome.seen for _, outcome in seen)

    def _end(self, pending: deque[Job], anew: list[dict[str, Any]]) -> None:
        """The time is over: take what strands have proven, and end everybody."""
        strands = [child.subject for child in self.children.running if isinstance(child.subject, Strand)]
        self.children.end()
        if not self.tree.restore():
            for strand in strands:
                self._take_seen(strand.parted()[1], pending, anew)

    def _take_seen(
        self, seen: Sequence[tuple[Job, Outcome]], pending: deque[Job], anew: list[dict[str, Any]]
    ) -> None:
        for job, outcome in seen:
            if outcome.seen is Seen.KILLED:
                self.precedence.killed(job.site, outcome.test)
                self.killed_by.setdefault(outcome.test, []).append(job.site)
                killer = self.tests[outcome.test]["id"]
                self._say(job.site, "killed", killed_by=killer, tests_run=outcome.ran, because="")
            elif outcome.seen is Seen.CANNOT:
                anew.append(self._anew_instead(job.site))
            else:
                if outcome.seen is Seen.UNPROVEN:
                    self.once.add(outcome.test)
                job.looked, job.passed = True, outcome.seen is Seen.PASSED
                pending.append(job)

    def _is_loaded(self, site: Site) -> bool:
        return self.board.file_of[site].filename in self.board.loaded

    def _child(self, job: Job, loaded: bool, note: Note) -> dict[str, Any]:
        if not loaded:
            self.board.active = job.site
        elif job.variant is None or not self.board.switch_on(job.site, job.variant):
            return {"cannot": True}
        self.runner.prepare()

        def begin(_: int, index: int) -> None:
            note.write(index, self.budget.wall(index))
            self.budget.arm(index)

        return self.runner.run(job.order, begin)

    def _take(self, ending: Ending, pending: deque[Job], anew: list[dict[str, Any]]) -> None:
        job: Job = ending.subject
        if self._tampered([job], [job], pending):
            return
        if job.tainted and job.tries < _TRIES:
            job.tainted = False
            self._again([job], pending)
            job.alone = job.tries == _TRIES
            return
        if ending.answer is not None and ("cannot" in ending.answer or "error" in ending.answer):
            anew.append(self._anew_instead(job.site))
            return
        self._verdict(job, ending)

    def _tampered(self, judged: Sequence[Job], culprits: Sequence[Job], pending: deque[Job]) -> bool:
        """Put files back that were changed since the last look; whoever may have met them is judged again.

        Returns whether those just `judged` are among them; `culprits` are not if nobody else can have done it.
        """
        self.recent += judged
        if len(self.recent) < self.tree.every:
            return False
        recent, self.recent = self.recent, []
        if not self.tree.restore():
            return False
        certain = set(culprits) if len(recent) == 1 else set()
        self.tree.every = 1
        for child in self.children.running:
            child.subject.tainted = True
        again = [job for job in recent if job not in certain and job.tries < _TRIES]
        self._again(again, pending)
        return any(job in again for job in judged)

    def _again(self, jobs: Sequence[Job], pending: deque[Job]) -> None:
        for job in jobs:
            job.tries += 1
            pending.append(job)

    def _verdict(self, job: Job, ending: Ending) -> None:
        site, answer = job.site, ending.answer
        if answer is not None and answer["failed"] is None:
            verdict = "flaky" if job.excluded else "survived"
            self._say(site, verdict, tests_run=answer["ran"], reaching=job.order[:_MOST_NAMED])
            return
        step = max(ending.step, 0)
        if answer is not None:
            killer = answer["failed"]
            step = next((i for i in job.order if self.tests[i]["id"] == killer), step)
        verdict = "timeout" if ending.how == "timeout" else "killed"
        self.precedence.killed(job.site, step)
        if verdict == "killed" and answer is not None:
            self.killed_by.setdefault(step, []).append(site)
            self.killed_once.add(step)
        ran = answer["ran"] if answer is not None else job.order.index(step) + 1 if step in job.order else 1
        because = "" if ending.how in ("answered", "timeout") else f"{ending.how} {ending.signal}".strip()
        self._say(site, verdict, killed_by=self.tests[step]["id"], tests_run=ran, because=because)

    def _say(self, site: Site, verdict: str, **fields: Any) -> None:
        self.wire.say("result", id=site.id, verdict=verdict, **fields)

    # Doubting the killers

    def _doubt(self, anew: list[dict[str, Any]]) -> None:
        """Run every test that killed something alone on unmutated code; who fails there has proven nothing, and
        its mutants are judged again without it."""
        proven: set[int] = set()
        excluded: set[int] = set()
        while doubtful := set(self.killed_by) - proven:
            unstable = self._unstable(doubtful)
            # A second time, as those passed that killed among others: there are tests that fail every other time.
            unstable |= self._unstable((doubtful & self.killed_once) - unstable)
            proven |= doubtful
            direct = {index for index in unstable if self.runner.direct.call(index) is not None}
            for index in direct:
                self.runner.direct.forget(index)
            # Who passes when pytest runs it is left to pytest from here on, and kills as good as any.
            unstable -= direct - self._unstable(direct)
            excluded |= unstable
            if unstable:
                self.wire.say("unstable", tests=[self.tests[i]["id"] for i in sorted(unstable)])
            again: deque[Job] = deque()
            for index in sorted(unstable | direct):
                for site in self.killed_by.pop(index):
                    job = Job(site, [], None, excluded=frozenset(excluded))
                    if self.precedence.order(site, job.excluded):
                        again.append(job)
                    else:
                        self._say(site, "flaky", killed_by=self.tests[index]["id"])
            self._judge(again, anew)

    def _unstable(self, doubtful: set[int]) -> set[int]:
        """Return which tests fail alone on unmutated code."""
        waiting = deque(sorted(doubtful))
        unstable: set[int] = set()
        while (waiting and time.monotonic() < self.plan.deadline) or self.children.running:
            while waiting and self.children.has_place:
                index = waiting.popleft()
                wall = self.budget.wall(index)
                self.children.start(index, partial(self._run, order=[index], seconds=wall), wall)
            unstable.update(ending.subject for ending in self.children.wait() if not passed(ending))
        return unstable


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
