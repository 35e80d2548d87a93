"""The two kinds of things a worker runs, under one face."""

from collections.abc import Sequence
from time import monotonic
from typing import Literal, Protocol, runtime_checkable

import anyio

from quantum_suite.core.errors import CallerError
from quantum_suite.core.events import Event, EventFilter, Fence, Position
from quantum_suite.services.events.interface import EventStore
from quantum_suite.services.projections.interface import Consumer, ProgressStore, Projection

Kind = Literal["projection", "consumer"]
Begin = Literal["beginning", "now"]

NOTE_SECONDS = 0.02
"""A consumer's progress is noted at the latest this long after an effect, and whenever an effect took longer."""

_LAST_NOTE_SECONDS = 5.0


@runtime_checkable
class Closing(Protocol):
    """A projection that holds something (a file that one process may have open) while it is run."""

    async def release(self) -> None:
        """Give up what is held: the lease is gone or going. It is run again later, or elsewhere."""
        ...


class Subject(Protocol):
    """What a worker needs of what it runs."""

    @property
    def kind(self) -> Kind:
        """Which kind it is."""
        ...

    @property
    def name(self) -> str:
        """Its name, unique among all."""
        ...

    @property
    def where(self) -> EventFilter:
        """The events it wants."""
        ...

    async def begin(self, fence: Fence) -> Position | None:
        """Return after which event it goes on."""
        ...

    async def take(self, events: Sequence[Event], fence: Fence) -> None:
        """Take in events; those taken before are passed over."""
        ...

    async def pass_over(self, event: Event, fence: Fence) -> None:
        """Go on without an event that was parked."""
        ...

    async def replay(self, event: Event) -> None:
        """Deal with a parked event out of turn; raises CallerError where that cannot be."""
        ...

    async def rebuild(self) -> None:
        """Forget everything; raises CallerError where that cannot be."""
        ...

    async def release(self) -> None:
        """Let go of what only one process may hold."""
        ...


class ProjectionSubject:
    """A projection: keeps its own checkpoint, can be made anew, and takes no event out of turn."""

    kind: Kind = "projection"

    def __init__(self, projection: Projection, name: str, progress: ProgressStore) -> None:
        self.name = name
        self.where = projection.where
        self._projection = projection
        self._progress = progress

    async def begin(self, fence: Fence) -> Position | None:
        return await self._projection.checkpoint()

    async def take(self, events: Sequence[Event], fence: Fence) -> None:
        await self._projection.apply(events, fence)

    async def pass_over(self, event: Event, fence: Fence) -> None:
        # Its checkpoint moves with the next event. Until then a restart finds this one again, and parks it again.
        return None

    async def replay(self, event: Event) -> None:
        raise not_replayable(self.name)

    async def rebuild(self) -> None:
        await self._projection.reset()
        await self._progress.reset(self.name)

    async def release(self) -> None:
        if isinstance(self._projection, Closing):
            await self._projection.release()


class ConsumerSubject:
    """A consumer: its progress and inbox lie in the progress store."""

    kind: Kind = "consumer"

    def __init__(self, consumer: Consumer, progress: ProgressStore, events: EventStore, begin: Begin) -> None:
        self.name = consumer.name
        self.where = consumer.where
        self._consumer = consumer
        self._progress = progress
        self._events = events
        self._begin = begin

    async def begin(self, fence: Fence) -> Position | None:
        checkpoint = await self._progress.checkpoint(self.name)
        if checkpoint is not None or self._begin == "beginning":
            return checkpoint
        head = await self._events.head()
        if head is not None:
            await self._progress.advance(self.name, head, [], fence)
        return head

    async def take(self, events: Sequence[Event], fence: Fence) -> None:
        seen = await self._progress.seen(self.name, [event.id for event in events])
        done: list[Event] = []
        noted_at = monotonic()
        try:
            for event in events:
                if event.id not in seen:
                    await self._consumer.handle(event)
                done.append(event)
                if monotonic() - noted_at >= NOTE_SECONDS:
                    await self._note(done, fence)
                    noted_at = monotonic()
        finally:
            with anyio.move_on_after(_LAST_NOTE_SECONDS, shield=True):
                await self._note(done, fence)

    async def _note(self, done: list[Event], fence: Fence) -> None:
        if done:
            await self._progress.advance(self.name, done[-1].position, [event.id for event in done], fence)
            done.clear()

    async def pass_over(self, event: Event, fence: Fence) -> None:
        await self._progress.advance(self.name, event.position, [event.id], fence)

    async def replay(self, event: Event) -> None:
        await self._consumer.handle(event)

    async def rebuild(self) -> None:
        raise not_rebuildable(self.name)

    async def release(self) -> None:
        return None


def not_replayable(name: str) -> CallerError:
    """Return the error for a parked event of a projection."""
    return CallerError(
        f"{name} is a projection: it takes events in their order alone.",
        "Mend what the event ran into, then rebuild the projection.",
        argument="consumer",
    )


def not_rebuildable(name: str) -> CallerError:
    """Return the error for rebuilding a consumer."""
    return CallerError(
        f"{name} is a consumer: what it did elsewhere cannot be undone by doing everything again.",
        "Replay single events that it parked.",
        argument="projection",
    )
