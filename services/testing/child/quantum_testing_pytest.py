"""Runs pytest and tells the suite how each test goes: `python quantum_testing_pytest.py CONFIG`."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import Any

from quantum_testing_coverage import Measure
from quantum_testing_running import greet, run_measured
from quantum_testing_selection import Selection
from quantum_testing_stream import Stream, Watch, shorten

WIDE = ("session", "package", "module", "class")
MISSING = 72
"""The exit status when pytest is not installed."""


class Teller:
    """A pytest plugin."""

    def __init__(self, stream: Stream, measure: Measure, selection: Selection, config: dict[str, Any]) -> None:
        self._stream = stream
        self._measure = measure
        self._selection = selection
        self._missing_ok = config["missing_ok"]
        self._watch = Watch(stream, config["case_seconds"], measure.save)
        self._outcome = ""
        self._message = ""
        self._seconds = 0.0
        self._locations: dict[str, tuple[str, int]] = {}

    def pytest_collection_modifyitems(self, session: Any, config: Any, items: list[Any]) -> None:
        """Keep this process's part, in its order."""
        by_id = {item.nodeid: item for item in items}
        chosen = self._selection.choose((item.nodeid, item.nodeid.split("::")[0]) for item in items)
        kept = set(chosen)
        left_out = [item for item in items if item.nodeid not in kept]
        if left_out:
            config.hook.pytest_deselected(items=left_out)
        items[:] = [by_id[test] for test in chosen]
        for item in items:
            path, line, _ = item.location
            self._locations[item.nodeid] = (path.replace(os.sep, "/"), (line or 0) + 1)
            self._measure.uses(item.nodeid, [_key(fixture) for fixture in _wide_fixtures(item)])
        missing = self._selection.missing()
        if missing and not self._missing_ok:
            self._stream.tell("not_found", ids=missing)
            items.clear()
            return
        self._stream.tell("collected", ids=chosen)

    def pytest_collectreport(self, report: Any) -> None:
        """Tell of a file that cannot be collected."""
        if report.failed:
            self._stream.tell("problem", id=report.nodeid or ".", message=shorten(str(report.longreprtext)))

    def pytest_runtest_logstart(self, nodeid: str, location: Any) -> None:
        """Begin a test."""
        self._outcome, self._message, self._seconds = "", "", 0.0
        path, line = self._locations.get(nodeid, (location[0], (location[1] or 0) + 1))
        self._stream.tell("start", id=nodeid, path=path, line=line)
        self._watch.start(nodeid)
        self._measure.enter(nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Note what a phase, or a part of a test, came to. The worst counts."""
        self._seconds += report.duration
        outcome = _outcome(report)
        if outcome and _RANK.index(outcome) > (_RANK.index(self._outcome) if self._outcome else -1):
            self._outcome = outcome
            self._message = shorten(_reason(report))

    def pytest_runtest_logfinish(self, nodeid: str, location: Any) -> None:
        """End a test."""
        self._measure.leave()
        self._watch.start(None)
        outcome = self._outcome or "error"
        message = self._message if outcome != "passed" else ""
        self._stream.tell("end", id=nodeid, outcome=outcome, seconds=round(self._seconds, 4), message=message)

    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> Any:
        """Keep apart what is set up for several tests."""
        wide = fixturedef.scope in WIDE
        if wide:
            self._measure.enter_fixture(_key(fixturedef))
        yield
        if wide:
            self._measure.leave()


def _mark(hook: Any, **options: bool) -> None:
    """Do what `pytest.hookimpl` does, before pytest is imported."""
    hook.pytest_impl = options


# Last among plugins, so that what other plugins choose and sort is known.
_mark(Teller.pytest_collection_modifyitems, trylast=True)
_mark(Teller.pytest_fixture_setup, hookwrapper=True)

_RANK = ("passed", "xpassed", "xfailed", "skipped", "failed", "error")


def _outcome(report: Any) -> str:
    expected = hasattr(report, "wasxfail")
    if report.failed:
        return "failed" if report.when == "call" else "error"
    if report.skipped:
        return "xfailed" if expected else "skipped"
    if report.when != "call":
        return ""
    return "xpassed" if expected else "passed"


def _reason(report: Any) -> str:
    if report.skipped and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    return str(report.longreprtext)


def _wide_fixtures(item: Any) -> list[Any]:
    found = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    return [fixture for fixtures in found.values() for fixture in fixtures if fixture.scope in WIDE]


def _key(fixture: Any) -> str:
    return f"{fixture.baseid}|{fixture.argname}"


def _arguments(config: dict[str, Any]) -> list[str]:
    arguments = ["-q", "--tb=short", "--color=no", "-o", f"cache_dir={config['work']}/pytest-cache"]
    # Plugins that would run the tests elsewhere, in another order, or trace them a second time.
    if importlib.util.find_spec("xdist"):
        arguments += ["-n", "0"]
    if importlib.util.find_spec("pytest_cov"):
        arguments += ["--no-cov"]
    if importlib.util.find_spec("pytest_randomly"):
        arguments += ["-p", "no:randomly"]
    if config["stop"]:
        arguments += ["--maxfail=1"]
    return [*arguments, *config["arguments"], "--continue-on-collection-errors"]


def run(stream: Stream, measure: Measure, config: dict[str, Any]) -> int:
    """Run pytest; returns its exit status."""
    try:
        import pytest
    except ImportError as error:
        stream.tell("missing", what="pytest", problem=str(error))
        return MISSING
    greet(stream, measure, pytest.__version__)
    selection = Selection(config)
    files = selection.files()
    if config["missing_ok"]:
        files = [file for file in files if os.path.exists(file)]
        if config["select"] and not files:
            return 5
    teller = Teller(stream, measure, selection, config)
    return int(pytest.main([*_arguments(config), *files], plugins=[teller]))


if __name__ == "__main__":
    sys.exit(run_measured(run))
