"""Running tests in a process of their own, on sources as they are written: the last word on a mutant."""

from __future__ import annotations

import os
from typing import Any, NoReturn

import pytest

from quantum_suite.services.mutation.driver import pytest_setup
from quantum_suite.services.mutation.driver.running import Watcher
from quantum_suite.services.mutation.driver.wire import Wire


class _Telling:
    """A plugin that counts, and tells at the end."""

    def __init__(self, watcher: Watcher, wire: Wire) -> None:
        self._watcher = watcher
        self._wire = wire
        self._collected = 0
        self._started = 0

    @pytest.hookimpl
    def pytest_collection_finish(self, session: Any) -> None:
        """Count what was collected."""
        self._collected = len(session.items)

    @pytest.hookimpl
    def pytest_runtest_logstart(self) -> None:
        """Count what was begun."""
        self._started += 1

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: Any, exitstatus: int) -> None:
        """Tell at once: what plugins do at the end is for reports. A conftest may still call it a failure."""
        if not any(_is_conftest(implementation.plugin) for implementation in _at_the_end(session)):
            self.tell(int(exitstatus))

    def tell(self, code: int) -> NoReturn:
        """Say what happened, and end: threads that a mutant left running are not waited for."""
        failed = self._watcher.failed
        if failed is None and code not in (0, 5):
            failed = "import" if not self._started else f"pytest ended with {code}"
        self._wire.say("fresh", failed=failed, code=code, ran=self._started, collected=self._collected)
        os._exit(0)


def run_fresh(request: dict[str, Any], wire: Wire) -> NoReturn:
    """Run the tests until one fails, and say what happened."""
    pytest_setup.use_project(request["root"], None)
    watcher = Watcher(brief=True)
    telling = _Telling(watcher, wire)
    words = pytest_setup.arguments(request["folder"], ["-x", *request["arguments"]], request["tests"])
    telling.tell(int(pytest.main(words, plugins=[watcher, telling])))


def _at_the_end(session: Any) -> list[Any]:
    return list(session.config.hook.pytest_sessionfinish.get_hookimpls())


def _is_conftest(plugin: Any) -> bool:
    return os.path.basename(getattr(plugin, "__file__", None) or "") == "conftest.py"  # noqa: PTH119 - a name
