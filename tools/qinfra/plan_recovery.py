"""Looks at a PostgreSQL server and says which way of recovery can reach the objectives."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread

from quantum_suite.core.errors import CallerError
from quantum_suite.core.ids import new_id
from quantum_suite.core.principals import Principal
from quantum_suite.services.recovery.inspection import inspect
from quantum_suite.services.recovery.interface import DrillKind, DrillReport, Objectives
from quantum_suite.services.recovery.known_backups import KnownBackup, known_backups
from quantum_suite.services.recovery.live_source import parse_source
from quantum_suite.services.recovery.opening import Recovery
from quantum_suite.services.recovery.plan import RecoveryPlan, make_plan


@dataclass(frozen=True, slots=True)
class RecoveryPlanner:
    """What planning needs. One object serves every call."""

    recovery: Recovery

    async def plan(
        self, target: str, objectives: Objectives, backups: Path | None, principal: Principal
    ) -> RecoveryPlan:
        """Return the plan for a server, kept. Reads, and changes nothing.

        `backups` is a folder with the manifests of base backups, resolved already. Raises CallerError for a target
        that is no address and for a folder that is none, Unavailable for a server that cannot be looked at.
        """
        server = parse_source(target)
        known: tuple[list[KnownBackup], list[str]] = ([], [])
        if backups is not None:
            if not backups.is_dir():  # noqa: ASYNC240 - one look at a local folder
                raise CallerError(
                    f"{backups} is no folder.",
                    "Name the folder that has the backups' manifests (backup_manifest).",
                    argument="backups",
                )
            known = await anyio.to_thread.run_sync(known_backups, backups)
        facts = await inspect(server, self.recovery.environ)
        kinds: tuple[DrillKind, ...] = ("failover", "point_in_time")
        drills: dict[DrillKind, Sequence[DrillReport]] = {
            kind: await self.recovery.records.past(kind, principal.id) for kind in kinds
        }
        plan = make_plan(new_id("plan"), server.shown, objectives, facts, *known, drills)
        plan = plan.model_copy(update={"owner": principal.id})
        await self.recovery.plans.keep(plan)
        return plan
