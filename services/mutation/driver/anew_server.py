"""The process that judges by importing anew: a pytest that has not imported the project.

Its children are forked where it is about to collect or, where a conftest imports the project, before conftests are
read. Where the project is here even earlier, each child starts a pytest of its own.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from quantum_suite.services.mutation.driver.anew import Anew, AnewJudge, Onward, Place
from quantum_suite.services.mutation.driver.anew_work import AnewWork, Known
from quantum_suite.services.mutation.driver.children import Children
from quantum_suite.services.mutation.driver.forked import Told
from quantum_suite.services.mutation.driver.guarded_tree import GuardedTree
from quantum_suite.services.mutation.driver.loading import Switchboard
from quantum_suite.services.mutation.driver.model import Site
from quantum_suite.services.mutation.driver.running import compile_once, import_once, quiet
from quantum_suite.services.mutation.driver.wire import Wire


class AnewServer:
    """A pytest plugin that takes the place of collecting."""

    def __init__(
        self,
        board: Switchboard,
        tree: GuardedTree,
        children: Children,
        wire: Wire,
        told: Told,
        sites: Mapping[str, Site],
        *,
        deadline: float,
        arguments: Sequence[str],
        narrow: bool,
    ) -> None:
        """`told` says what is around the project, once that is known, and then what is to be done.

        `sites` are all mutants by their ids, `arguments` what pytest is called with; `narrow` says whether these
        leave the paths open.
        """
        self.board = board
        self.tree = tree
        self.children = children
        self.wire = wire
        self.sites = sites
        self.deadline = deadline
        self._told = told
        self._arguments = arguments
        self._narrow = narrow
        self._surroundings: dict[str, Any] = {}
        self._onward: Onward | None = None

    def serve_alone(self) -> None:
        """Judge without a pytest of its own."""
        self._look_around()
        self._serve(Place.NOWHERE)

    def serve_in_pytest(self) -> None:
        """Start pytest, and judge where the project has not been imported: before the conftests, or after."""
        try:
            pytest.main(list(self._arguments), plugins=[self])
        finally:
            if self._onward is not None:
                # With the mutant, pytest does not come to collecting.
                self._onward.reply.give(lambda _: {"failed": "import", "ran": 0})
        self._look_around()
        self._leave_it()

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_load_initial_conftests(self) -> Iterator[None]:
        """Judge before the conftests, where one of them imports the project. Children come out here and go on."""
        if self._look_around()["early"] and self._has_clean_slate():
            try:
                self._serve(Place.BEFORE_CONFTESTS)
            except Onward as onward:
                self._onward = onward
            else:
                os._exit(0)
        yield

    @pytest.hookimpl
    def pytest_collection(self, session: Any) -> None:
        """Serve instead of collecting, unless the project is already here; in a child, do its work."""
        with quiet(session):
            if self._onward is not None:
                self._work.session = session
                self._onward.reply.give(self._onward.work)
            if self._has_clean_slate():
                self._serve(Place.COLLECTING, session)
            else:
                self._leave_it()
        os._exit(0)

    def _look_around(self) -> dict[str, Any]:
        """Wait for what is known about the project's surroundings. Who does not learn it is not needed."""
        if not self._surroundings:
            self._surroundings = self._told.next() or os._exit(0)
        return self._surroundings

    def _has_clean_slate(self) -> bool:
        """Whether the project has not been imported, even after everything else was that the tests need."""
        if not self.board.given:
            import_once(self._surroundings["foreign"])
        return not self.board.given

    def _leave_it(self) -> None:
        """Say that this is not the place to import the project anew from, if there is anything to do."""
        if self._told.next():
            self.wire.say("without")

    def _serve(self, place: Place, session: Any = None) -> None:
        self.board.prepare_anew()
        told = self._told.next()
        self._told.close()
        if not told:
            return
        if place is not Place.NOWHERE:
            import_once(told["imported"])
        compile_once(told["patterns"])
        known = Known(told["tests"], told["collecting"])
        jobs = [Anew(self.sites[job["id"]], job["why"], job["first"], job["tests"]) for job in told["jobs"]]
        self._work = AnewWork(self.board, known, self._arguments, narrow=self._narrow)
        self._work.session = session
        judge = AnewJudge(self._work, place, self.tree, self.children, self.wire, jobs, self.deadline)
        gc.collect()
        gc.freeze()
        judge.judge()
        if judge.elsewhere and not judge.jobs:
            self.wire.say("without")
        else:
            self.wire.say("served", stopped=bool(judge.jobs))
