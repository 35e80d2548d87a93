"""The first run: every test once, on unmutated code, noting which statements it reaches."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator
from typing import Any

import pytest

from quantum_suite.services.mutation.driver.children import Note
from quantum_suite.services.mutation.driver.running import Runner


class ReachPlugin:
    """Keeps apart what fixtures reach from what tests do: whoever uses a fixture reaches what makes and ends it,
    though that happens while another test runs; and nobody reaches what another user of a fixture does."""

    def __init__(self, reached: set[int]) -> None:
        self._reached = reached
        self.fixtures: dict[Any, set[int]] = {}
        self.cpu: dict[Any, float] = {}
        """Processor seconds that making a fixture takes: any test may be the first to need it in a child."""
        self._ended: list[Any] = []

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> Generator[None, Any, None]:
        """Give what is reached while a fixture is made to the fixture as well."""
        before = set(self._reached)
        self._reached.clear()
        started = time.process_time()
        yield
        self.cpu[fixturedef] = max(self.cpu.get(fixturedef, 0.0), time.process_time() - started)
        self.fixtures.setdefault(fixturedef, set()).update(self._reached)
        self._reached.update(before)

    def pytest_fixture_post_finalizer(self, fixturedef: Any, request: Any) -> None:
        """Note that a fixture was ended."""
        self._ended.append(fixturedef)

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: Any) -> Generator[None, Any, None]:
        """Give what is reached before a test to the fixtures that are ended then: one with other parameters is."""
        yield from self._ending()

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: Any) -> Generator[None, Any, None]:
        """Give what is reached after a test to the fixtures that are ended then."""
        yield from self._ending()

    def _ending(self) -> Generator[None, Any, None]:
        before = set(self._reached)
        self._reached.clear()
        self._ended.clear()
        yield
        for fixture in self._ended:
            self.fixtures.setdefault(fixture, set()).update(self._reached)
        self._reached.update(before)


def first_run(runner: Runner, reached: set[int], note: Note, seconds: float) -> list[dict[str, Any]]:
    """Run all tests in order; return, test by test, outcome, seconds, processor seconds and statements reached."""
    plugin = ReachPlugin(reached)
    runner.session.config.pluginmanager.register(plugin, "quantum-reach")
    deadline = time.monotonic() + seconds
    tests: list[dict[str, Any]] = []
    own: list[set[int]] = []
    for index, item in enumerate(runner.items):
        note.write(index, deadline - time.monotonic())
        reached.clear()
        started, used = time.monotonic(), time.process_time()
        failed = runner.one(index, runner.items[index + 1] if index + 1 < len(runner.items) else None)
        own.append(set(reached))
        tests.append(
            {
                "id": item.nodeid,
                "path": str(item.path),
                "seconds": time.monotonic() - started,
                "cpu": time.process_time() - used,
                "failed": failed is not None,
                "skipped": runner.watcher.skipped and failed is None,
                "message": runner.watcher.message,
            }
        )
    for index, item in enumerate(runner.items):
        for fixture in _fixtures_of(item):
            own[index] |= plugin.fixtures.get(fixture, set())
            tests[index]["cpu"] += plugin.cpu.get(fixture, 0.0)
        tests[index]["reached"] = sorted(own[index])
    return tests


def _fixtures_of(item: Any) -> list[Any]:
    found: list[Any] = []
    with contextlib.suppress(AttributeError):
        for definitions in item._fixtureinfo.name2fixturedefs.values():
            found.extend(definitions)
    with contextlib.suppress(AttributeError):
        found.extend(item._request._fixture_defs.values())  # Those asked for by name while it ran.
    return found
