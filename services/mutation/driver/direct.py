"""Calling tests that need nothing of pytest's but to be called, by a far shorter way.

A test qualifies when pytest would make no fixture for it and nobody but pytest's own plugins has a say in how it
runs: functions whose arguments are all parameters, and methods of a `unittest.TestCase` without class fixtures.
Warnings and log records are treated as pytest treats them: each is let through, and a record that cannot be
formatted is an error.
"""

from __future__ import annotations

import inspect
import logging
import os
import unittest
import warnings
from collections.abc import Callable
from typing import Any

import pytest

SKIPS = (pytest.skip.Exception, pytest.xfail.Exception, unittest.SkipTest)
_HOOKS = (
    "pytest_runtest_protocol",
    "pytest_runtest_logstart",
    "pytest_runtest_setup",
    "pytest_runtest_call",
    "pytest_runtest_teardown",
    "pytest_runtest_makereport",
    "pytest_runtest_logreport",
    "pytest_runtest_logfinish",
    "pytest_pyfunc_call",
    "pytest_fixture_setup",
    "pytest_fixture_post_finalizer",
)
_WITHOUT_A_SAY = (
    "_pytest.",
    "anyio.",
    "pytest_asyncio.",
    "_hypothesis_pytestplugin",
    "pytest_benchmark.",
    "pytest_cov.",
    "pytest_timeout",
    "xdist.",
)
"""Whose hooks change nothing for such tests: pytest's own, those for coroutines and marked tests, those of what
measures, which is switched off, and one for other processes. Time limits are the driver's here."""

Call = Callable[[], bool]


class DirectCalls:
    """What of a session can be called directly."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._calls: dict[int, Call | None] = {}
        self._possible = _is_plain(session.config)
        self._handler = _Formatting()

    def call(self, index: int) -> Call | None:
        """Return what calls a test and says whether it failed, or None when it takes pytest to run it."""
        if not self._possible:
            return None
        if index not in self._calls:
            self._calls[index] = self._find(self._session.items[index])
        return self._calls[index]

    def forget(self, index: int) -> None:
        """Have a test run by pytest from here on."""
        self._calls[index] = None

    def _find(self, item: Any) -> Call | None:
        try:
            if any(mark.name != "parametrize" for mark in item.iter_markers()):
                return None
            run = _method_of(item) or _function_of(item)
        except Exception:  # Private parts of pytest are looked at: where they moved, pytest runs the test.
            return None
        return None if run is None else lambda: self._failed(item.nodeid, run)

    def _failed(self, name: str, run: Call) -> bool:
        os.environ["PYTEST_CURRENT_TEST"] = f"{name} (call)"
        root = logging.getLogger()
        root.addHandler(self._handler)
        try:
            with warnings.catch_warnings(record=True):
                for category in (DeprecationWarning, PendingDeprecationWarning):
                    warnings.filterwarnings("always", category=category)
                return run()
        except SKIPS:
            return False
        except BaseException:  # pytest would call it a failure, or end the run
            return True
        finally:
            root.removeHandler(self._handler)
            os.environ.pop("PYTEST_CURRENT_TEST", None)


class _Formatting(logging.Handler):
    """Formats records, as pytest's own handler does to keep them."""

    def emit(self, record: logging.LogRecord) -> None:
        self.format(record)


class _Outcome(unittest.TestResult):
    """Notes whether anything failed, and describes nothing."""

    failed = False

    def addError(self, test: Any, err: Any) -> None:  # noqa: N802 - unittest's name
        self.failed = self.failed or not isinstance(err[1], SKIPS)

    addFailure = addError  # noqa: N815 - unittest's name

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:  # noqa: N802 - unittest's name
        if err is not None:
            self.addError(test, err)

    def addUnexpectedSuccess(self, test: Any) -> None:  # noqa: N802 - unittest's name
        self.failed = True

    def addExpectedFailure(self, test: Any, err: Any) -> None:  # noqa: N802 - unittest's name
        """Is as it should be."""


def _is_plain(config: Any) -> bool:
    """Whether nothing in a project's settings and plugins changes how tests run."""
    if config.getini("filterwarnings") or getattr(config.option, "pythonwarnings", None):
        return False
    if config.getini("log_level") or getattr(config.option, "log_level", None):
        return False
    own = __name__.rpartition(".")[0] + "."
    for name in _HOOKS:
        for implementation in getattr(config.hook, name).get_hookimpls():
            module = getattr(implementation.function, "__module__", None) or ""
            if not module.startswith((*_WITHOUT_A_SAY, own)):
                return False
    return True


def _function_of(item: Any) -> Call | None:
    if type(item) is not pytest.Function or _is_special(item.obj):
        return None
    names = list(item._fixtureinfo.argnames)
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    if set(item.fixturenames) != set(names) or not set(names) <= set(parameters):
        return None
    if any(item.session._fixturemanager.getfixturedefs(name, item) for name in names):
        return None  # The parameter is the fixture's.
    values = {name: parameters[name] for name in names}

    def run() -> bool:
        item.obj(**values)
        item._instance = None  # Every test of a class has an instance of its own.
        item._obj = None
        return False

    return run


def _method_of(item: Any) -> Call | None:
    case = getattr(item.parent, "obj", None)
    if not (isinstance(case, type) and issubclass(case, unittest.TestCase)) or type(item).__module__ != (
        "_pytest.unittest"
    ):
        return None
    plain = unittest.TestCase
    as_inherited = all(
        getattr(getattr(case, name), "__func__", None) is getattr(plain, name).__func__
        for name in ("setUpClass", "tearDownClass", "doClassCleanups")
    )
    # The fixture that calls them, and what it asks for.
    named = {f"_unittest_setUpClass_fixture_{case.__qualname__}", "request"}
    if not as_inherited or set(item.fixturenames) - named or _is_special(getattr(case, item.name)):
        return None

    def run() -> bool:
        outcome = _Outcome()
        case(item.name)(outcome)
        return outcome.failed

    return run


def _is_special(function: Any) -> bool:
    """Whether calling a function does not yet run it, or says more than whether it fails."""
    return (
        inspect.iscoroutinefunction(function)
        or inspect.isgeneratorfunction(function)
        or inspect.isasyncgenfunction(function)
    )
