"""Which test programs this machine has; what a project brings itself is looked up when it is run."""

import sys
from collections.abc import Sequence

from quantum_suite.core.engines import EngineStatus
from quantum_suite.services.installed_engines import package_status, program_status
from quantum_suite.services.sandbox.opening import INSTALL_COMMAND
from quantum_suite.services.testing.node_programs import INSTALL_NODE


def runner_statuses() -> Sequence[EngineStatus]:
    """Return the programs that runs stand on. Starts nothing."""
    return (
        _beside_the_suite("pytest", "Python tests of projects without an environment of their own"),
        _beside_the_suite("coverage", "coverage of Python projects that do not bring it"),
        program_status("node", "JavaScript tests", INSTALL_NODE),
        program_status("go", "Go tests", "install Go from https://go.dev/dl/"),
        program_status("bwrap", "keeping tests apart in namespaces of their own", INSTALL_COMMAND),
    )


def _beside_the_suite(name: str, provides: str) -> EngineStatus:
    install = f"{sys.executable} -m pip install {name}"
    return package_status(name, provides, install, missing="is not installed beside the suite")
