"""Running tests in a process of their own, on sources as they are written: the last word on a mutant."""

from __future__ import annotations

from typing import Any

import pytest

from quantum_suite.services.mutation.driver import pytest_setup
from quantum_suite.services.mutation.driver.running import Watcher
from quantum_suite.services.mutation.driver.wire import Wire


class _Count:
    def __init__(self) -> None:
        self.collected = 0
        self.started = 0

    def pytest_collection_finish(self, session: Any) -> None:
        self.collected = len(session.items)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.started += 1


def run_fresh(request: dict[str, Any], wire: Wire) -> None:
    """Run the tests until one fails, and say what happened."""
    pytest_setup.use_project(request["root"], None)
    watcher, count = Watcher(brief=True), _Count()
    words = pytest_setup.arguments(request["folder"], ["-x", *request["arguments"]], request["tests"])
    code = int(pytest.main(words, plugins=[watcher, count]))
    failed = watcher.failed
    if failed is None and code not in (0, 5):
        failed = "import" if not count.started else f"pytest ended with {code}"
    wire.say("fresh", failed=failed, code=code, ran=count.started, collected=count.collected)
