"""Watches over metrics: set up, listed and removed. The orchestrator's clock has them looked at."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.errors import CallerError, EngineError, NotFound
from quantum_suite.core.ids import new_id
from quantum_suite.core.principals import Principal, Role
from quantum_suite.services.anomalies.interface import Kind, Sensitivity
from quantum_suite.services.anomalies.watch import WORKFLOW, Watch
from quantum_suite.services.anomalies.watches import AnomalyWatches
from quantum_suite.services.metrics.windows import read_duration, shown_time
from quantum_suite.services.workflows.interface import Owner, Schedule, Workflows

MOST_WATCHES = 100
"""Of one owner."""
_LEAST_STEP = 1.0


class WatchRow(BaseModel):
    """A watch as it stands."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="The watch's id, for remove.")
    name: str = Field(description="What its owner calls it.")
    source: str = Field(description="The source of metrics.")
    query: str = Field(description="What is watched, in PromQL.")
    schedule: str = Field(description="When it is looked at: cron, UTC.")
    step_seconds: float = Field(description="Distance of the points that are judged.")
    sensitivity: Sensitivity = Field(description="How much has to happen before an anomaly is told.")
    owner: str = Field(description="Whose watch it is.")
    last_look: str | None = Field(description="When it was last looked at, UTC; null: not yet.")
    series: int = Field(description="Series at the last look.")
    learning: int = Field(description="Of these, series that have not enough data yet.")
    problem: str | None = Field(description="Why nothing was seen at the last look; null: the source answered.")
    notes: tuple[str, ...] = Field(description="What limits the watch.")


class WatchAnswer(BaseModel):
    """Watches after a call of manage_watches."""

    model_config = ConfigDict(frozen=True)

    done: str = Field(description="What was done, in a sentence.")
    watches: tuple[WatchRow, ...] = Field(
        description="The watch that was added or removed, or all of the caller's."
    )


@dataclass(frozen=True, slots=True)
class NewWatch:
    """What a caller wants watched."""

    query: str
    name: str | None
    source: str | None
    schedule: str
    step: str
    sensitivity: Sensitivity
    kind: Kind | None


@dataclass(frozen=True, slots=True)
class WatchKeeper:
    """Keeps the watches: each is a schedule of the orchestrator."""

    watches: AnomalyWatches
    open_workflows: Callable[[], Awaitable[Workflows]]

    async def add(self, wanted: NewWatch, principal: Principal) -> WatchAnswer:
        """Set a watch up, and look at it once, so that a query that cannot be asked is refused at once.

        Raises CallerError and what the source raises.
        """
        source = self.watches.sources.get(wanted.source)
        step = read_duration(wanted.step, "step")
        if step < _LEAST_STEP:
            raise CallerError(f"A step of {step:g} s is too short.", "Give 1s or more.", argument="step")
        mine = [one for one in await self._schedules(principal) if one.owner.principal == principal.id]
        if len(mine) >= MOST_WATCHES:
            raise CallerError(f"You have {len(mine)} watches.", "Remove one first.", argument="action")
        now = time.time()
        await source.instant(wanted.query, now)
        watch = Watch(
            id=new_id("watch"),
            name=wanted.name or wanted.query[:80],
            source=source.name,
            query=wanted.query,
            step_seconds=step,
            sensitivity=wanted.sensitivity,
            created_at=now,
            kind=wanted.kind,
        )
        owner = Owner(principal.id, tuple(sorted(role.value for role in principal.roles)), principal.workspaces)
        schedule = Schedule(watch.id, wanted.schedule, WORKFLOW, watch.arguments(), owner)
        await (await self.open_workflows()).schedule(schedule)
        look = await self.watches.look(watch)
        if look.problem is not None:
            done = f"Watching, but at first sight: {look.problem}"
        elif look.learning or not look.series:
            done = f"Watching. {look.learning} of {look.series} series have not enough data yet: they are learned."
        else:
            done = f"Watching {look.series} series, learned from {look.points} points."
        return WatchAnswer(done=done, watches=(await self._row(schedule),))

    async def list_all(self, principal: Principal) -> WatchAnswer:
        """Return the caller's watches; everybody's to an admin."""
        schedules = await self._schedules(principal)
        rows = tuple([await self._row(schedule) for schedule in schedules])
        return WatchAnswer(done=f"{len(rows)} watches." if rows else "Nothing is watched.", watches=rows)

    async def remove(self, watch: str, principal: Principal) -> WatchAnswer:
        """End a watch. What it told stays in the event log. Raises NotFound."""
        for schedule in await self._schedules(principal):
            if schedule.name == watch:
                row = await self._row(schedule)
                await (await self.open_workflows()).unschedule(watch)
                await self.watches.states.drop(Watch.of(schedule.arguments))
                return WatchAnswer(done="No longer watched.", watches=(row,))
        raise NotFound(f"There is no watch '{watch[:60]}'.", "List the watches.", argument="watch")

    async def _schedules(self, principal: Principal) -> list[Schedule]:
        found = await (await self.open_workflows()).schedules()
        everybody = Role.ADMIN in principal.roles
        return [
            one for one in found if one.workflow == WORKFLOW and (everybody or one.owner.principal == principal.id)
        ]

    async def _row(self, schedule: Schedule) -> WatchRow:
        watch = Watch.of(schedule.arguments)
        look = (await self.watches.states.load(watch)).look
        return WatchRow(
            id=watch.id,
            name=watch.name,
            source=watch.source,
            query=watch.query,
            schedule=schedule.cron,
            step_seconds=watch.step_seconds,
            sensitivity=watch.sensitivity,
            owner=schedule.owner.principal,
            last_look=shown_time(look.at) if look else None,
            series=look.series if look else 0,
            learning=look.learning if look else 0,
            problem=look.problem if look else None,
            notes=look.notes if look else (),
        )


def no_orchestrator() -> EngineError:
    """Return what is raised where the suite was put together without an orchestrator."""
    return EngineError(
        "Watches need the orchestrator, which this suite was put together without.",
        "Start the whole hub.",
        engine="orchestrator",
    )
