"""Running collected tests one by one, as pytest would, cheaply and with an eye on each."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from quantum_suite.services.mutation.driver.direct import SKIPS, DirectCalls

_SKIPS = (*SKIPS, pytest.exit.Exception)


class Watcher:
    """A plugin that notes the first failure, and spares pytest to describe it where nobody reads it."""

    def __init__(self, *, brief: bool) -> None:
        self.brief = brief
        self.failed: str | None = None
        self.skipped = False
        self.message = ""

    @pytest.hookimpl
    def pytest_runtest_makereport(self, item: Any, call: Any) -> Any:
        """Report a plain failure without its traceback.

        Not `tryfirst`: pytest's own plugin for `unittest` comes first and puts the exception into `call`.
        """
        if not self.brief or call.excinfo is None or isinstance(call.excinfo.value, _SKIPS):
            return None
        return pytest.TestReport(
            nodeid=item.nodeid,
            location=item.location,
            keywords={},
            outcome="failed",
            longrepr=call.excinfo.typename,
            when=call.when,
            duration=call.duration,
            start=call.start,
            stop=call.stop,
        )

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: Any) -> None:
        """Have no differences between compared values worked out."""
        if self.brief:
            with contextlib.suppress(ImportError, AttributeError):
                # Private: where it moves, failures only cost more.
                from _pytest.assertion import util

                util._reprcompare = None

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Note how a phase of a test went."""
        if report.failed and self.failed is None:
            self.failed = report.nodeid
            if not self.brief:
                self.message = str(getattr(report, "longreprtext", ""))[-2000:]
        elif report.skipped:
            self.skipped = True


class Runner:
    """Runs items of a collected session. Used in children only: what tests leave behind dies with them."""

    def __init__(self, session: Any, watcher: Watcher) -> None:
        self.session = session
        self.watcher = watcher
        self.items: Sequence[Any] = list(session.items)
        self.direct = DirectCalls(session)

    def prepare(self) -> None:
        """Give this process captures and temporary folders that it shares with nobody."""
        prepare(self.session, brief=self.watcher.brief)

    def run(
        self, order: Sequence[int], begin: Callable[[int, int], None], *, certain: bool = False
    ) -> dict[str, Any]:
        """Run items in order until one fails; `begin` is called before each with its place and number.

        When `certain`, what failed when called directly has to fail when pytest runs it.
        """
        for place, index in enumerate(order):
            begin(place, index)
            call = self.direct.call(index)
            if call is not None:
                if not call():
                    continue
                if not certain:
                    return {"failed": self.items[index].nodeid, "ran": place + 1, "direct": True}
            following = self.items[order[place + 1]] if place + 1 < len(order) else None
            failed = self.one(index, following)
            if failed is not None:
                return {"failed": failed, "ran": place + 1}
        return {"failed": None, "ran": len(order)}

    def patience(self, index: int, known: int | None, budget: Budget) -> tuple[int, bool, float]:
        """Sort items of which nothing is known but what they cost: the quick ones first, those that may share
        fixtures as they were collected. `known` is the item's number in the first run."""
        direct = self.direct.call(index) is not None
        if known is None:
            return 0, not direct, 0.0
        return budget.weight(known), not direct, budget.cost(known) if direct else 0.0

    def one(self, index: int, following: Any) -> str | None:
        """Run one item; returns the id of the test that failed, if one did.

        `following` comes next: fixtures that it does not share are ended.
        """
        item = self.items[index]
        capture = item.config.pluginmanager.getplugin("capturemanager")
        if getattr(capture, "_global_capturing", self) is None:
            # Not before: what is called directly prints to nowhere.
            capture.start_global_capturing()
        self.watcher.failed, self.watcher.message, self.watcher.skipped = None, "", False
        try:
            with names_kept(item):
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        except BaseException as error:  # whatever leaves pytest would end the run: that is a failure
            self.watcher.message = f"{type(error).__name__} ended the run"
            return str(item.nodeid)
        return self.watcher.failed


@contextlib.contextmanager
def names_kept(item: Any) -> Iterator[None]:
    """Let a doctest be run again: `doctest` empties its names once it has run."""
    names = getattr(getattr(item, "dtest", None), "globs", None)
    before = dict(names) if isinstance(names, dict) else {}
    try:
        yield
    finally:
        if isinstance(names, dict):
            names.clear()
            names.update(before)


def prepare(session: Any, *, brief: bool) -> None:
    """Give this process captures and temporary folders that it shares with nobody."""
    config = session.config
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        _capture_without_reading(capture)
    if brief:
        # Errors of collecting: nobody reads where they come from.
        config.option.tbstyle = "native"
    factory = getattr(config, "_tmp_path_factory", None)
    if factory is not None and hasattr(factory, "_basetemp"):
        factory._basetemp = Path(os.path.realpath(tempfile.mkdtemp(prefix="tests-")))


def import_once(names: Sequence[str]) -> None:
    """Import here what each child would import. What cannot be is left to the child."""
    for name in names:
        if name not in sys.modules:
            with contextlib.suppress(Exception):
                importlib.import_module(name)


def known_patterns() -> list[tuple[str, int]]:
    """Return the regular expressions that `re` has compiled and keeps, as text and flags."""
    kept = list(getattr(re, "_cache", ()))  # Private: where it moves, children only compile more.
    return [(key[1], int(key[2])) for key in kept if len(key) == 3 and isinstance(key[1], str)]


def compile_once(patterns: Sequence[tuple[str, int]]) -> None:
    """Have `re` compile and keep here what each child would compile."""
    for text, flags in patterns:
        with contextlib.suppress(re.error, ValueError, OverflowError, RecursionError):
            re.compile(text, flags)


def _capture_without_reading(capture: Any) -> None:
    """Let the capture go on from test to test: switching it and reading it three times a test is for reports."""
    capture.read_global_capture = lambda: ("", "")
    capture.suspend_global_capture = capture.resume_global_capture = lambda *_, **__: None


@contextlib.contextmanager
def quiet(session: Any) -> Iterator[None]:
    """Stop pytest's captures and terminal while no test runs, so that children start their own."""
    manager = session.config.pluginmanager
    capture = manager.getplugin("capturemanager")
    terminal = manager.getplugin("terminalreporter")
    if capture is not None:
        capture.stop_global_capturing()
    if terminal is not None:
        manager.unregister(terminal)
    try:
        yield
    finally:
        if terminal is not None:
            manager.register(terminal, "terminalreporter")
        if capture is not None:
            capture.start_global_capturing()


class Budget:
    """How long a test may take in a child: several times what it took unmutated, and something to spare."""

    CPU_SPARE, CPU_TIMES = 0.35, 10.0
    WALL_SPARE, WALL_TIMES = 8.0, 20.0
    HEAVY_SECONDS = 0.1

    def __init__(self, tests: Sequence[Mapping[str, Any]]) -> None:
        """Take what the first run showed."""
        self._seconds: list[float] = [test["seconds"] for test in tests]
        self._cpu: list[float] = [test["cpu"] for test in tests]
        self.longest = max(range(len(tests)), key=lambda index: tests[index]["seconds"])
        """Which test takes longest."""

    def cost(self, index: int) -> float:
        """Return the seconds a test takes, its own or those of the processes it waits for."""
        return max(self._cpu[index], self._seconds[index])

    def weight(self, index: int) -> int:
        """Tell tests that take long from the others: more is heavier."""
        return int(self.cost(index) / self.HEAVY_SECONDS)

    def wall(self, index: int) -> float:
        """Return the seconds after which the parent kills the child."""
        return self.WALL_SPARE + self.WALL_TIMES * self._seconds[index]

    def arm(self, index: int, spare: float = CPU_SPARE) -> None:
        """Have this process killed once it has used too much processor time: a loop that never ends is found
        soon, however busy the machine is."""
        arm(spare + self.CPU_TIMES * self._cpu[index])


def arm(seconds: float) -> None:
    """Have this process killed after so many seconds of processor time from now; 0 for not at all."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
