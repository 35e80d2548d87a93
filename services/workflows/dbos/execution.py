"""Carries a run to its end: runs its code, undoes what has to be undone, and writes how it ended."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

import anyio

from quantum_suite.core.errors import Fenced
from quantum_suite.services.workflows.attempts import UNDO_SECONDS, within
from quantum_suite.services.workflows.dbos.context import DurableRunContext
from quantum_suite.services.workflows.dbos.rows import Kept, Loaded, now_ms
from quantum_suite.services.workflows.dbos.session import Done, PlacedFailure, Session, as_json
from quantum_suite.services.workflows.dbos.transitions import Ending, begin_ending, finish, keep_step, park
from quantum_suite.services.workflows.failures import failure_of
from quantum_suite.services.workflows.interface import Body, Failure, Json, Run

FindBody = Callable[[Run], Body | None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ends."""

    state: Ending
    result: Json = None
    failure: Failure | None = None
    failed_at: str | None = None
    """The place of the step that ended it, where one did."""


class Execution:
    """Works on one run in a session."""

    def __init__(self, session: Session, body: FindBody, most_attempts: int) -> None:
        self.session = session
        self.ended = False
        self._body = body
        self._most_attempts = most_attempts

    async def run(self) -> None:
        """Work on the run until it has ended or was parked. Raises Fenced when it was taken away."""
        while await self._go():
            self.session.loaded = None

    async def give_up(self, failure: Failure) -> None:
        """End a run that cannot be worked on."""
        await self.session.host.ledger.write(finish(self.session.claim, "failed", failure=failure))
        self.ended = True

    async def _go(self) -> bool:
        """Run the code once; True when it is to be run again."""
        session = self.session
        if session.loaded is None:
            session.loaded = await session.outlasting(self._load)
        loaded = session.loaded
        session.claim = replace(session.claim, principal=loaded.run.owner.principal)
        body = self._body(loaded.run)
        refused = self._refusal(loaded, body)
        if refused is not None or body is None:
            await self._finish(Outcome("failed", failure=refused))
            return False
        session.begin()
        outcome = await self._code(body, loaded)
        if session.halted == "fenced":
            raise Fenced(f"Run {session.claim.run_id} was given to another worker.")
        if session.halted == "pause" and outcome.state != "completed":
            return not await session.write_shielded(park(session.claim))
        if outcome.state != "completed" and session.halted != "diverged":
            await session.outlasting(lambda: session.host.cancel_children(session.claim.run_id))
            await self._undo(outcome, loaded)
        await self._finish(outcome)
        return False

    async def _load(self) -> Loaded:
        return await self.session.host.load(self.session.claim.run_id)

    async def _finish(self, outcome: Outcome) -> None:
        work = finish(
            self.session.claim,
            outcome.state,
            result=outcome.result,
            failure=outcome.failure,
            failed_at=outcome.failed_at,
        )
        await self.session.write_shielded(work)
        self.ended = True

    def _refusal(self, loaded: Loaded, body: Body | None) -> Failure | None:
        run = loaded.run
        if body is None:
            return Failure(
                "version_unknown",
                f"Run {run.id} began with version {run.version} of {run.workflow}, whose code is not here.",
                "Resume it where that version is, or start it anew.",
            )
        if loaded.attempts > self._most_attempts:
            return Failure(
                "recovery_exhausted",
                f"Run {run.id} was taken up {self._most_attempts} times, and lost its worker at the same step.",
                "See why in the logs, then resume it.",
            )
        return None

    async def _code(self, body: Body, loaded: Loaded) -> Outcome:
        """Run the code; returns how the run ends."""
        session = self.session
        returned: Outcome | None = None
        with anyio.CancelScope() as session.scope:
            if loaded.deadline_ms is not None and session.stop is None:
                session.scope.deadline = anyio.current_time() + (loaded.deadline_ms - now_ms()) / 1000
            try:
                result = as_json(await body(DurableRunContext(session, ""), loaded.run.arguments))
                returned = Outcome("completed", result=result)
            except Exception as error:
                place = error.place if isinstance(error, PlacedFailure) else None
                failure = failure_of(error, f"The run {session.claim.run_id}")
                returned = Outcome("failed", failure=failure, failed_at=place)
        session.scope = None
        if loaded.ending is not None:
            return _noted(loaded.ending)
        if returned is not None and session.halted is None:
            return returned
        if session.halted == "diverged":
            return Outcome("failed", failure=session.diverged)
        if session.halted == "cancel" or (session.halted is None and session.stop == "cancel"):
            return Outcome("cancelled")
        late = Failure("deadline_exceeded", "The run took longer than it was given.")
        return returned or Outcome("failed", failure=late)

    async def _undo(self, outcome: Outcome, loaded: Loaded) -> None:
        """Take back what was done, last first. What cannot be taken back stays on the record as a failed step."""
        session = self.session
        if session.undos and loaded.ending is None:
            noted = begin_ending(session.claim, outcome.state, outcome.failure, outcome.failed_at)
            await session.write_shielded(noted)
        for done in reversed(session.undos):
            if f"undo {done.kept.place}" not in loaded.steps:
                await self._undo_one(done)

    async def _undo_one(self, done: Done) -> None:
        session = self.session
        place, name = f"undo {done.kept.place}", f"undo {done.kept.name}"
        number, started = session.next_number(), now_ms()
        failure = None
        try:
            await within(UNDO_SECONDS, name, done.undo(session.step_context(place, name, 1), done.kept.result))
        except Exception as error:
            if isinstance(error, Fenced) and not await session.owned():
                raise
            failure = failure_of(error, f"The step {name} of run {session.claim.run_id}")
        kept = Kept(number, place, name, None, failure, None, started, now_ms())
        await session.write_shielded(keep_step(session.claim, kept, undone=done.kept))


def _noted(ending: dict[str, Json]) -> Outcome:
    said = json.loads(ending["failure"]) if ending["failure"] else None
    failure = Failure(said["code"], said["message"], said.get("hint")) if said else None
    return Outcome(ending["state"], failure=failure, failed_at=ending["failed_at"])
