"""Puts together what disaster recovery needs, from the operator's settings."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from quantum_suite.services.encryption.interface import KeyProvider
from quantum_suite.services.recovery.plan_store import RecoveryPlans
from quantum_suite.services.recovery.records import DrillRecords
from quantum_suite.services.recovery.runner import DrillRunner


@dataclass(frozen=True, slots=True)
class Recovery:
    """What runs drills, the evidence of those there were, and the environment that has credentials."""

    runner: DrillRunner
    records: DrillRecords
    plans: RecoveryPlans
    environ: Mapping[str, str]


def open_recovery(
    directory: Path, keys: KeyProvider, *, environ: Mapping[str, str], scratch: Path | None = None
) -> Recovery:
    """Open disaster recovery with its evidence below `directory`. Starts nothing; ends what killed drills left.

    Without `scratch`, drills run in a folder of this user's in the system's temporary one: the servers of a hub
    that is root run as nobody, who may seldom enter a data directory.
    """
    place = scratch or Path(tempfile.gettempdir()) / f"quantum-drills-{os.geteuid()}"
    runner = DrillRunner(place, keys, environ)
    runner.sweep()
    return Recovery(
        runner, DrillRecords(directory / "drills"), RecoveryPlans(directory / "recovery-plans"), environ
    )
