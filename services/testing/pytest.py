"""pytest, by a plugin of the suite's own that is put on the child's path."""

import os
import tomllib
from fnmatch import fnmatch
from pathlib import Path

from quantum_suite.services.sandbox.interface import Sandbox
from quantum_suite.services.testing.interface import TestRequest, TestRun
from quantum_suite.services.testing.python_runner import Progress, PythonRunner

_SAYS_SO = (("pytest.ini", None), ("tox.ini", "[pytest]"), ("setup.cfg", "[tool:pytest]"), ("conftest.py", None))
_PATTERNS = ("test_*.py", "*_test.py")
_FOLDERS = (".", "tests", "test", "testing")
_NOT_THE_PROJECTS = frozenset({"node_modules", "__pycache__", "build", "dist", "venv", "site-packages"})
_MOST_FILES = 20_000


class PytestRunner:
    """Runs pytest with the project's own interpreter; see `Runner`."""

    name = "pytest"

    def __init__(self, sandbox: Sandbox, work_dir: Path | None = None) -> None:
        self._runner = PythonRunner(sandbox, self.name, "quantum_testing_pytest.py", work_dir)

    def detect(self, root: Path) -> str | None:
        """Return why: its settings, a conftest, or files it would collect."""
        for name, mark in _SAYS_SO:
            text = _read(root / name)
            if text is not None and (mark is None or mark in text):
                return name if mark is None else f"{mark} in {name}"
        if "pytest" in _tools(root):
            return "[tool.pytest] in pyproject.toml"
        for folder in _FOLDERS:
            for pattern in _PATTERNS:
                found = next((root / folder).glob(pattern), None)
                if found is not None:
                    return str(found.relative_to(root))
        return _deeper(root)

    async def run(self, request: TestRequest, progress: Progress | None = None) -> TestRun:
        """Run tests; see `Runner.run`."""
        return await self._runner.run(request, progress)


def _deeper(root: Path) -> str | None:
    """Return the first file that pytest would collect anywhere: packages may hold their own tests."""
    seen = 0
    for folder, folders, files in os.walk(root):
        here = Path(folder)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".")
            and name not in _NOT_THE_PROJECTS
            and not (here / name / "pyvenv.cfg").exists()
        )
        found = next(
            (name for name in sorted(files) if any(fnmatch(name, pattern) for pattern in _PATTERNS)), None
        )
        if found is not None:
            return (here / found).relative_to(root).as_posix()
        seen += len(files)
        if seen > _MOST_FILES:
            return None
    return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _tools(root: Path) -> dict[str, object]:
    try:
        found = tomllib.loads(_read(root / "pyproject.toml") or "").get("tool", {})
    except tomllib.TOMLDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
