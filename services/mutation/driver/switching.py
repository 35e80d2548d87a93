"""Judging by switch: a forked child throws a mutant's switch and runs the tests that reach it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from quantum_suite.services.mutation.driver.children import Children, Ending, Note, passed
from quantum_suite.services.mutation.driver.compiled import Variant
from quantum_suite.services.mutation.driver.guarded_tree import GuardedTree
from quantum_suite.services.mutation.driver.loading import Switchboard
from quantum_suite.services.mutation.driver.model import Site
from quantum_suite.services.mutation.driver.precedence import Precedence
from quantum_suite.services.mutation.driver.running import Budget, Runner
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

_TRIES = 2
_MOST_NAMED = 5_000


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


class SwitchJudge:
    """Judges mutants until `deadline`, and then doubts the tests that killed them."""

    def __init__(
        self,
        board: Switchboard,
        tree: GuardedTree,
        children: Children,
        wire: Wire,
        runner: Runner,
        budget: Budget,
        precedence: Precedence,
        names: Sequence[str],
        deadline: float,
        anew_instead: Callable[[Site], dict[str, Any]],
    ) -> None:
        """`names` are the tests' ids by number; `anew_instead` makes a job for who judges by importing anew."""
        self.board = board
        self.tree = tree
        self.children = children
        self.wire = wire
        self.runner = runner
        self.budget = budget
        self.precedence = precedence
        self.names = names
        self._deadline = deadline
        self._anew_instead = anew_instead
        self.anew: list[dict[str, Any]] = []
        """Jobs for what could not be switched on."""
        self.stopped = False
        """Whether the time was over before everybody was judged."""
        self.pending: deque[Job] = deque()
        self.recent: list[Job] = []
        self.killed_by: dict[int, list[Site]] = {}
        self.killed_once: set[int] = set()
        """Tests that killed in a child of its own, and were not repeated there."""
        self.record = Record()
        self.strands_pay = True
        self.once: set[int] = set()
        """Tests that could not be run twice in one process."""

    def judge(self, jobs: Iterable[Job]) -> None:
        """Judge until nobody is left or the time is over; what cannot be switched on goes to `anew`."""
        self.pending = pending = deque(jobs)
        while pending or self.children.running:
            if self._is_late():
                self.stopped = True
                self._end()
                return
            while pending and self._may_start(pending[0]):
                if strand := self._strand():
                    self._start_strand(strand)
                else:
                    self._start(pending.popleft())
            for ending in self.children.wait():
                if isinstance(ending.subject, Strand):
                    self._take_strand(ending)
                else:
                    self._take(ending)

    def _may_start(self, job: Job) -> bool:
        running = self.children.running
        if job.alone or any(child.subject.alone for child in running):
            return not running
        return self.children.has_place

    def _start(self, job: Job) -> None:
        site = job.site
        if job.variant is None:
            job.variant = self.board.file_of[site].variant(site)
        loaded = self.board.is_loaded(site)
        if loaded and job.variant is None:
            self.anew.append(self._anew_instead(site))
            return
        job.order = self.precedence.order(job.site, job.excluded)
        if job.passed:
            # Those it has met and passed are not likely to notice it now.
            job.order = [*job.order[MOST_TESTS:], *job.order[:MOST_TESTS]]
        self.wire.say("begin", id=site.id)
        self.children.start(job, lambda note: self._child(job, loaded, note), self.budget.wall(job.order[0]))

    def _strand(self) -> list[Job]:
        """Take those from the front that can be looked at one after the other in one child."""
        jobs: list[Job] = []
        pending = self.pending
        most = min(MOST_MUTANTS, -(-len(pending) // self.children.places))
        while pending and len(jobs) < most and self._may_be_looked_at(pending[0]):
            jobs.append(pending.popleft())
        return jobs

    def _may_be_looked_at(self, job: Job) -> bool:
        apart = job.looked or job.alone or job.excluded or job.tries
        return self.strands_pay and not apart and self.board.is_loaded(job.site)

    def _start_strand(self, jobs: list[Job]) -> None:
        for job in jobs:
            job.variant = self.board.file_of[job.site].variant(job.site)
            self.wire.say("begin", id=job.site.id)
        strand = Strand(jobs)
        look = QuickLook(self.board, self.runner, self.budget, self.precedence, self.once)
        first = self.precedence.order(jobs[0].site)[0]
        self.children.start(strand, lambda note: look.at(strand, note), self.budget.wall(first))

    def _take_strand(self, ending: Ending) -> None:
        """Take what was proven, and have the others judged each in a child of its own."""
        strand: Strand = ending.subject
        waiting, seen = strand.parted()
        if not seen:
            waiting[0].looked = True
        self.pending.extendleft(reversed(waiting))
        jobs = [job for job, _ in seen]
        if self._tampered(jobs, ()):
            return
        if strand.tainted:
            self._again(jobs)
            return
        self._take_seen(seen)
        self.strands_pay = self.record.note(outcome.seen for _, outcome in seen)

    def _end(self) -> None:
        """The time is over: take what strands have proven, and end everybody."""
        strands = [child.subject for child in self.children.running if isinstance(child.subject, Strand)]
        self.children.end()
        if not self.tree.restore():
            for strand in strands:
                self._take_seen(strand.parted()[1])

    def _take_seen(self, seen: Sequence[tuple[Job, Outcome]]) -> None:
        for job, outcome in seen:
            if outcome.seen is Seen.KILLED:
                self.precedence.killed(job.site, outcome.test)
                self.killed_by.setdefault(outcome.test, []).append(job.site)
                killer = self.names[outcome.test]
                self._say(job.site, "killed", killed_by=killer, tests_run=outcome.ran, because="")
            elif outcome.seen is Seen.CANNOT:
                self.anew.append(self._anew_instead(job.site))
            else:
                if outcome.seen is Seen.UNPROVEN:
                    self.once.add(outcome.test)
                job.looked, job.passed = True, outcome.seen is Seen.PASSED
                self.pending.append(job)

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

    def _take(self, ending: Ending) -> None:
        job: Job = ending.subject
        if self._tampered([job], [job]):
            return
        if job.tainted and job.tries < _TRIES:
            job.tainted = False
            self._again([job])
            job.alone = job.tries == _TRIES
            return
        if ending.answer is not None and ("cannot" in ending.answer or "error" in ending.answer):
            self.anew.append(self._anew_instead(job.site))
            return
        self._verdict(job, ending)

    def _tampered(self, judged: Sequence[Job], culprits: Sequence[Job]) -> bool:
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
        self._again(again)
        return any(job in again for job in judged)

    def _again(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            job.tries += 1
            self.pending.append(job)

    def _verdict(self, job: Job, ending: Ending) -> None:
        site, answer = job.site, ending.answer
        if answer is not None and answer["failed"] is None:
            verdict = "flaky" if job.excluded else "survived"
            self._say(site, verdict, tests_run=answer["ran"], reaching=job.order[:_MOST_NAMED])
            return
        step = max(ending.step, 0)
        if answer is not None:
            killer = answer["failed"]
            step = next((i for i in job.order if self.names[i] == killer), step)
        verdict = "timeout" if ending.how == "timeout" else "killed"
        self.precedence.killed(job.site, step)
        if verdict == "killed" and answer is not None:
            self.killed_by.setdefault(step, []).append(site)
            self.killed_once.add(step)
        ran = answer["ran"] if answer is not None else job.order.index(step) + 1 if step in job.order else 1
        because = "" if ending.how in ("answered", "timeout") else f"{ending.how} {ending.signal}".strip()
        self._say(site, verdict, killed_by=self.names[step], tests_run=ran, because=because)

    def _say(self, site: Site, verdict: str, **fields: Any) -> None:
        self.wire.say("result", id=site.id, verdict=verdict, **fields)

    # Doubting the killers

    def doubt(self) -> None:
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
                self.wire.say("unstable", tests=[self.names[i] for i in sorted(unstable)])
            again: deque[Job] = deque()
            for index in sorted(unstable | direct):
                for site in self.killed_by.pop(index):
                    job = Job(site, [], None, excluded=frozenset(excluded))
                    if self.precedence.order(site, job.excluded):
                        again.append(job)
                    else:
                        self._say(site, "flaky", killed_by=self.names[index])
            self.judge(again)

    def _unstable(self, doubtful: set[int]) -> set[int]:
        """Return which tests fail alone on unmutated code."""
        waiting = deque(sorted(doubtful))
        unstable: set[int] = set()
        while (waiting and not self._is_late()) or self.children.running:
            while waiting and self.children.has_place:
                index = waiting.popleft()
                wall = self.budget.wall(index)
                self.children.start(index, partial(self._pass_by_itself, index=index, seconds=wall), wall)
            unstable.update(ending.subject for ending in self.children.wait() if not passed(ending))
        return unstable

    def _pass_by_itself(self, note: Note, index: int, seconds: float) -> dict[str, Any]:
        self.runner.prepare()
        return self.runner.run([index], lambda *_: note.write(index, seconds))

    def _is_late(self) -> bool:
        return time.monotonic() > self._deadline
