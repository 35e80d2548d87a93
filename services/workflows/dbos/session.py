"""One worker's hold on one run: what was remembered of it, what is wished of it, and what it waits for."""

import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, NoReturn, Protocol, TypeVar

import anyio

from quantum_suite.core.errors import Fenced, Unavailable
from quantum_suite.services.workflows.dbos.ledger import Ledger, Transaction, Work
from quantum_suite.services.workflows.dbos.rows import Kept, Loaded, now_ms
from quantum_suite.services.workflows.dbos.transitions import (
    Claim,
    Wish,
    begin_wait,
    end_wait,
    hold,
    keep_step,
    report,
)
from quantum_suite.services.workflows.failures import failure_of
from quantum_suite.services.workflows.interface import (
    PROGRESS_STATUS,
    Failure,
    Json,
    Owner,
    Run,
    StepContext,
    StepFailed,
)

T = TypeVar("T")
Undo = Callable[[StepContext, Json], Awaitable[None]]
Stop = Literal["pause", "cancel", "deadline", "fenced", "ending", "diverged"]

_log = logging.getLogger(__name__)
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0
_REPLAY_SECONDS = 1.0
_PROGRESS_SECONDS = 1.0


class PlacedFailure(StepFailed):
    """A step's failure that knows where in the code it was."""

    def __init__(self, step: str, failure: Failure, place: str) -> None:
        super().__init__(step, failure)
        self.place = place


class Host(Protocol):
    """What a session needs of its worker."""

    @property
    def ledger(self) -> Ledger: ...

    def lost(self) -> bool:
        """Whether this worker must take itself for dead: it has not renewed its lease in time."""
        ...

    async def load(self, run_id: str) -> Loaded: ...

    async def run_child(
        self, parent: Loaded, child_id: str, workflow: str, arguments: Json, queue: str | None
    ) -> Run: ...

    async def cancel_children(self, run_id: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Done:
    """A step that can be taken back."""

    kept: Kept
    undo: Undo


class Session:
    """What the code of one run works through. Its steps are done once and remembered."""

    def __init__(self, claim: Claim, host: Host, loaded: Loaded | None) -> None:
        self.claim = claim
        self.host = host
        self.loaded = loaded
        self.undos: list[Done] = []
        self.stop: Stop | None = None
        """Why the code is to stop before it begins something new."""
        self.halted: Stop | None = None
        """Why it was stopped."""
        self.diverged: Failure | None = None
        self.scope: anyio.CancelScope | None = None
        self._bell = anyio.Event()
        self.unseen: set[str] = set()
        self._status: dict[str, Json] = {}
        self._number = 0
        self._progress_at = 0.0

    # For the worker

    def begin(self) -> None:
        """Begin the code anew, with all that was remembered of the run so far."""
        loaded = self._loaded
        self.undos.clear()
        self.diverged = self.halted = None
        self._status = dict(loaded.status)
        self.unseen = {place for place in loaded.steps if not place.startswith("undo ")}
        numbers = [kept.number for kept in loaded.steps.values()]
        numbers += [int(spec["number"]) for spec in loaded.waiting.values()]
        self._number = max(numbers, default=0)
        self.stop = loaded.wish
        if loaded.deadline_ms is not None and loaded.deadline_ms <= now_ms():
            self.stop = "deadline"
        if loaded.ending is not None:
            self.stop = "ending"

    def request(self, wish: Wish) -> None:
        """Obey what people wish by now. A step that is under way ends when they cancel, not when they pause."""
        if self.stop in (None, "pause"):  # who cancels does not change their mind
            self.stop = wish
        if wish == "cancel" and self.scope is not None:
            # What was done before must have been seen again before the code is stopped, or it would not be undone.
            self.scope.deadline = min(
                self.scope.deadline, anyio.current_time() + (_REPLAY_SECONDS if self.unseen else 0)
            )
        self.ring()

    def halt(self, why: Stop) -> None:
        """Stop the code where it is, for good: what is wished from now on counts for the next time it is run."""
        if self.halted is None or why == "fenced":
            self.halted = why
        if self.scope is not None:
            self.scope.cancel()

    def ring(self) -> None:
        """Have waits look again at what they wait for."""
        self._bell.set()
        self._bell = anyio.Event()

    # For the run's context

    @property
    def owner(self) -> Owner:
        """For whom the run works."""
        return self._loaded.run.owner

    async def once(
        self, place: str, name: str, work: Callable[[], Awaitable[Json]], *, child: str | None = None
    ) -> Kept:
        """Do what was not done before, and remember it; raises PlacedFailure for what failed, now or then."""
        kept = self._seen(place, name)
        if kept is None:
            await self._gate()
            number, started = self.next_number(), now_ms()
            failure, result = None, None
            try:
                result = as_json(await work())
            except Exception as error:
                if isinstance(error, Fenced) and not await self.owned():
                    await self._leave("fenced")
                failure = failure_of(error, f"The step {name} of run {self.claim.run_id}")
            kept = Kept(number, place, name, result, failure, child, started, now_ms())
            self.request(await self.persist(keep_step(self.claim, kept)))
        if kept.failure is not None:
            raise PlacedFailure(name, kept.failure, place)
        return kept

    async def wait(
        self, place: str, name: str, seconds: float, spec: dict[str, Json], *, otherwise: Json = None
    ) -> Json:
        """Wait for what `spec` names, for so long at most; returns what came, or `otherwise`."""
        kept = self._seen(place, name)
        if kept is not None:
            return kept.result
        await self._gate()
        now = now_ms()
        noted = self._loaded.waiting.get(place)
        if noted is None:
            times = {"since_ms": now, "until_ms": now + int(seconds * 1000), "name": name}
            number = self.next_number()
            noted = await self.persist(begin_wait(self.claim, place, {**spec, **times, "number": number}))
        kept = Kept(noted["number"], place, name, otherwise, None, None, noted["since_ms"], now)
        # A clock that is set back must not make a wait longer than it was to be.
        longest = noted["until_ms"] - max(now, noted["since_ms"])
        last_moment = anyio.current_time() + longest / 1000
        while True:
            bell = self._bell
            remaining = min((noted["until_ms"] - now_ms()) / 1000, last_moment - anyio.current_time())
            if remaining <= 0 or spec["kind"] != "sleep":
                work = end_wait(self.claim, kept, topic=spec.get("topic"), at_last=remaining <= 0)
                ended, wish = await self.persist(work)
                if wish is not None:
                    self.request(wish)
                if ended is not None:
                    return ended.result
            await self._gate()
            with anyio.move_on_after(max(remaining, 0)):
                await bell.wait()

    async def report(self, key: str, value: Json) -> None:
        """Have `Run.status` say something; what replays say again is not written again."""
        if not self.unseen and self._status.get(key, self) != value:
            self.request(await self.persist(report(self.claim, key, value)))
            self._status[key] = value

    async def progress(self, step: str, done: float, total: float | None, message: str | None) -> None:
        """Have `Run.status` say how far a step has come, at most once a second; may be lost."""
        now = anyio.current_time()
        if now - self._progress_at < _PROGRESS_SECONDS:
            return
        self._progress_at = now
        said = {"step": step, "progress": done, "total": total, "message": message}
        try:
            await self.host.ledger.write(report(self.claim, PROGRESS_STATUS, said))
        except (Unavailable, Fenced) as error:
            _log.info("progress of %s was not kept: %s", self.claim.run_id, error)

    async def check(self) -> None:
        """Raise Fenced when the run is not this worker's any more, or may not be."""
        if not await self.owned():
            raise Fenced(f"Run {self.claim.run_id} was given to another worker.", "Stop working on it.")

    async def run_child(self, child_id: str, workflow: str, arguments: Json, queue: str | None) -> Run:
        """Run another workflow to its end, however long the database is away meanwhile; raises Fenced."""
        loaded = self._loaded
        return await self.outlasting(lambda: self.host.run_child(loaded, child_id, workflow, arguments, queue))

    async def persist(self, work: Work[T]) -> T:
        """Write, however long the database is away; what was begun is written even when the run is stopped.

        Where the run is not this worker's any more, its code is stopped.
        """
        try:
            return await self.write_shielded(work)
        except Fenced:
            await self._leave("fenced")

    @property
    def _loaded(self) -> Loaded:
        if self.loaded is None:
            raise RuntimeError("the session has not begun")
        return self.loaded

    async def outlasting(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do what needs the database, again and again while it is away: that fails no run.

        Raises Fenced once this worker must take itself for dead.
        """
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                return await work()
            except Unavailable as error:
                if self.host.lost():
                    raise Fenced("This worker's lease has run out.", "Its runs go on elsewhere.") from error
                if pause == _FIRST_PAUSE_SECONDS:
                    _log.warning("run %s waits for its database: %s", self.claim.run_id, error)
            await anyio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def owned(self) -> bool:
        """Whether the run is still this worker's, as far as anybody can tell; waits for the database."""

        def look(transaction: Transaction) -> None:
            hold(transaction, self.claim, lock=False)

        if self.host.lost():
            return False
        try:
            await self.outlasting(lambda: self.host.ledger.read(look))
        except Fenced:
            return False
        return True

    async def _gate(self) -> None:
        """Before something new is begun: stop here if the run is to stop."""
        if self.stop is not None:
            await self._leave(self.stop)

    async def _leave(self, why: Stop) -> NoReturn:
        self.halt(why)
        await anyio.sleep_forever()
        raise RuntimeError("a halted run went on")

    def _seen(self, place: str, name: str) -> Kept | None:
        kept = self._loaded.steps.get(place)
        self.unseen.discard(place)
        if kept is not None and kept.name != name:
            words = f"Step {place} was '{kept.name}' when the run began, and is '{name}' in the present code."
            self.diverged = Failure("diverged", words, "Give the changed workflow another version.")
            self.stop = "diverged"
            return None
        return kept

    def next_number(self) -> int:
        """Return the number of the step that begins now."""
        self._number += 1
        return self._number

    def step_context(self, place: str, name: str, attempt: int) -> StepContext:
        """Return what the work of a step is told."""

        async def progress(done: float, total: float | None, message: str | None) -> None:
            await self.progress(name, done, total, message)

        return StepContext(
            run_id=self.claim.run_id,
            step=name,
            attempt=attempt,
            idempotency_key=f"{self.claim.run_id}:{place}",
            check=self.check,
            progress=progress,
        )

    async def write_shielded(self, work: Work[T]) -> T:
        """Write outside the run's code; raises Fenced."""
        with anyio.CancelScope(shield=True):
            written = await self.outlasting(lambda: self.host.ledger.write(work))
        return written  # noqa: RET504  # to mypy a cancel scope may swallow a return inside it


def as_json(value: Json) -> Json:
    """Return a copy of a value as storing it would; raises TypeError or ValueError for what is no JSON."""
    return json.loads(json.dumps(value, allow_nan=False))
