"""Projections and consumers, and the port to where consumers' progress is kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from quantum_suite.core.events import Event, EventFilter, Fence, Position

INBOX_SIZE = 10_000
"""Newest events a consumer's inbox remembers: many batches, so more than is ever delivered again."""


class Projection(Protocol):
    """Something derived from events that keeps its own checkpoint beside what it derived (in one transaction).

    Can be thrown away and rebuilt at any time.
    """

    name: str
    where: EventFilter

    async def checkpoint(self) -> Position | None:
        """Return the position of the last event it has taken in."""
        ...

    async def apply(self, events: Sequence[Event], fence: Fence) -> None:
        """Take in events in order, durably, with the checkpoint, all or none.

        Raises Fenced when somebody newer runs this projection. Any other SuiteError that is `retryable` is tried
        again; any other exception makes the runner find the one event to blame (batch by batch) and park it.
        """
        ...

    async def reset(self) -> None:
        """Forget everything: it is rebuilt from the beginning."""
        ...


class Consumer(Protocol):
    """Something that acts on events elsewhere: sends a notification, starts a workflow.

    Gets each event at least once, in order. `key` of an effect should be the event's id, so that the other side
    can tell a repetition; the runner's inbox keeps it from seeing an event twice in all but a crash between the
    effect and the note of it.
    """

    name: str
    where: EventFilter

    async def handle(self, event: Event) -> None:
        """Deal with one event. What it raises decides as for `Projection.apply`."""
        ...


@dataclass(frozen=True, slots=True)
class ParkedEvent:
    """An event a consumer could not deal with; the rest goes on without it."""

    consumer: str
    position: Position
    event_id: str
    event_type: str
    stream: str
    version: int
    """With `stream`, where it is read from again."""
    problem: str
    attempts: int
    parked_at: datetime


class ProgressStore(Protocol):
    """Where consumers stand, what they have seen, and what they could not deal with.

    Writes carry the fence of the lease under which the consumer runs and raise Fenced when it is outdated.
    """

    async def checkpoint(self, consumer: str) -> Position | None:
        """Return where the consumer stands."""
        ...

    async def seen(self, consumer: str, event_ids: Sequence[str]) -> set[str]:
        """Return which of these events the consumer has dealt with already (its inbox)."""
        ...

    async def advance(self, consumer: str, position: Position, event_ids: Sequence[str], fence: Fence) -> None:
        """Note that the consumer has dealt with these events and stands at `position`."""
        ...

    async def park(self, parked: ParkedEvent, fence: Fence) -> None:
        """Put an event aside. Parking it again counts another attempt."""
        ...

    async def parked(self, consumer: str | None = None, *, limit: int = 100) -> list[ParkedEvent]:
        """Return what is parked, oldest first."""
        ...

    async def find_parked(self, consumer: str, position: Position) -> ParkedEvent | None:
        """Return one parked event, if it is still parked."""
        ...

    async def unpark(self, consumer: str, position: Position) -> None:
        """Take an event off the list: it was dealt with, or somebody decided to leave it."""
        ...

    async def reset(self, consumer: str) -> None:
        """Forget where the consumer stands, its inbox and what it parked."""
        ...
