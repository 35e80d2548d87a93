"""Judging what runs at import: a child imports the project and its tests anew, with the mutant in the source.

A mutant meets first, in a child of its own, the few tests that noticed its neighbours: only their functions are
collected. Who passes there meets all tests. A kill stands once its test has passed without the mutant, collected
the same way.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from quantum_suite.services.mutation.driver.anew_work import AnewWork
from quantum_suite.services.mutation.driver.children import Children, Ending, Note, Reply, passed
from quantum_suite.services.mutation.driver.guarded_tree import GuardedTree
from quantum_suite.services.mutation.driver.model import Site
from quantum_suite.services.mutation.driver.wire import Wire

_LIKELY = 6
_HELD = 40
_TRIES = 1


class Place(Enum):
    """Where in pytest children are forked."""

    COLLECTING = "about to collect"
    """Settings, plugins and conftests are read."""
    BEFORE_CONFTESTS = "before the conftests"
    """One of them imports the project: each child reads them, and then collects."""
    NOWHERE = "nowhere"
    """A plugin imports the project: each child starts a pytest of its own."""


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


class Onward(BaseException):
    """Raised in a child that is to go on where the judge was called from, and to answer with `work` later."""

    def __init__(self, reply: Reply, work: Callable[[Note], Any]) -> None:
        super().__init__()
        self.reply = reply
        self.work = work


class AnewJudge:
    """Judges mutants by importing anew."""

    def __init__(
        self,
        work: AnewWork,
        place: Place,
        tree: GuardedTree,
        children: Children,
        wire: Wire,
        jobs: Sequence[Anew],
        deadline: float,
    ) -> None:
        self.work = work
        self.place = place
        self.tree = tree
        self.children = children
        self.wire = wire
        self.jobs = _spread(jobs, children.places)
        self.deadline = deadline
        self.kills: list[tuple[Site, int]] = []
        self.held: list[_Held] = []
        self.proofs: deque[list[_Held]] = deque()
        self.elsewhere = False
        """Whether some are to be judged by a pytest of their own: that here tests fail proves nothing."""

    def judge(self) -> None:
        """Judge the jobs; some may be left when the time is over."""
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
        job.in_order = job.in_order or self.place is Place.NOWHERE
        job.whole = job.whole or job.in_order or not job.near
        self.wire.say("begin", id=job.site.id)
        self._child(job, job.site, lambda note: self._work(job, note))

    def _work(self, job: Anew, note: Note) -> dict[str, Any]:
        if job.whole:
            return self.work.run_all(job.site, job.tests, note, in_order=job.in_order)
        return self.work.run_few(job.site, job.near or [], note)

    def _child(self, subject: Any, site: Site | None, work: Callable[[Note], Any]) -> None:
        """Start a child. Before the conftests it has to go on with pytest until it can do its work."""
        if self.place is not Place.BEFORE_CONFTESTS:
            self.children.start(subject, work, self.work.importing_wall)
            return
        reply = self.children.fork(subject, self.work.importing_wall)
        if reply is not None:
            self.work.prepare(site)
            raise Onward(reply, work)

    def _near(self, job: Anew) -> list[int]:
        """Return what noticed the closest of those judged so far, then what is near by itself."""
        file_of = self.work.board.file_of
        here = [
            (abs(site.start - job.site.start), index)
            for site, index in self.kills
            if file_of[site] is file_of[job.site]
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
        killer = self.work.number.get(fields["killed_by"] or "")
        if killer is not None:
            self.kills.append((job.site, killer))
        tests = (killer,) if killer is not None else tuple(job.near or ())
        if job.in_order or not fields["noticed"] or (not tests and self.place is Place.COLLECTING):
            self.wire.say("result", **fields)
            return
        self.wire.say("held", id=job.site.id)
        if tests:
            self.held.append(_Held(job, fields, tests))
        else:
            self.elsewhere = True

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
            at = self.work.tests[ending.step]["id"] if ending.step >= 0 else "import"
            fields |= {"killed_by": at, "tests_run": 0, "because": f"{ending.how} {ending.signal}".strip()}
        told_apart = job.why == "import_time"
        return {**fields, "verdict": "import_time" if told_apart else verdict, "noticed": verdict != "survived"}

    # Doubting the killers

    def _by_files(self, held: Sequence[_Held]) -> list[list[_Held]]:
        """Part them by the files of their tests: a file may change what another one meets."""
        groups: dict[frozenset[str], list[_Held]] = {}
        for one in held:
            groups.setdefault(frozenset(self.work.tests[index]["path"] for index in one.tests), []).append(one)
        return list(groups.values())

    def _prove(self, held: list[_Held]) -> None:
        """Run what killed, collected as it was then, on unmutated code."""
        indexes = list(dict.fromkeys(index for one in held for index in one.tests))
        self._child(held, None, lambda note: self.work.run_each(indexes, note))

    def _proven(self, ending: Ending) -> None:
        """Who fails on unmutated code has proven nothing, and its mutants meet all tests in order."""
        passing = set(ending.answer["passing"]) if passed(ending) else set()
        for one in ending.subject:
            if passing.issuperset(one.tests):
                self.wire.say("result", **one.fields)
            elif self.place is Place.BEFORE_CONFTESTS:
                self.elsewhere = True
            else:
                one.job.in_order = True
                self.jobs.append(one.job)


def _spread(jobs: Sequence[Anew], places: int) -> deque[Anew]:
    """Have those that are judged at one time lie far from each other: each learns from what its neighbours met."""
    size = -(-len(jobs) // max(1, places))
    strands = [jobs[start : start + size] for start in range(0, len(jobs), size or 1)]
    return deque(strand[place] for place in range(size) for strand in strands if place < len(strand))
