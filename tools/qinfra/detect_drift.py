"""Says where the world is not as a stack's state has it, and brings the two together again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from quantum_suite.core.errors import CallerError
from quantum_suite.core.principals import Principal
from quantum_suite.services.infrastructure.interface import StackRef, StackRequest
from quantum_suite.services.infrastructure.plan import Plan
from quantum_suite.tools.qinfra.apply_stack import StackRun, StackRunner
from quantum_suite.tools.qinfra.progress import Progress

Direction = Literal["to_program", "to_cloud"]


@dataclass(frozen=True, slots=True)
class DriftFinder:
    """What looking for drift needs. One object serves every call."""

    runner: StackRunner

    async def detect(
        self, ref: StackRef, principal: Principal, progress: Progress, targets: Sequence[str] = ()
    ) -> Plan:
        """Return a plan that would accept what the world has; its `drift` says where it differs from the state.

        Changes nothing, and runs no program: each resource is read by the provider that made it. Raises as the
        engine does.
        """
        request = StackRequest(ref, targets=tuple(targets))
        return await self.runner.planner.plan(request, "refresh", principal, progress)

    async def reconcile(
        self,
        ref: StackRef,
        digest: str,
        direction: Direction,
        principal: Principal,
        progress: Progress,
        correlation_id: str | None = None,
    ) -> StackRun:
        """Carry out the plan of that digest: the program's (`to_program`), or that of `detect` (`to_cloud`).

        Raises CallerError where the plan is for the other direction, or was made without looking at the world.
        """
        stored = await self.runner.planner.plans.get(digest)
        if direction == "to_program" and not (stored.plan.kind == "update" and stored.request.refresh):
            raise CallerError(
                "That plan does not bring the world back to the program.",
                "Make one with preview_stack and refresh=true, and give its digest.",
                argument="plan_digest",
            )
        if direction == "to_cloud" and stored.plan.kind != "refresh":
            raise CallerError(
                "That plan does not accept what the world has.",
                "Make one with detect_drift, and give its accept_digest.",
                argument="plan_digest",
            )
        verb: Literal["up", "refresh"] = "up" if direction == "to_program" else "refresh"
        return await self.runner.apply(ref, digest, verb, principal, progress, correlation_id)
