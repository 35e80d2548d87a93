"""Makes the plan of a stack, has policies judge it, and keeps it until somebody applies it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from quantum_suite.core.principals import Principal
from quantum_suite.services.capacity.interface import Capacity
from quantum_suite.services.infrastructure.interface import Engine, PolicyCheck, StackRequest
from quantum_suite.services.infrastructure.plan import Plan, PlanKind, PolicyVerdict
from quantum_suite.services.infrastructure.plans import FilePlanStore
from quantum_suite.tools.qinfra.progress import Progress, before_steps


@dataclass(frozen=True, slots=True)
class StackPlanner:
    """What a preview needs. One object serves every call."""

    engine: Engine
    plans: FilePlanStore
    environment: Mapping[str, str]
    capacity: Capacity
    checks: Sequence[PolicyCheck] = ()
    """Asked about every plan; what one of them calls mandatory keeps a plan from being applied."""

    async def plan(self, request: StackRequest, kind: PlanKind, principal: Principal, progress: Progress) -> Plan:
        """Return the plan, judged and kept. Changes nothing. Raises as the engine and the checks do."""
        request = self.equipped(request)

        async with self.capacity.place("a preview of a stack", before_steps(progress)):
            await progress(0, None, f"Running the program of {request.ref.stack} without effects")
            plan = await self.engine.preview(request, kind=kind)
        plan = plan.with_verdicts(await self.verdicts(plan, request.ref.folder))
        await self.plans.keep(plan, request, principal.id)
        return plan

    async def verdicts(self, plan: Plan, folder: Path) -> tuple[PolicyVerdict, ...]:
        """Return what every check objects to."""
        found: list[PolicyVerdict] = []
        for check in self.checks:
            found += await check.check(plan, folder)
        return tuple(found)

    def equipped(self, request: StackRequest) -> StackRequest:
        """Return a request with the environment the operator granted."""
        return replace(request, environment=self.environment)
