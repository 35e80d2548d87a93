"""A consumer of the bus with an inbox: deals with each message once in all but a crash."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import anyio

from quantum_suite.core.errors import SuiteError
from quantum_suite.core.events import Fence, Position
from quantum_suite.services.bus.interface import Bus, Delivery, Message
from quantum_suite.services.projections.interface import ParkedEvent, ProgressStore

logger = logging.getLogger(__name__)

Handler = Callable[[Message], Awaitable[None]]
"""Deals with one message. An effect keyed by `body["id"]` can be told from a repetition by whoever it reaches."""

_NOTE_PAUSE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a message is tried."""

    attempts: int = 5
    """Then it is parked. Attempts that failed because a part was away do not park it."""
    first_delay_seconds: float = 1
    longest_delay_seconds: float = 60
    handler_seconds: float = 25
    """Longest time for one attempt: less than the bus waits for an acknowledgement."""

    def delay_seconds(self, attempt: int) -> float:
        """Return how long to wait after a failed attempt: twice as long each time."""
        return min(self.first_delay_seconds * 2.0 ** min(attempt - 1, 30), self.longest_delay_seconds)


async def consume_with_inbox(
    bus: Bus,
    progress: ProgressStore,
    name: str,
    subject: str,
    handler: Handler,
    patience: Patience = Patience(),
) -> None:
    """Run `handler` on the messages of a subject, as the durable consumer `name`, until cancelled.

    Any number of processes may do so under one name: they share the messages. An event in the inbox is
    acknowledged without being handled again. A handler that fails gets its message again later, after more and
    more time; what still fails then is parked, and the rest goes on without it.
    """
    async with bus.consume(subject, durable=name) as deliveries:
        async for delivery in deliveries:
            await _Consuming(progress, name, handler, patience).deal_with(delivery)


@dataclass(frozen=True, slots=True)
class _Consuming:
    progress: ProgressStore
    name: str
    handler: Handler
    patience: Patience

    async def deal_with(self, delivery: Delivery) -> None:
        message = delivery.message
        try:
            event_id = str(message.body["id"])
            if await self.progress.seen(self.name, [event_id]):
                await delivery.ack()
                return
            with anyio.fail_after(self.patience.handler_seconds):
                await self.handler(message)
        except Exception as error:
            await self._failed(delivery, error)
            return
        await self._note(lambda: self.progress.advance(self.name, Position(message.id), [event_id], self._fence))
        await delivery.ack()

    @property
    def _fence(self) -> Fence:
        """Consumers of one name work side by side, so none outdates another: the token is the same for ever."""
        return Fence(f"bus/{self.name}", 1)

    async def _failed(self, delivery: Delivery, error: Exception) -> None:
        passing = isinstance(error, SuiteError) and error.retryable
        if passing or delivery.attempt < self.patience.attempts:
            logger.warning("%s could not deal with %s: %r", self.name, delivery.message.id, error)
            await delivery.nack(self.patience.delay_seconds(delivery.attempt))
            return
        logger.error("%s parks %s: %r", self.name, delivery.message.id, error)
        await self._note(lambda: self.progress.park(self._parked(delivery, error), self._fence))
        await delivery.ack()

    def _parked(self, delivery: Delivery, error: Exception) -> ParkedEvent:
        body = delivery.message.body
        version = body.get("streamversion")
        return ParkedEvent(
            consumer=self.name,
            position=Position(delivery.message.id),
            event_id=str(body.get("id", "")),
            event_type=str(body.get("type", "")),
            stream=str(body.get("stream", "")),
            version=version if isinstance(version, int) else 0,
            problem=str(error) or type(error).__name__,
            attempts=delivery.attempt,
            parked_at=datetime.now(UTC),
        )

    async def _note(self, write: Callable[[], Awaitable[None]]) -> None:
        """Write down what was done, however long that takes: what is not noted would be done again."""
        while True:
            try:
                await write()
                return
            except SuiteError as error:
                if not error.retryable:
                    raise
                logger.warning("%s cannot note what it did yet: %s", self.name, error)
                await anyio.sleep(_NOTE_PAUSE_SECONDS)
