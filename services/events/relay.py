"""The relay: takes events from the store to the bus. The one part of the suite that publishes."""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import anyio

from quantum_suite.core.errors import Fenced, SuiteError
from quantum_suite.core.events import Event, Fence, Position
from quantum_suite.services.bus.interface import Bus, Message, subject_of
from quantum_suite.services.events.interface import EventStore
from quantum_suite.services.leases.holding import lead
from quantum_suite.services.leases.interface import Lease, LeaseStore
from quantum_suite.services.projections.interface import ProgressStore

logger = logging.getLogger(__name__)

T = TypeVar("T")

RELAY = "relay"
"""Name of the relay's lease, and of the consumer under which its checkpoint is kept."""

_CHECKPOINT_SECONDS = 0.25
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0
_AFTER_FAILURE_SECONDS = 10.0


class Relay:
    """Publishes every event at least once and in the store's order, one process at a time.

    The checkpoint follows what the bus has stored, so a relay that dies has the last events published again; the
    message id, which is the event's position, tells it. Nothing personal goes out.
    """

    def __init__(
        self,
        events: EventStore,
        bus: Bus,
        progress: ProgressStore,
        leases: LeaseStore,
        *,
        holder: str,
        ttl_seconds: float = 10,
    ) -> None:
        self._events = events
        self._bus = bus
        self._progress = progress
        self._leases = leases
        self._holder = holder
        self._ttl_seconds = ttl_seconds

    async def run(self) -> None:
        """Relay whenever this process holds the lease, until cancelled.

        The store or the bus being away delays; the log says once that it went and once that it came back. An event
        that cannot be read here (a newer release wrote it, its key is gone) is left to another process's relay:
        the lease is given up for a while.
        """
        while True:
            try:
                await lead(self._leases, RELAY, self._holder, self._ttl_seconds, self._relay)
            except SuiteError as error:
                logger.error("The relay stopped and tries again: %s", error)
                await anyio.sleep(_AFTER_FAILURE_SECONDS)

    async def _relay(self, lease: Lease) -> None:
        after = await _persistently("The relay's checkpoint", lambda: self._progress.checkpoint(RELAY))
        checkpoint = _Checkpoint(self._progress, lease.fence)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(checkpoint.keep, tasks.cancel_scope)
            try:
                await self._publish(after, checkpoint)
            except SuiteError as error:
                checkpoint.failure = error
                tasks.cancel_scope.cancel()
        if checkpoint.failure is not None:
            raise checkpoint.failure

    async def _publish(self, after: Position | None, checkpoint: "_Checkpoint") -> None:
        async with self._events.subscribe(after) as batches:
            async for events in batches:
                messages = [message_of(event) for event in events]
                await _persistently("The bus", partial(self._bus.publish, messages))
                checkpoint.reached(events[-1].position)


class _Checkpoint:
    """Follows what was published, a few times a second: each move costs a commit, and publishing need not wait."""

    def __init__(self, progress: ProgressStore, fence: Fence) -> None:
        self._progress = progress
        self._fence = fence
        self._position: Position | None = None
        self._moved = anyio.Event()
        self.failure: SuiteError | None = None

    def reached(self, position: Position) -> None:
        """Say that everything up to here is published."""
        self._position = position
        self._moved.set()

    async def keep(self, relay: anyio.CancelScope) -> None:
        """Write it down whenever it has moved; ends the relay when somebody newer has."""
        while True:
            await self._moved.wait()
            self._moved = anyio.Event()
            position = self._position
            if position is None:
                continue
            try:
                await _persistently(
                    "The relay's checkpoint",
                    partial(self._progress.advance, RELAY, position, (), self._fence),
                )
            except Fenced as error:
                self.failure = error
                relay.cancel()
                return
            await anyio.sleep(_CHECKPOINT_SECONDS)


def message_of(event: Event) -> Message:
    """Return an event as the bus carries it: without what is said about people."""
    return Message(event.position, subject_of(event.type), event.as_cloud_event())


async def _persistently(what: str, work: Callable[[], Awaitable[T]]) -> T:
    """Do `work` again and again until it goes through; raises Fenced at once."""
    pause, away = _FIRST_PAUSE_SECONDS, False
    while True:
        try:
            done = await work()
        except Fenced:
            raise
        except SuiteError as error:
            if not away:
                logger.warning("%s is away, events wait: %s", what, error)
            away = True
            await anyio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        else:
            if away:
                logger.warning("%s is back.", what)
            return done
