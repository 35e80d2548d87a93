"""Does what an approved plan says, exactly that or nothing."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from quantum_suite.core.errors import CallerError, Conflict, SuiteError
from quantum_suite.core.events import EventData, NewEvent
from quantum_suite.core.ids import new_id
from quantum_suite.core.infrastructure_events import StackRunEnded, StackRunStarted, StackVerb, run_stream
from quantum_suite.core.principals import Principal
from quantum_suite.services.events.interface import ANY_VERSION, EventStore
from quantum_suite.services.infrastructure.interface import Progress as StepProgress
from quantum_suite.services.infrastructure.interface import RunOutcome, StackRef, StackRequest, StepReport
from quantum_suite.services.infrastructure.plan import PlanKind
from quantum_suite.services.infrastructure.plans import StoredPlan
from quantum_suite.tools.qinfra.preview_stack import StackPlanner
from quantum_suite.tools.qinfra.progress import Progress, before_steps


@dataclass(frozen=True, slots=True)
class StackRun:
    """What a run did, and its id in the record of events."""

    run: str
    outcome: RunOutcome


@dataclass(frozen=True, slots=True)
class StackRunner:
    """What changing a stack needs. One object serves every call."""

    planner: StackPlanner
    events: EventStore

    async def apply(
        self,
        ref: StackRef,
        digest: str,
        verb: Literal["up", "destroy", "refresh"],
        principal: Principal,
        progress: Progress,
        correlation_id: str | None = None,
    ) -> StackRun:
        """Carry out the plan of that digest. The plan is made anew first, and refused where it is another.

        Every run is two events, its beginning and its end. Raises CallerError for a digest that is not this
        stack's, Conflict where the plan differs or policy forbids it, and as the engine does.
        """
        stored = await self._stored(ref, digest, "update" if verb == "up" else verb)
        if verb == "up":
            await self._judge(stored)
        request = self.planner.equipped(stored.request)

        async def run(told: StepProgress) -> RunOutcome:
            engine = self.planner.engine
            if verb == "refresh":
                return await engine.refresh(request, told, digest=digest)
            work = engine.up if verb == "up" else engine.destroy
            return await work(request, digest, told)

        return await self.recorded(request, verb, run, principal, progress, digest, correlation_id)

    async def import_resource(
        self, request: StackRequest, principal: Principal, progress: Progress, correlation_id: str | None = None
    ) -> StackRun:
        """Take a resource under management that program and world have. Changes the state alone."""
        request = self.planner.equipped(request)

        async def run(told: StepProgress) -> RunOutcome:
            return await self.planner.engine.import_(request, told)

        return await self.recorded(request, "import", run, principal, progress, "", correlation_id)

    async def recorded(
        self,
        request: StackRequest,
        verb: StackVerb,
        run: Callable[[StepProgress], Awaitable[RunOutcome]],
        principal: Principal,
        progress: Progress,
        digest: str = "",
        correlation_id: str | None = None,
    ) -> StackRun:
        """Carry out a run between two events, with a place on the machine, telling how far it is."""
        run_id = new_id("run")
        folder, stack = str(request.ref.folder), request.ref.stack

        async def tell(data: EventData) -> None:
            event = NewEvent(data, principal=principal.id, correlation_id=correlation_id)
            await self.events.append(run_stream(run_id), ANY_VERSION, [event])

        async def told(report: StepReport) -> None:
            words = f"{report.operation} {report.urn.rpartition('::')[2]}: {report.state}"
            await progress(report.done, report.total, f"{words} ({report.message})" if report.message else words)

        await tell(StackRunStarted(run=run_id, verb=verb, folder=folder, stack=stack, digest=digest))
        try:
            async with self.planner.capacity.place(f"a run of stack {stack}", before_steps(progress)):
                outcome = await run(told)
        except SuiteError as error:
            state: Literal["failed", "refused"] = "refused" if isinstance(error, CallerError) else "failed"
            await tell(StackRunEnded(run=run_id, verb=verb, folder=folder, stack=stack, state=state))
            raise
        await tell(
            StackRunEnded(
                run=run_id,
                verb=verb,
                folder=folder,
                stack=stack,
                state=outcome.state,
                done=dict(outcome.done),
                failed=tuple(urn for urn, _ in outcome.failures),
                pending=tuple(outcome.pending),
                serial=outcome.serial,
            )
        )
        return StackRun(run_id, outcome)

    async def _stored(self, ref: StackRef, digest: str, kind: PlanKind) -> StoredPlan:
        stored = await self.planner.plans.get_for(ref, digest)
        if stored.plan.kind != kind:
            raise CallerError(
                f"That plan is to {stored.plan.kind} the stack, not to {kind} it.",
                "apply_stack carries out what preview_stack plans, destroy_stack what it plans with destroy=true.",
                argument="plan_digest",
            )
        return stored

    async def _judge(self, stored: StoredPlan) -> None:
        """Have the policies of today judge the plan: they may have changed since it was made."""
        verdicts = await self.planner.verdicts(stored.plan, stored.request.ref.folder)
        against = [verdict for verdict in verdicts if verdict.level == "mandatory"]
        if against:
            first = against[0]
            raise Conflict(
                f"Policy {first.pack}/{first.rule} forbids the plan: {first.message}",
                "Change the program to what the policy asks for, and preview again.",
                argument="plan_digest",
            )
