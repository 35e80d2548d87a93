"""Which files of a Python project are mutated when nobody says."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from quantum_suite.core.errors import CallerError

_NOT_MUTATED = (
    "test",
    "tests",
    "testing",
    "doc",
    "docs",
    "example",
    "examples",
    "bench",
    "benchmark",
    "benchmarks",
)
_FOLDERS = frozenset(
    {*_NOT_MUTATED, "build", "dist", "scripts", "tools", "node_modules", "venv", "__pycache__", "site-packages"}
)
_FILES = frozenset({"setup.py", "conftest.py", "noxfile.py", "tasks.py", "fabfile.py", "__main__.py"})


def sources(root: Path, paths: Sequence[str]) -> list[str]:
    """Return the files to mutate, below `root`, sorted. Raises CallerError (`paths`).

    Named files are taken as they are. In folders, and when nothing is named, tests, setup files and what is hidden
    or belongs to an environment are left out; a project with `src` is taken from there.
    """
    found: set[str] = set()
    for path in paths or ([_start(root)]):
        here = (root / path).resolve()
        if here != root and root not in here.parents:
            raise CallerError(f"'{path}' leads out of the project.", "Name a path inside it.", argument="paths")
        if here.is_file():
            found.add(here.relative_to(root).as_posix())
        elif here.is_dir():
            found.update(file.relative_to(root).as_posix() for file in _python_files(here))
        else:
            raise CallerError(f"'{path}' does not exist in {root}.", "Check the spelling.", argument="paths")
    if not found:
        raise CallerError(
            "There is no Python source to mutate.", "Name files or folders of the package.", argument="paths"
        )
    return sorted(found)


def _start(root: Path) -> str:
    return "src" if (root / "src").is_dir() and any(_python_files(root / "src")) else "."


def _python_files(top: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(top):
        folders[:] = sorted(
            name
            for name in folders
            if name not in _FOLDERS
            and not name.startswith(".")
            and not (Path(folder, name) / "pyvenv.cfg").exists()
        )
        for name in names:
            if name.endswith(".py") and name not in _FILES and not is_test(name):
                yield Path(folder, name)


def is_test(path: str) -> bool:
    """Whether a file is a test by pytest's usual names."""
    name = PurePosixPath(path).name
    return name.startswith("test_") or name.endswith("_test.py") or name in ("tests.py", "test.py")
