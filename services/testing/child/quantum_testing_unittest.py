"""Runs unittest and tells the suite how each test goes: `python quantum_testing_unittest.py CONFIG`."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import time
import traceback
import unittest
from collections.abc import Iterator
from typing import Any

from quantum_testing_coverage import OUTSIDE, Measure
from quantum_testing_running import greet, run_measured
from quantum_testing_selection import Selection
from quantum_testing_stream import Stream, Watch, shorten

NOT_FOUND = 73
_NEVER = {"node_modules", "venv", ".venv", "site-packages", "build", "dist", "__pycache__"}


def _files(root: str) -> Iterator[str]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _NEVER and not name.startswith("."))
        for name in sorted(names):
            if name.startswith("test") and name.endswith(".py"):
                yield os.path.relpath(os.path.join(folder, name), root).replace(os.sep, "/")


def _module(root: str, file: str) -> Any:
    """Import a test file under the name its packages give it."""
    folder, name = os.path.split(os.path.join(root, file))
    parts = [name[: -len(".py")]]
    while os.path.exists(os.path.join(folder, "__init__.py")) and len(folder) > len(root):
        folder, package = os.path.split(folder)
        parts.insert(0, package)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(".".join(parts))


def _flat(suite: Any) -> Iterator[Any]:
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from _flat(test)
        else:
            yield test


def _name(test: Any, file: str) -> str:
    method = getattr(test, "_testMethodName", None)
    if method is None or type(test).__name__ == "DocTestCase":
        return f"{file}::{test.id()}"
    return f"{file}::{type(test).__qualname__}::{method}"


class _Suite(unittest.TestSuite):
    """Keeps apart what is set up for a class or a module."""

    measure: Any = None

    def _tearDownPreviousClass(self, test: Any, result: Any) -> None:
        self._outside(super()._tearDownPreviousClass, test, result)  # type: ignore[misc]  # not in the stubs

    def _handleModuleFixture(self, test: Any, result: Any) -> None:
        self._outside(super()._handleModuleFixture, test, result, key=type(test).__module__)  # type: ignore[misc]  # likewise

    def _handleClassSetUp(self, test: Any, result: Any) -> None:
        self._outside(super()._handleClassSetUp, test, result, key=_class_key(test))  # type: ignore[misc]  # likewise

    def _outside(self, call: Any, test: Any, result: Any, key: str | None = None) -> None:
        if key is None:
            self.measure.enter(OUTSIDE)
        else:
            self.measure.enter_fixture(key)
        try:
            call(test, result)
        finally:
            self.measure.leave()


def _class_key(test: Any) -> str:
    return f"{type(test).__module__}|{type(test).__qualname__}"


class _Result(unittest.TestResult):
    def __init__(self, stream: Stream, measure: Measure, watch: Watch, names: dict[int, tuple[str, str]]) -> None:
        super().__init__()
        self._stream, self._measure, self._watch, self._names = stream, measure, watch, names
        self._outcome, self._message, self._started = "passed", "", 0.0
        self.told: set[str] = set()
        self.set_ups: dict[str, tuple[str, str]] = {}
        """What came of set-ups that did not succeed, by class or module."""

    def startTest(self, test: Any) -> None:
        super().startTest(test)
        name, file = self._names[id(test)]
        self._outcome, self._message, self._started = "passed", "", time.monotonic()
        self._stream.tell("start", id=name, path=file, line=_line(test))
        self._watch.start(name)
        self._measure.enter(name)

    def stopTest(self, test: Any) -> None:
        super().stopTest(test)
        self._measure.leave()
        self._watch.start(None)
        name, _ = self._names[id(test)]
        self.told.add(name)
        seconds = round(time.monotonic() - self._started, 4)
        self._stream.tell("end", id=name, outcome=self._outcome, seconds=seconds, message=shorten(self._message))

    def addError(self, test: Any, err: Any) -> None:
        super().addError(test, err)
        if id(test) in self._names:
            self._outcome, self._message = "error", _text(err)
        else:
            self._set_up_ended(test, "error", _text(err))

    def addFailure(self, test: Any, err: Any) -> None:
        super().addFailure(test, err)
        self._outcome, self._message = "failed", _text(err)

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._outcome, self._message = "failed", f"{subtest.id()}\n{_text(err)}"

    def addSkip(self, test: Any, reason: str) -> None:
        super().addSkip(test, reason)
        if id(test) in self._names:
            self._outcome, self._message = "skipped", reason
        else:
            self._set_up_ended(test, "skipped", reason)

    def _set_up_ended(self, test: Any, outcome: str, message: str) -> None:
        # Named by unittest as `setUpClass (package.module.Class)`.
        self.set_ups[str(test).rpartition("(")[2].rstrip(")")] = (outcome, message)

    def addExpectedFailure(self, test: Any, err: Any) -> None:
        super().addExpectedFailure(test, err)
        self._outcome = "xfailed"

    def addUnexpectedSuccess(self, test: Any) -> None:
        super().addUnexpectedSuccess(test)
        # unittest counts it as a failure of the run.
        self._outcome, self._message = "failed", "It was expected to fail, and passed."


def _text(err: Any) -> str:
    return "".join(traceback.format_exception(*err))


def _line(test: Any) -> int | None:
    try:
        return inspect.getsourcelines(getattr(type(test), test._testMethodName))[1]
    except (AttributeError, OSError, TypeError):
        return None


def _found(stream: Stream, config: dict[str, Any]) -> tuple[dict[str, tuple[Any, str]], list[str]]:
    """Return the tests that are there by id, and what was asked for and is not."""
    loader = unittest.TestLoader()
    tests: dict[str, tuple[Any, str]] = {}
    wanted = [name.rstrip("/") for name in config["select"]]
    for file in _files(config["root"]):
        if wanted and not any(_concerns(name, file) for name in wanted):
            continue
        try:
            suite = loader.loadTestsFromModule(_module(config["root"], file))
        except unittest.SkipTest as skipped:
            stream.tell("end", id=file, outcome="skipped", seconds=0, message=str(skipped))
            continue
        except BaseException:
            stream.tell("problem", id=file, message=shorten(traceback.format_exc()))
            continue
        for test in _flat(suite):
            tests[_name(test, file)] = (test, file)
    if not wanted:
        return tests, []
    chosen = {name: found for name, found in tests.items() if any(_within(name, asked) for asked in wanted)}
    missing = [asked for asked in wanted if not any(_within(name, asked) for name in chosen)]
    return chosen, missing


def _concerns(asked: str, file: str) -> bool:
    path = asked.split("::")[0]
    return file == path or file.startswith(f"{path}/") or path == "."


def _within(name: str, asked: str) -> bool:
    return name == asked or name.startswith((f"{asked}::", f"{asked}/")) or asked == "."


def run(stream: Stream, measure: Measure, config: dict[str, Any]) -> int:
    """Run the tests; returns the exit status."""
    greet(stream, measure, ".".join(map(str, sys.version_info[:3])))
    tests, missing = _found(stream, config)
    if missing and not config["missing_ok"]:
        stream.tell("not_found", ids=missing)
        return NOT_FOUND
    chosen = Selection(config).choose((name, file) for name, (_, file) in tests.items())
    stream.tell("collected", ids=chosen)
    names = {id(tests[name][0]): (name, tests[name][1]) for name in chosen}
    for name in chosen:
        test = tests[name][0]
        measure.uses(name, [type(test).__module__, _class_key(test)])
    suite = _Suite()
    suite.measure = measure
    suite.addTests(tests[name][0] for name in chosen)
    result = _Result(stream, measure, Watch(stream, config["case_seconds"], measure.save), names)
    result.failfast = config["stop"]
    suite.run(result)
    for name in chosen:
        if name not in result.told:
            kind = type(tests[name][0])
            for place in (f"{kind.__module__}.{kind.__qualname__}", kind.__module__):
                if place in result.set_ups:
                    outcome, message = result.set_ups[place]
                    stream.tell("end", id=name, outcome=outcome, seconds=0, message=shorten(message))
                    break
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(run_measured(run))
