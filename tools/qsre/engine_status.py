"""Which programs and libraries the operations side has here."""

import shutil
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from quantum_suite.core.engines import EngineStatus
from quantum_suite.services.metrics.promql import INSTALL_COMMAND

_APT = "apt-get install prometheus"


def metric_engines() -> Sequence[EngineStatus]:
    """Return what metrics stand on. Starts nothing."""
    return (
        _package("promql-parser", "checking PromQL before it is sent"),
        _package("matplotlib", "pictures of metrics"),
        _package("prometheus-api-client", "sources behind proxies (prometheus-api-client+http://)"),
        _program("promtool", "checking rule files", _APT),
    )


def _package(name: str, what: str) -> EngineStatus:
    try:
        return EngineStatus(name=name, provides=what, available=True, version=version(name))
    except PackageNotFoundError:
        return EngineStatus(
            name=name,
            provides=what,
            available=False,
            problem=f"{name} is not installed",
            install_command=INSTALL_COMMAND,
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
