"""The port to the bus. SQL is the truth; the bus brings news fast and may be rebuilt from the store."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """One event on its way."""

    id: str
    """The event's position: the same event always has the same id, so a consumer can tell a repetition."""
    subject: str
    """`quantum.events.<module>.<aggregate>.<event>`; see `subject_of`."""
    body: dict[str, Any]
    """The event in CloudEvents JSON form. Holds nothing personal and nothing secret."""


class Delivery(Protocol):
    """A message that was handed out, and the way to say that it was dealt with."""

    @property
    def message(self) -> Message:
        """The message."""
        ...

    @property
    def attempt(self) -> int:
        """How often it was handed out, this time included."""
        ...

    async def ack(self) -> None:
        """Say that it was dealt with: it does not come again."""
        ...

    async def nack(self, delay_seconds: float = 0) -> None:
        """Give it back: it comes again after the delay."""
        ...


class Bus(Protocol):
    """Carries messages from the relay to consumers, at least once.

    Only the relay publishes. A message not acknowledged within `ack_seconds` (30 by default) comes again. A
    durable consumer gets what was published while it was away, as far back as the bus keeps; a process that finds
    a gap reads the store. Messages of one subject come in the order of publication, repetitions apart.
    """

    async def publish(self, messages: list[Message]) -> None:
        """Publish; returns when the broker has stored them all. A message id published before is dropped there.

        Raises Unavailable while the broker is away: some may have been published, so publish them all again.
        """
        ...

    def consume(
        self, subject: str, *, durable: str | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[Delivery]]:
        """Yield messages whose subject matches (`*` one word, `>` the rest), from now on.

        With `durable`, consumers of that name share the messages between them, and one that returns goes on where
        the name stood. While the broker is away it waits for it.
        """
        ...

    def listen(self, subject: str) -> AbstractAsyncContextManager[AsyncIterator[Message]]:
        """Yield messages from now on to every listener, without acknowledgement: a wake-up, not a promise."""
        ...


def subject_of(event_type: str) -> str:
    """Return the subject of a stored event type: `qsecure.scan.completed.v1` is under
    `quantum.events.qsecure.scan.completed`."""
    return f"quantum.events.{event_type.rpartition('.v')[0]}"
