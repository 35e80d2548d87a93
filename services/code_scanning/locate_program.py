"""Where an engine's program is: in the Python distribution that carries it, else on PATH."""

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
