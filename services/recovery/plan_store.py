"""Keeps recovery plans, so that their pages can be read later."""

import re
import tempfile
from pathlib import Path

import anyio.to_thread

from quantum_suite.core.errors import NotFound
from quantum_suite.services.recovery.plan import RecoveryPlan

_ID = re.compile(r"plan_[0-9a-z]{26}")
_KEPT = 200


class RecoveryPlans:
    """A folder of plans; the oldest go when there are many."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def keep(self, plan: RecoveryPlan) -> None:
        """Keep a plan."""
        await anyio.to_thread.run_sync(self._write, plan)

    async def get(self, plan: str) -> RecoveryPlan:
        """Return a plan; raises NotFound."""
        return await anyio.to_thread.run_sync(self._read, plan)

    def _read(self, plan: str) -> RecoveryPlan:
        try:
            if not _ID.fullmatch(plan):
                raise FileNotFoundError
            return RecoveryPlan.model_validate_json((self._folder / f"{plan}.json").read_bytes())
        except FileNotFoundError:
            raise NotFound(f"There is no recovery plan '{plan}'.", "Make one with plan_recovery.") from None

    def _write(self, plan: RecoveryPlan) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=self._folder, suffix=".new", delete=False) as file:
            file.write(plan.model_dump_json().encode())
        Path(file.name).replace(self._folder / f"{plan.id}.json")
        for path in sorted(self._folder.glob("plan_*.json"), reverse=True)[_KEPT:]:
            path.unlink(missing_ok=True)
