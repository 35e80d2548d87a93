"""Judges a plan, or a stack as it is, by the policies."""

from collections.abc import Sequence
from dataclasses import dataclass

import anyio.to_thread

from quantum_suite.core.errors import CallerError
from quantum_suite.services.infrastructure.interface import Engine, StackRef
from quantum_suite.services.infrastructure.plan import PolicyVerdict
from quantum_suite.services.infrastructure.plans import FilePlanStore
from quantum_suite.services.infrastructure_policy.packs import packs_of
from quantum_suite.services.infrastructure_policy.rego import RegoPolicyCheck, plan_resources, state_resources


@dataclass(frozen=True, slots=True)
class Judgement:
    """What policies object to."""

    judged: str
    """`plan` or `state`."""
    resources: int
    packs: Sequence[str]
    verdicts: Sequence[PolicyVerdict]

    @property
    def passes(self) -> bool:
        """Return whether nothing mandatory is violated."""
        return not any(verdict.level == "mandatory" for verdict in self.verdicts)


@dataclass(frozen=True, slots=True)
class PolicyJudge:
    """What judging needs. One object serves every call."""

    check: RegoPolicyCheck
    engine: Engine
    plans: FilePlanStore

    async def judge(self, ref: StackRef, digest: str = "", packs: Sequence[str] = ()) -> Judgement:
        """Judge the plan of that digest, else the stack's state, by all packs or those named.

        Raises CallerError for a plan of another stack or a pack that is not there, and as the check does.
        """
        there = [pack.name for pack in await anyio.to_thread.run_sync(packs_of, ref.folder)]
        unknown = sorted(set(packs) - set(there))
        if unknown:
            raise CallerError(
                f"There is no policy pack {', '.join(unknown)}.",
                f"There are {', '.join(there)}.",
                argument="packs",
            )
        if digest:
            stored = await self.plans.get_for(ref, digest)
            project, resources = stored.plan.project, plan_resources(stored.plan)
        else:
            state = await self.engine.state(ref)
            project, resources = state.project, state_resources(state)
        verdicts = await self.check.judged(resources, project, ref.stack, ref.folder, packs)
        return Judgement("plan" if digest else "state", len(resources), list(packs) or there, verdicts)
