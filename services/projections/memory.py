"""Consumers' progress in memory: for tests, and for processes that keep nothing."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from quantum_suite.core.events import Fence, Position
from quantum_suite.services.databases.fences import outdated
from quantum_suite.services.projections.interface import INBOX_SIZE, ParkedEvent


@dataclass
class _Progress:
    position: Position | None = None
    inbox: dict[str, None] = field(default_factory=dict)
    parked: dict[Position, ParkedEvent] = field(default_factory=dict)


class MemoryProgressStore:
    """Forgets everything with its process."""

    def __init__(self, *, inbox_size: int = INBOX_SIZE) -> None:
        self._inbox_size = inbox_size
        self._consumers: dict[str, _Progress] = defaultdict(_Progress)
        self._fences: dict[str, int] = {}

    async def checkpoint(self, consumer: str) -> Position | None:
        """Return where the consumer stands."""
        return self._consumers[consumer].position

    async def seen(self, consumer: str, event_ids: Sequence[str]) -> set[str]:
        """Return which of these events are in the inbox."""
        inbox = self._consumers[consumer].inbox
        return {event_id for event_id in event_ids if event_id in inbox}

    async def advance(self, consumer: str, position: Position, event_ids: Sequence[str], fence: Fence) -> None:
        """Move the consumer on."""
        self._check(fence)
        progress = self._consumers[consumer]
        progress.position = position
        progress.inbox.update(dict.fromkeys(event_ids))
        while len(progress.inbox) > self._inbox_size:
            del progress.inbox[next(iter(progress.inbox))]

    async def park(self, parked: ParkedEvent, fence: Fence) -> None:
        """Put an event aside, or count another attempt."""
        self._check(fence)
        aside = self._consumers[parked.consumer].parked
        before = aside.get(parked.position)
        if before is not None:
            parked = replace(parked, attempts=before.attempts + parked.attempts, parked_at=before.parked_at)
        aside[parked.position] = parked

    async def parked(self, consumer: str | None = None, *, limit: int = 100) -> list[ParkedEvent]:
        """Return what is parked, oldest first."""
        chosen = [
            parked
            for name, progress in self._consumers.items()
            if consumer in (None, name)
            for parked in progress.parked.values()
        ]
        return sorted(chosen, key=lambda parked: parked.parked_at)[:limit]

    async def find_parked(self, consumer: str, position: Position) -> ParkedEvent | None:
        """Return one parked event."""
        return self._consumers[consumer].parked.get(position)

    async def unpark(self, consumer: str, position: Position) -> None:
        """Take an event off the list."""
        self._consumers[consumer].parked.pop(position, None)

    async def reset(self, consumer: str) -> None:
        """Forget the consumer."""
        self._consumers.pop(consumer, None)

    def _check(self, fence: Fence) -> None:
        newest = self._fences.get(fence.name, 0)
        if fence.token < newest:
            raise outdated(fence)
        self._fences[fence.name] = fence.token
