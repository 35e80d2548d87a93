"""unittest, the framework of the standard library."""

import re
from pathlib import Path

from quantum_suite.services.sandbox.interface import Sandbox
from quantum_suite.services.testing.interface import TestRequest, TestRun
from quantum_suite.services.testing.python_runner import Progress, PythonRunner

_CASE = re.compile(rb"^\s*(?:import unittest|from unittest)", re.MULTILINE)
_PYTEST = re.compile(rb"^\s*(?:import pytest|from pytest)", re.MULTILINE)
_LARGEST_FILE = 1_000_000


class UnittestRunner:
    """Runs unittest with the project's own interpreter; see `Runner`."""

    name = "unittest"

    def __init__(self, sandbox: Sandbox, work_dir: Path | None = None) -> None:
        self._runner = PythonRunner(sandbox, self.name, "quantum_testing_unittest.py", work_dir)

    def detect(self, root: Path) -> str | None:
        """Return why: a test file that imports unittest, where none imports pytest."""
        found: Path | None = None
        for folder in (".", "tests", "test"):
            for path in sorted((root / folder).glob("test*.py")):
                if path.stat().st_size > _LARGEST_FILE:
                    continue
                text = path.read_bytes()
                if _PYTEST.search(text):
                    return None
                if found is None and _CASE.search(text):
                    found = path
        return f"{found.relative_to(root)} imports unittest" if found is not None else None

    async def run(self, request: TestRequest, progress: Progress | None = None) -> TestRun:
        """Run tests; see `Runner.run`."""
        return await self._runner.run(request, progress)
