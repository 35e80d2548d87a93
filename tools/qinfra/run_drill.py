"""Runs a recovery drill, keeps its evidence, and says in the record of events that it was run."""

import time
from dataclasses import dataclass
from typing import Literal

import anyio

from quantum_suite.core.errors import CallerError, SuiteError
from quantum_suite.core.events import NewEvent
from quantum_suite.core.ids import new_id
from quantum_suite.core.masking import mask_text
from quantum_suite.core.principals import Principal
from quantum_suite.core.recovery_events import DrillFinished, drill_stream
from quantum_suite.services.capacity.interface import Capacity
from quantum_suite.services.events.interface import ANY_VERSION, EventStore
from quantum_suite.services.recovery.interface import DrillReport, DrillRequest
from quantum_suite.services.recovery.opening import Recovery
from quantum_suite.services.recovery.runner import abandoned
from quantum_suite.tools.qinfra.progress import Progress, before_steps


@dataclass(frozen=True, slots=True)
class KeptDrill:
    """A drill's report, and the digest of what is kept of it."""

    report: DrillReport
    digest: str


@dataclass(frozen=True, slots=True)
class Driller:
    """What drills need. One object serves every call."""

    recovery: Recovery
    events: EventStore
    capacity: Capacity

    async def run(
        self, request: DrillRequest, principal: Principal, progress: Progress, correlation_id: str | None = None
    ) -> KeptDrill:
        """Run a drill in a scratch place; evidence is kept of one that fails or is cancelled, too.

        Raises as the runner does for a drill that cannot begin or whose process dies.
        """
        drill, began = new_id("drill"), time.monotonic()

        async def keep(report: DrillReport) -> KeptDrill:
            report = report.model_copy(update={"owner": principal.id})
            digest = await self.recovery.records.keep(report)
            event = NewEvent(_event(report, digest), principal=principal.id, correlation_id=correlation_id)
            await self.events.append(drill_stream(drill), ANY_VERSION, [event])
            return KeptDrill(report, digest)

        async def given_up(state: Literal["failed", "cancelled"], problem: str) -> None:
            with anyio.CancelScope(shield=True):
                await keep(abandoned(drill, request, state, problem, time.monotonic() - began))

        try:
            async with self.capacity.place("a recovery drill", before_steps(progress)):
                report = await self.recovery.runner.run(drill, request, progress)
        except CallerError:
            raise  # nothing was begun
        except SuiteError as error:
            await given_up("failed", mask_text(str(error)))
            raise
        except anyio.get_cancelled_exc_class():
            await given_up("cancelled", "The drill was cancelled; nothing of it runs any more.")
            raise
        return await keep(report)


def _event(report: DrillReport, digest: str) -> DrillFinished:
    return DrillFinished(
        drill=report.id,
        kind=report.request.kind,
        state=report.state,
        copy_of_live=report.request.source is not None,
        rto_seconds=report.rto_seconds,
        acknowledged=report.rows.acknowledged if report.rows else 0,
        lost=report.rows.lost if report.rows else None,
        problem=report.problem,
        digest=digest,
    )
