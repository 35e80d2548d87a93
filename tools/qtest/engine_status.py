"""Which test programs this machine has; what a project brings itself is looked up when it is run."""

import shutil
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from quantum_suite.core.engines import EngineStatus
from quantum_suite.services.sandbox.opening import INSTALL_COMMAND
from quantum_suite.services.testing.node_programs import INSTALL_NODE


def runner_statuses() -> Sequence[EngineStatus]:
    """Return the programs that runs stand on. Starts nothing."""
    return (
        _package("pytest", "Python tests of projects without an environment of their own"),
        _package("coverage", "coverage of Python projects that do not bring it"),
        _program("node", "JavaScript tests", INSTALL_NODE),
        _program("go", "Go tests", "install Go from https://go.dev/dl/"),
        _program("bwrap", "keeping tests apart in namespaces of their own", INSTALL_COMMAND),
    )


def _package(name: str, what: str) -> EngineStatus:
    try:
        return EngineStatus(name=name, provides=what, available=True, version=version(name))
    except PackageNotFoundError:
        return EngineStatus(
            name=name,
            provides=what,
            available=False,
            problem=f"{name} is not installed beside the suite",
            install_command=f"{sys.executable} -m pip install {name}",
        )


def _program(name: str, what: str, install: str) -> EngineStatus:
    found = shutil.which(name)
    return EngineStatus(
        name=name,
        provides=what,
        available=found is not None,
        location=found,
        problem=None if found is not None else f"{name} was not found",
        install_command=None if found is not None else install,
    )
