"""Looking at several mutants in one child, one after the other: most of them fail the first test they meet.

To fork a process takes longer than such a test. What is seen here counts only where it proves itself: a test that
fails with the mutant has to pass without it, twice, at once and in the same process. Who is not noticed by the few
tests of this look, or is not judged cleanly, is judged in a child of its own, with nobody before it.
"""

from __future__ import annotations

import enum
import itertools
import mmap
import time
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from quantum_suite.services.mutation.driver.children import Note
from quantum_suite.services.mutation.driver.loading import Switchboard
from quantum_suite.services.mutation.driver.precedence import Precedence
from quantum_suite.services.mutation.driver.running import Budget, Runner

MOST_MUTANTS = 24
"""How many mutants one child looks at."""
_SECONDS = 0.4
"""When a child begins no further one: what lies behind it weighs on the next, and the others wait for work."""
MOST_TESTS = 10
"""How many tests a mutant meets there."""
_CPU_SPARE = 0.1


class Seen(enum.IntEnum):
    """What came of a mutant."""

    NOTHING = 0
    """It was not looked at."""
    UNDER_WAY = 1
    PASSED = 2
    """The tests of this look did not notice it."""
    UNPROVEN = 3
    """The test that failed with it failed without it, too."""
    CANNOT = 4
    """It cannot be switched on."""
    KILLED = 5


@dataclass(frozen=True)
class Outcome:
    """What came of one mutant, and the test that said so."""

    seen: Seen
    test: int = -1
    ran: int = 0


class Strand:
    """Some mutants that are neighbours, and memory shared with the child that looks at them."""

    alone = False
    """Others may run beside it."""

    def __init__(self, jobs: Sequence[Any]) -> None:
        """`jobs` have a `site` and a `variant`."""
        self.jobs = list(jobs)
        self.tainted = False
        """Whether files of the project were other than they should be meanwhile."""
        self._memory = memoryview(mmap.mmap(-1, 24 * len(self.jobs))).cast("q")

    def write(self, place: int, outcome: Outcome) -> None:
        """Note, in the child, what came of a mutant; how the child ends does not matter then."""
        self._memory[3 * place + 1], self._memory[3 * place + 2] = outcome.test, outcome.ran
        self._memory[3 * place] = outcome.seen

    def parted(self) -> tuple[list[Any], list[tuple[Any, Outcome]]]:
        """Return the jobs that were not begun, and the others with what came of each."""
        told = self._memory
        outcomes = [
            (job, Outcome(Seen(told[3 * place]), told[3 * place + 1], told[3 * place + 2]))
            for place, job in enumerate(self.jobs)
        ]
        waiting = [job for job, outcome in outcomes if outcome.seen is Seen.NOTHING]
        return waiting, [pair for pair in outcomes if pair[1].seen is not Seen.NOTHING]


class Record:
    """Whether strands are worth their while: not where tests leave something behind that others meet."""

    _ENOUGH = 24
    _WORST_SHARE = 0.25

    def __init__(self) -> None:
        self._seen: Counter[Seen] = Counter()

    def note(self, seen: Iterable[Seen]) -> bool:
        """Take in what came of some mutants; returns whether to go on."""
        self._seen.update(seen)
        total = self._seen.total()
        lost = self._seen[Seen.UNPROVEN] + self._seen[Seen.UNDER_WAY]
        return total < self._ENOUGH or lost <= self._WORST_SHARE * total


@dataclass(frozen=True)
class QuickLook:
    """What a child does with a strand."""

    board: Switchboard
    runner: Runner
    budget: Budget
    precedence: Precedence
    once: Container[int]
    """Tests that cannot be run twice in one process."""

    def at(self, strand: Strand, note: Note) -> dict[str, Any]:
        """Look at one after the other until the time is over, or one left something behind."""
        self.runner.prepare()
        until = time.monotonic() + _SECONDS
        for place, job in enumerate(strand.jobs):
            if time.monotonic() > until:
                break
            strand.write(place, Outcome(Seen.UNDER_WAY))
            outcome = self._one(job, note)
            strand.write(place, outcome)
            if outcome.seen is Seen.UNPROVEN:
                break
            if outcome.seen is Seen.KILLED:
                self.precedence.killed(job.site, outcome.test)
        return {"failed": None}

    def light(self, job: Any) -> list[int]:
        """Return the tests of this look: the first ones that take no time and can be repeated."""
        usable = (i for i in self.precedence.order(job.site) if i not in self.once and not self.budget.weight(i))
        return list(itertools.islice(usable, MOST_TESTS))

    def _one(self, job: Any, note: Note) -> Outcome:
        if job.variant is None or not self.board.switch_on(job.site, job.variant):
            return Outcome(Seen.CANNOT)
        tests = self.light(job)
        place = next((place for place, test in enumerate(tests) if self._fails(test, note)), None)
        self.board.switch_off(job.site, job.variant)
        if place is None:
            return Outcome(Seen.PASSED)
        # Twice: there are tests that fail every other time.
        stands = not any(self._fails(tests[place], note) for _ in range(2))
        seen = Seen.KILLED if stands else Seen.UNPROVEN
        return Outcome(seen, tests[place], place + 1)

    def _fails(self, test: int, note: Note) -> bool:
        def begin(_: int, index: int) -> None:
            note.write(index, self.budget.wall(index))
            self.budget.arm(index, spare=_CPU_SPARE)

        # By itself: whatever fixtures it has are made for it and ended with it.
        return self.runner.run([test], begin)["failed"] is not None
