"""Which Python runs a project's tests, and what it has to be able to read."""

import sys
from pathlib import Path

from quantum_suite.core.errors import CallerError

ENVIRONMENTS = (".venv", "venv")


def find_python(root: Path, asked: Path | None = None) -> Path:
    """Return the interpreter of the project's environment: the one asked for, `.venv`, `venv`, else this one.

    Links are not resolved: an environment is known by the path it is called by. Raises CallerError (`python`).
    """
    if asked is not None:
        if not asked.is_file():
            raise CallerError(f"There is no interpreter at {asked}.", "Name a Python.", argument="python")
        return asked
    for name in ENVIRONMENTS:
        python = root / name / "bin" / "python"
        if python.is_file():
            return python
    return Path(sys.executable)


def called(python: Path) -> Path:
    """Return what to call an interpreter when speaking to a person: by its environment's own place.

    The copy of a project that tests run in has a link to its environment, and is gone when they have run.
    """
    return python.parent.parent.resolve() / python.parent.name / python.name


def readable_for(python: Path) -> tuple[Path, ...]:
    """Return the folders an interpreter needs to read: its environment's, and those of the Python below it."""
    environment = python.parent.parent
    found = [environment.resolve(), *_base_of(environment), python.resolve().parent.parent]
    return tuple(dict.fromkeys(path for path in found if path.is_dir() and path != Path("/")))


def _base_of(environment: Path) -> list[Path]:
    """Return the prefix of the Python an environment was made with (PEP 405: `home` in `pyvenv.cfg`)."""
    try:
        lines = (environment / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    homes = [line.partition("=")[2].strip() for line in lines if line.partition("=")[0].strip() == "home"]
    return [Path(home).resolve().parent for home in homes if home.startswith("/")]
