"""Runs one projection or consumer, under a lease, for as long as it is let."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import anyio

from quantum_suite.core.errors import ConfigurationError, EngineMissing, Fenced, SuiteError
from quantum_suite.core.events import Event, EventFilter, Fence, Position, type_and_version
from quantum_suite.core.masking import mask_text
from quantum_suite.services.backoff import Backoff
from quantum_suite.services.events.interface import EventStore
from quantum_suite.services.leases.holding import lead
from quantum_suite.services.leases.interface import Lease, LeaseStore
from quantum_suite.services.projections.control_events import RebuildRequested, ReplayRequested, control_stream
from quantum_suite.services.projections.interface import ParkedEvent, ProgressStore
from quantum_suite.services.projections.status import ProjectionStatus
from quantum_suite.services.projections.subjects import Subject

logger = logging.getLogger(__name__)

_COUNTED_PARKED = 1000
_PROBLEM_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class RunnerSettings:
    """How projections and consumers are run."""

    lease_seconds: float = 15.0
    """How long after a process died another one takes over."""
    first_retry_seconds: float = 0.2
    longest_retry_seconds: float = 30.0
    parked_in_a_row: int = 20
    """After so many, each further one waits `longest_retry_seconds`."""
    measure_seconds: float = 5.0
    """How often lag is measured."""


class Worker:
    """One projection or consumer in this process: stands by, runs it while it has the lease, and reports."""

    def __init__(
        self,
        subject: Subject,
        events: EventStore,
        progress: ProgressStore,
        leases: LeaseStore,
        holder: str,
        settings: RunnerSettings,
    ) -> None:
        self.subject = subject
        self.lease_name = f"{subject.kind}/{subject.name}"
        self._events = events
        self._progress = progress
        self._leases = leases
        self._holder = holder
        self._settings = settings
        self._standby = ProjectionStatus(subject.name, subject.kind, "standby", None, 0, 0, None, None)
        self.status = self._standby
        self._reached: Position | None = None
        self._parked_in_a_row = 0
        self._turn = anyio.CancelScope()
        self._rebuilding: anyio.Event | None = None
        self._failure: Exception | None = None

    async def run(self) -> None:
        """Work whenever this process has the lease; returns only by cancellation."""
        backoff = self._backoff()
        while True:
            started = anyio.current_time()
            try:
                await lead(self._leases, self.lease_name, self._holder, self._settings.lease_seconds, self._work)
            except Exception as error:
                # Whatever it is: it stops this one for a while, and never the others.
                self._report_problem(error)
                logger.exception("%s stopped and is started again.", self.lease_name)
            if anyio.current_time() - started > self._settings.longest_retry_seconds:
                backoff.reset()
            await anyio.sleep(backoff.next())

    async def _work(self, lease: Lease) -> None:
        self._failure = self._rebuilding = None
        try:
            async with anyio.create_task_group() as tasks:
                for part in (self._follow, self._obey, self._measure):
                    tasks.start_soon(self._guarded, part, lease, tasks.cancel_scope)
        finally:
            self.status = replace(self._standby, handled=self.status.handled, problem=self.status.problem)
            with anyio.CancelScope(shield=True):
                await self.subject.release()
        if self._failure is not None:
            raise self._failure

    async def _guarded(
        self, part: Callable[[Lease], Awaitable[None]], lease: Lease, together: anyio.CancelScope
    ) -> None:
        """Do one part; its first error ends the others, and is raised by `_work` as it is."""
        try:
            await part(lease)
        except Exception as error:
            self._failure = self._failure or error
            together.cancel()

    async def _follow(self, lease: Lease) -> None:
        while True:
            if self._rebuilding is not None:
                await self._rebuild(lease, self._rebuilding)
            # No await between this look at `_rebuilding` and the new turn, so a request is never missed.
            with anyio.CancelScope() as self._turn:
                self._reached = await self.subject.begin(lease.fence)
                self.status = replace(self.status, state="catching_up", position=self._reached, problem=None)
                async with self._events.subscribe(self._reached, self.subject.where) as batches:
                    async for batch in batches:
                        await self._take(batch, lease.fence)

    async def _take(self, batch: Sequence[Event], fence: Fence) -> None:
        """Take in a batch; one that fails is halved until the event to blame is alone, and parked."""
        try:
            await self._outlasting(lambda: self.subject.take(batch, fence))
        except Fenced:
            raise
        except Exception as error:
            if len(batch) == 1:
                await self._park(batch[0], error, fence)
                return
            middle = len(batch) // 2
            await self._take(batch[:middle], fence)
            await self._take(batch[middle:], fence)
            return
        self._parked_in_a_row = 0
        self._moved(batch[-1], len(batch))
        if self.status.problem is not None:
            self.status = replace(self.status, state="catching_up", problem=None)

    async def _outlasting(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do `work`, again and again while what it needs is away."""
        backoff = self._backoff()
        told = False
        while True:
            try:
                await work()
            except SuiteError as error:
                if not _is_outage(error):
                    raise
                self._report_problem(error)
                if not told:
                    logger.warning("%s waits: %s", self.lease_name, error)
                    told = True
            else:
                if told:
                    logger.info("%s goes on.", self.lease_name)
                return
            await anyio.sleep(backoff.next())

    async def _park(self, event: Event, error: Exception, fence: Fence) -> None:
        logger.error(
            "%s cannot deal with event %s (%s at %s): it is parked.",
            *(self.lease_name, event.id, event.type, event.position),
            exc_info=error,
        )
        parked = self._parked(event, error)
        await self._outlasting(lambda: self._progress.park(parked, fence))
        await self._outlasting(lambda: self.subject.pass_over(event, fence))
        self._moved(event, 0)
        self._parked_in_a_row += 1
        if self._parked_in_a_row >= self._settings.parked_in_a_row:
            self.status = replace(self.status, state="slowed", problem=parked.problem)
            await anyio.sleep(self._settings.longest_retry_seconds)

    def _moved(self, event: Event, handled: int) -> None:
        self._reached = event.position
        self.status = replace(self.status, position=event.position, handled=self.status.handled + handled)

    async def _obey(self, lease: Lease) -> None:
        """Do what is asked for in the control stream, each request once."""
        noted = f"control/{self.subject.name}"
        where = EventFilter(stream=control_stream(self.subject.name))
        async with self._events.subscribe(await self._progress.checkpoint(noted), where) as batches:
            async for batch in batches:
                for request in batch:
                    await self._do(request, lease)
                    await self._progress.advance(noted, request.position, [], lease.fence)

    async def _do(self, request: Event, lease: Lease) -> None:
        asked = type_and_version(request.type)[0]
        if asked == RebuildRequested.event_type and self.subject.kind == "projection":
            self._rebuilding = anyio.Event()
            self._turn.cancel()
            await self._rebuilding.wait()
        elif asked == ReplayRequested.event_type and self.subject.kind == "consumer":
            await self._replay(Position(request.data["position"]), lease.fence)

    async def _rebuild(self, lease: Lease, done: anyio.Event) -> None:
        # `reset` knows no fence: make sure that it is still ours to do.
        if not await self._leases.renew(lease):
            raise Fenced(f"The lease {lease.name} was lost.")
        logger.warning("%s is rebuilt from the first event.", self.lease_name)
        await self._outlasting(self.subject.rebuild)
        self._rebuilding = None
        done.set()

    async def _replay(self, position: Position, fence: Fence) -> None:
        parked = await self._progress.find_parked(self.subject.name, position)
        if parked is None:
            return
        events = await self._events.read_stream(parked.stream, parked.version - 1, limit=1)
        try:
            await self.subject.replay(events[0])
        except Fenced:
            raise
        except Exception as error:
            logger.exception("%s still cannot deal with event %s.", self.lease_name, parked.event_id)
            await self._progress.park(self._parked(events[0], error), fence)
        else:
            await self._progress.unpark(self.subject.name, parked.position)

    async def _measure(self, lease: Lease) -> None:
        while True:
            try:
                await self._measure_once()
            except SuiteError as error:
                logger.debug("The lag of %s cannot be measured now: %s", lease.name, error)
            await anyio.sleep(self._settings.measure_seconds)

    async def _measure_once(self) -> None:
        parked = len(await self._progress.parked(self.subject.name, limit=_COUNTED_PARKED))
        before, head = self._reached, await self._events.head()
        waiting = await self._events.read(before, self.subject.where, limit=1)
        lag = 0
        if waiting:
            lag = await self._events.count(before)
        elif head is not None and self._reached == before:
            self._reached = head  # nothing wanted up to there, and nothing will ever appear before it
        seconds = max(0.0, (datetime.now(UTC) - waiting[0].time).total_seconds()) if waiting else 0.0
        self.status = replace(self.status, parked=parked, lag_events=lag, lag_seconds=seconds)
        if self.status.problem is None:
            self.status = replace(self.status, state="catching_up" if waiting else "following")

    def _parked(self, event: Event, error: Exception) -> ParkedEvent:
        return ParkedEvent(
            *(self.subject.name, event.position, event.id, event.type, event.stream, event.version),
            problem=_problem(error),
            attempts=1,
            parked_at=datetime.now(UTC),
        )

    def _report_problem(self, error: Exception) -> None:
        self.status = replace(self.status, state="retrying", problem=_problem(error))

    def _backoff(self) -> Backoff:
        return Backoff(self._settings.first_retry_seconds, self._settings.longest_retry_seconds)


def _is_outage(error: SuiteError) -> bool:
    """Whether no event is to blame: what is needed is away, not installed or wrongly set up."""
    return error.retryable or isinstance(error, ConfigurationError | EngineMissing)


def _problem(error: Exception) -> str:
    text = mask_text(f"{type(error).__name__}: {error}").replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return text[:_PROBLEM_CHARACTERS]
