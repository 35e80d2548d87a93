"""The course of one drill: its folder, servers, writers, clock and evidence. Everything ends with it."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from quantum_suite.core.errors import SuiteError, Unavailable
from quantum_suite.services.encryption.interface import DataKey
from quantum_suite.services.recovery.cluster import Cluster
from quantum_suite.services.recovery.counting import Cut, count_rows
from quantum_suite.services.recovery.interface import DrillRequest, Moment, Phase, RowCount
from quantum_suite.services.recovery.journal import Written, read_journal
from quantum_suite.services.recovery.programs import Programs
from quantum_suite.services.recovery.writers import CREATE, READ, Endpoint, Writers

Said = Callable[[float, float, str], Awaitable[None]]

ROWS_AFTER = 50
"""Rows that have to be acknowledged after recovery, before it counts as one."""


@dataclass(slots=True)
class Course:
    """What the steps of a drill share."""

    request: DrillRequest
    folder: Path
    programs: Programs
    key: DataKey
    drill: str
    said: Said
    steps: int
    began: float = field(default_factory=time.monotonic)
    done: int = 0
    clusters: list[Cluster] = field(default_factory=list)
    timeline: list[Moment] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    disaster_at: float = 0.0
    """Unix seconds."""

    async def step(self, words: str) -> None:
        """Say what comes next; it stands in the timeline and in the progress."""
        self.note(words)
        await self.said(self.done, self.steps, words)
        self.done += 1

    def note(self, words: str) -> None:
        """Put a moment into the timeline."""
        self.timeline.append(Moment(at=round(time.monotonic() - self.began, 6), what=words))

    def cluster(self, name: str) -> Cluster:
        """Return a new cluster of this drill; it is ended with the drill."""
        cluster = Cluster(self.programs, self.folder, name)
        self.clusters.append(cluster)
        return cluster

    def check(self) -> None:
        """Raise EngineError when a server that should run has ended."""
        for cluster in self.clusters:
            cluster.check()

    def phase(self, name: str, since: float, until: float | None = None) -> float:
        """Note how long a phase of recovery took; returns its end (`time.monotonic`)."""
        end = time.monotonic() if until is None else until
        self.phases.append(Phase(name=name, seconds=round(max(0.0, end - since), 6)))
        return end

    async def prepare(self, cluster: Cluster) -> None:
        """Make the table of the drill's rows."""
        async with cluster.connection() as connection:
            for statement in CREATE:
                await connection.execute(statement.encode())

    async def acknowledged(self, writers: Writers, rows: int) -> None:
        """Wait until that many rows are acknowledged; raises when a server or a writer fails instead."""
        await _in_thread(partial(writers.wait_for, rows, self.check))

    async def first_write(self, writers: Writers) -> float:
        """Wait for the first row acknowledged after clients were sent elsewhere; returns when that was."""
        moment: list[float] = []
        await _in_thread(lambda: moment.append(writers.wait_first(self.check)))
        return moment[0]

    def journal(self) -> dict[int, Written]:
        """Read the journal as it is now."""
        return read_journal(self.folder / "journal")

    async def count(self, cluster: Cluster, cuts: dict[int, Cut]) -> RowCount:
        """Hold every row that is there against the journal."""
        async with cluster.connection() as connection:
            rows = await (await connection.execute(READ.encode())).fetchall()
        journal = self.journal()
        return await anyio.to_thread.run_sync(count_rows, rows, cuts, journal, self.disaster_at)

    def logs(self) -> dict[str, tuple[str, ...]]:
        """Return every server's last lines, masked."""
        return {cluster.name: cluster.log() for cluster in self.clusters}


@asynccontextmanager
async def writing(course: Course, endpoint: Endpoint) -> AsyncIterator[Writers]:
    """Have clients write to an endpoint while the context lasts; they have all stopped when it ends."""
    folder = course.folder / "journal"
    folder.mkdir(mode=0o700)
    writers = Writers(folder, endpoint)
    try:
        async with anyio.create_task_group() as tasks:
            limiter = anyio.CapacityLimiter(course.request.writers)
            for number in range(course.request.writers):
                tasks.start_soon(partial(anyio.to_thread.run_sync, writers.write, number, limiter=limiter))
            try:
                yield writers
            except BaseException:
                # A writer may wait for an answer that will not come: from a server that stands still, or one whose
                # replica is gone. It gets the end of its connection instead.
                for cluster in course.clusters:
                    cluster.kill()
                raise
            finally:
                writers.stop.set()
    except BaseExceptionGroup as group:
        raise _first(group) from group


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    for error in group.exceptions:
        found = _first(error) if isinstance(error, BaseExceptionGroup) else error
        if isinstance(found, SuiteError):
            return found
    return group.exceptions[0]


async def _in_thread(work: Callable[[], None]) -> None:
    """Wait in a thread for the writers. One that is cancelled ends when they are told to stop."""
    try:
        await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
    except OSError as error:
        raise Unavailable(
            f"The journal of acknowledgements cannot be written: {error.strerror}.",
            "Free room in the scratch folder: without its journal nothing can be counted.",
        ) from error
