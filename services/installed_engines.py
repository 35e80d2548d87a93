"""Whether a package or a program that something stands on is installed here. Starts and imports nothing."""

import shutil
from importlib.metadata import PackageNotFoundError, version

from quantum_suite.core.engines import EngineStatus


def package_status(name: str, provides: str, install: str, *, missing: str = "is not installed") -> EngineStatus:
    """Return what there is of a Python package beside the suite; `missing` says of it that there is none."""
    try:
        return EngineStatus(name=name, provides=provides, available=True, version=version(name))
    except PackageNotFoundError:
        return EngineStatus(
            name=name, provides=provides, available=False, problem=f"{name} {missing}", install_command=install
        )


def program_status(name: str, provides: str, install: str) -> EngineStatus:
    """Return what there is of a program on the PATH."""
    found = shutil.which(name)
    return EngineStatus(
        name=name,
        provides=provides,
        available=found is not None,
        location=found,
        problem=None if found is not None else f"{name} was not found",
        install_command=None if found is not None else install,
    )
