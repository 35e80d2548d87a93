"""Puts together what infrastructure as code needs, from the operator's settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from quantum_suite.services.encryption.interface import KeyProvider
from quantum_suite.services.infrastructure.cli.engine import CliEngine
from quantum_suite.services.infrastructure.embedded.engine import EmbeddedEngine
from quantum_suite.services.infrastructure.interface import Engine
from quantum_suite.services.infrastructure.plans import FilePlanStore
from quantum_suite.services.infrastructure.state.files import FileStateStore


@dataclass(frozen=True, slots=True)
class Infrastructure:
    """The engine, the states of stacks, and the plans that wait for their approval."""

    engine: Engine
    states: FileStateStore
    plans: FilePlanStore
    environment: Mapping[str, str]
    """What programs and providers find in their environment: what the operator granted, and nothing else."""


def open_infrastructure(
    directory: Path,
    keys: KeyProvider,
    *,
    environ: Mapping[str, str],
    granted: str | None = None,
    program_network: bool = False,
    engine: Literal["embedded", "pulumi"] = "embedded",
) -> Infrastructure:
    """Open infrastructure as code with everything below `directory`. Starts nothing.

    `granted` names the variables of `environ` that stacks get: names or patterns such as `AWS_*`, separated by
    commas. `pulumi` is the command of that name, with the backend it is logged in to.
    """
    plans = FilePlanStore(directory / "plans", keys)
    states = directory / "states"
    return Infrastructure(
        engine=CliEngine()
        if engine == "pulumi"
        else EmbeddedEngine(keys, states, program_network, plans.plan_json),
        states=FileStateStore(states),
        plans=plans,
        environment=granted_environment(granted, environ),
    )


def granted_environment(granted: str | None, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that stacks get."""
    patterns = [pattern.strip() for pattern in (granted or "").split(",") if pattern.strip()]
    return {
        name: value for name, value in environ.items() if any(fnmatchcase(name, pattern) for pattern in patterns)
    }
