"""Runs all projections and consumers of a process, each by itself, and takes what operators ask of them."""

from collections.abc import Sequence

import anyio

from quantum_suite.core.errors import NotFound
from quantum_suite.core.events import EventData, NewEvent, Position
from quantum_suite.services.events.interface import ANY_VERSION, EventStore
from quantum_suite.services.leases.interface import LeaseStore
from quantum_suite.services.projections.control_events import RebuildRequested, ReplayRequested, control_stream
from quantum_suite.services.projections.interface import Consumer, ParkedEvent, ProgressStore, Projection
from quantum_suite.services.projections.status import ProjectionStatus
from quantum_suite.services.projections.subjects import (
    Begin,
    ConsumerSubject,
    ProjectionSubject,
    Subject,
    not_rebuildable,
    not_replayable,
)
from quantum_suite.services.projections.worker import RunnerSettings, Worker


class ProjectionRunner:
    """Runs what was added to it, each under a lease of its own: of many processes one does the work.

    One that fails, waits or is rebuilt does not hold the others up. Requests (`request_replay`,
    `request_rebuild`) are events: they may be made in any process and are done where the lease is held.
    """

    def __init__(
        self,
        events: EventStore,
        progress: ProgressStore,
        leases: LeaseStore,
        *,
        holder: str,
        settings: RunnerSettings | None = None,
    ) -> None:
        """`holder` names this process among those that share the leases, and no other."""
        self._events = events
        self._progress = progress
        self._leases = leases
        self._holder = holder
        self._settings = settings or RunnerSettings()
        self._workers: dict[str, Worker] = {}

    def add_projection(self, projection: Projection, *, instance: str | None = None) -> None:
        """Add a projection before `run`.

        `instance` tells apart several copies of it that are all to be run, such as one file on each machine; its
        name is then `<name>/<instance>`. Raises ValueError when the name is taken.
        """
        name = f"{projection.name}/{instance}" if instance else projection.name
        self._add(ProjectionSubject(projection, name, self._progress))

    def add_consumer(self, consumer: Consumer, *, begin: Begin = "beginning") -> None:
        """Add a consumer before `run`; `begin` says what one that is new gets: everything, or what comes.

        Raises ValueError when the name is taken.
        """
        self._add(ConsumerSubject(consumer, self._progress, self._events, begin))

    def _add(self, subject: Subject) -> None:
        if subject.name in self._workers:
            raise ValueError(f"There is a projection or consumer named {subject.name} already.")
        self._workers[subject.name] = Worker(
            subject, self._events, self._progress, self._leases, self._holder, self._settings
        )

    async def run(self) -> None:
        """Run them all until cancelled; then each has noted its progress and given up its lease."""
        async with anyio.create_task_group() as tasks:
            for worker in self._workers.values():
                tasks.start_soon(worker.run)

    def statuses(self) -> list[ProjectionStatus]:
        """Return how each is doing, as seen from this process."""
        return [worker.status for worker in self._workers.values()]

    async def parked(self, name: str | None = None, *, limit: int = 100) -> list[ParkedEvent]:
        """Return parked events, oldest first; raises NotFound for an unknown name."""
        if name is not None:
            self._worker(name)
        return await self._progress.parked(name, limit=limit)

    async def find_parked(self, name: str, position: Position) -> ParkedEvent:
        """Return one parked event; raises NotFound."""
        self._worker(name)
        parked = await self._progress.find_parked(name, position)
        if parked is None:
            raise NotFound(
                f"{name} has parked no event at {position[:100]}.",
                "List the parked events: it may have been dealt with meanwhile.",
                argument="position",
            )
        return parked

    async def request_replay(self, name: str, position: Position, principal: str | None) -> None:
        """Ask for a parked event to be dealt with again.

        It leaves the list when that works, and is parked once more when it does not. Raises NotFound, and
        CallerError for a projection's.
        """
        parked = await self.find_parked(name, position)
        if self._worker(name).subject.kind == "projection":
            raise not_replayable(name)
        await self._request(name, ReplayRequested(consumer=name, position=parked.position), principal)

    async def request_rebuild(self, name: str, principal: str | None) -> None:
        """Ask for a projection to be made anew; raises NotFound, and CallerError for a consumer."""
        if self._worker(name).subject.kind == "consumer":
            raise not_rebuildable(name)
        await self._request(name, RebuildRequested(projection=name), principal)

    async def leave(self, name: str, position: Position) -> None:
        """Take a parked event off the list without dealing with it; raises NotFound."""
        await self.find_parked(name, position)
        await self._progress.unpark(name, position)

    async def _request(self, name: str, data: EventData, principal: str | None) -> None:
        await self._events.append(control_stream(name), ANY_VERSION, [NewEvent(data, principal=principal)])

    def _worker(self, name: str) -> Worker:
        worker = self._workers.get(name)
        if worker is None:
            raise NotFound(
                f"There is no projection or consumer named {name[:100]!r}.",
                f"There are: {_listed(list(self._workers))}.",
                argument="consumer",
            )
        return worker


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
