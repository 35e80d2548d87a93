"""Where an engine's program is: in the Python distribution that carries it, else on PATH."""

import mmap
import re
import shutil
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Program:
    """A program found on this machine."""

    path: Path
    distribution_version: str | None
    """Version of the Python distribution it came with; None when it was found on PATH."""


def locate_program(name: str, distribution: str) -> Program | None:
    """Find `name`, preferring the one that the installed `distribution` carries."""
    try:
        found = metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        found = None
    for file in (found.files if found is not None else None) or ():
        if file.name in (name, f"{name}.exe"):
            path = Path(str(file.locate())).resolve()
            if found is not None and path.is_file():
                return Program(path, found.version)
    on_path = shutil.which(name)
    return Program(Path(on_path).resolve(), None) if on_path else None


_VERSION = re.compile(rb"[0-9]+\.[0-9]+\.[0-9]+")


def embedded_version(path: Path, marker: bytes) -> str | None:
    """Read the version a Go program was linked with, without running it: what follows `marker` in the file.

    A program that might be malicious must be known before it is started, and `--version` starts it.
    """
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            return None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            # The build record lies near the end of the file.
            at = content.rfind(marker)
            while at >= 0:
                start = at + len(marker)
                version = _VERSION.match(content[start : start + 24])
                if version is not None:
                    return version.group().decode()
                at = content.rfind(marker, 0, at)
    return None
