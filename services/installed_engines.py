"""Whether a package or a program that something stands on is installed here. Starts and imports nothing."""

import mmap
import os
import re
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from quantum_suite.core.engines import EngineStatus

_VERSION = re.compile(rb"[0-9]+\.[0-9]+(?:\.[0-9]+)?")


def package_status(name: str, provides: str, install: str, *, missing: str = "is not installed") -> EngineStatus:
    """Return what there is of a Python package beside the suite; `missing` says of it that there is none."""
    try:
        return EngineStatus(name=name, provides=provides, available=True, version=version(name))
    except PackageNotFoundError:
        return EngineStatus(
            name=name, provides=provides, available=False, problem=f"{name} {missing}", install_command=install
        )


def program_status(name: str, provides: str, install: str, *, program: str = "") -> EngineStatus:
    """Return what there is of a program on the PATH, `program` where the engine is called otherwise."""
    found = shutil.which(program or name)
    return EngineStatus(
        name=name,
        provides=provides,
        available=found is not None,
        location=found,
        problem=None if found is not None else f"{program or name} was not found",
        install_command=None if found is not None else install,
    )


def embedded_version(path: Path, marker: bytes) -> str | None:
    """Read the version a program was built with, without running it: what follows `marker` in the file.

    A program that might be malicious must be known before it is started, and `--version` starts it.
    None where the file does not say, or may not be read.
    """
    if not os.access(path, os.R_OK):
        return None
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            return None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            # A Go program's build record lies near the end of the file.
            at = content.rfind(marker)
            while at >= 0:
                start = at + len(marker)
                found = _VERSION.match(content[start : start + 24])
                if found is not None:
                    return found.group().decode()
                at = content.rfind(marker, 0, at)
    return None
