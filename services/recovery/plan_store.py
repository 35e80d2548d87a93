"""Keeps recovery plans, so that their pages can be read later."""

from pathlib import Path

import anyio.to_thread

from quantum_suite.core.errors import NotFound
from quantum_suite.services.records.file_records import FileRecords
from quantum_suite.services.recovery.plan import RecoveryPlan

_KEPT = 200


class RecoveryPlans:
    """A folder of plans; the oldest go when there are many."""

    def __init__(self, folder: Path) -> None:
        self._files = FileRecords(folder, "plan", _KEPT)

    async def keep(self, plan: RecoveryPlan) -> None:
        """Keep a plan."""
        await anyio.to_thread.run_sync(self._files.write, plan.id, plan.model_dump_json().encode())

    async def get(self, plan: str) -> RecoveryPlan:
        """Return a plan; raises NotFound."""
        return await anyio.to_thread.run_sync(self._read, plan)

    def _read(self, plan: str) -> RecoveryPlan:
        try:
            return RecoveryPlan.model_validate_json(self._files.read(plan))
        except FileNotFoundError:
            raise NotFound(f"There is no recovery plan '{plan}'.", "Make one with plan_recovery.") from None
