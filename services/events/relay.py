"""The relay: takes events from the store to the bus. The one part of the suite that publishes."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio

from quantum_suite.core.errors import Fenced, SuiteError
from quantum_suite.core.events import Event
from quantum_suite.services.bus.interface import Bus, Message, subject_of
from quantum_suite.services.events.interface import EventStore
from quantum_suite.services.leases.holding import lead
from quantum_suite.services.leases.interface import Lease, LeaseStore
from quantum_suite.services.projections.interface import ProgressStore

logger = logging.getLogger(__name__)

T = TypeVar("T")

RELAY = "relay"
"""Name of the relay's lease, and of the consumer under which its checkpoint is kept."""

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0
_AFTER_FAILURE_SECONDS = 10.0


class Relay:
    """Publishes every event at least once and in the store's order, one process at a time.

    The checkpoint moves after the bus has stored a batch, so a relay that dies publishes that batch again; the
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
        checkpoint = await _persistently("The relay's checkpoint", lambda: self._progress.checkpoint(RELAY))
        async with self._events.subscribe(checkpoint) as batches:
            async for events in batches:
                await self._pass_on(events, lease)

    async def _pass_on(self, events: Sequence[Event], lease: Lease) -> None:
        messages = [message_of(event) for event in events]
        position = events[-1].position
        await _persistently("The bus", lambda: self._bus.publish(messages))
        await _persistently(
            "The relay's checkpoint", lambda: self._progress.advance(RELAY, position, (), lease.fence)
        )


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
