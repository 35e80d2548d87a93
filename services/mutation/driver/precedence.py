"""Which tests a mutant meets, and in which order: those first that are likely to notice it soon."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from quantum_suite.services.mutation.driver.model import Site, Unit
from quantum_suite.services.mutation.driver.running import Budget, Runner

_LIKELY = 6
_LIGHT_SECONDS = 0.01


class Precedence:
    """What the first run showed of the tests, and which of them have killed what since."""

    def __init__(self, tests: Sequence[Mapping[str, Any]], budget: Budget, runner: Runner) -> None:
        """Numbers of tests are their places in `tests`."""
        self._budget = budget
        self._runner = runner
        self._reached_by: dict[int, list[int]] = {}
        self._reach_size = [len(test["reached"]) for test in tests]
        self._kills: dict[Unit | None, Counter[int]] = {}
        self.usable = [index for index, test in enumerate(tests) if not test["skipped"] and not test["aside"]]
        """Tests that can notice anything."""
        for index in self.usable:
            for number in tests[index]["reached"]:
                self._reached_by.setdefault(number, []).append(index)

    def reaching(self, site: Site) -> list[int]:
        """Return the tests that reach the statement of a mutant, or the function that it is about."""
        if site.statement is not None:
            return self._reached_by.get(site.statement, [])
        numbers = site.about.statements if site.about is not None else ()
        return sorted({index for number in numbers for index in self._reached_by.get(number, ())})

    def killed(self, site: Site, test: int) -> None:
        """Note which test killed a mutant: its neighbours meet it first."""
        self._kills.setdefault(site.unit or site.about, Counter())[test] += 1

    def likely(self, site: Site, tests: Iterable[int]) -> list[int]:
        """Return a few of `tests`, those first that killed neighbours, then those that reach least else."""
        kills = self._kills.get(site.unit or site.about) or Counter()
        return heapq.nsmallest(_LIKELY, tests, key=lambda test: self._promise(test, kills))

    def order(self, site: Site, without: Collection[int] = ()) -> list[int]:
        """Return all that reach a mutant: the likely ones, then the others, quick ones before slow ones."""
        tests = [test for test in self.reaching(site) if test not in without]
        likely = self.likely(site, tests)
        first = set(likely)
        rest = (test for test in tests if test not in first)
        return likely + sorted(rest, key=lambda test: self._runner.patience(test, test, self._budget))

    def _promise(self, test: int, kills: Counter[int]) -> tuple[float, int, int, float]:
        """Sort tests by what they killed nearby for the time they take, then by how little else they reach."""
        cost = self._budget.cost(test)
        worth = kills[test] / (_LIGHT_SECONDS + cost)
        return -worth, self._budget.weight(test), self._reach_size[test], cost
