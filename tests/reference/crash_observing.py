"""Looks at a data plane that others work in, and waits until everything begun there has come to its end."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from reference.crash_work import MODULE, Following, Listening, World, definitions, world
from reference.crashing import Crew

from quantum_suite.core.errors import Unavailable
from quantum_suite.core.events import Event, EventFilter, Position
from quantum_suite.core.scan_events import scan_stream
from quantum_suite.hub.data_plane.stores import Stores, is_embedded, open_stores
from quantum_suite.hub.settings import HubSettings
from quantum_suite.services.analytics.duckdb import DuckdbAnalytics
from quantum_suite.services.analytics.interface import Analytics
from quantum_suite.services.events.interface import StoredEvent
from quantum_suite.services.workflows.dbos.workflows import open_workflows
from quantum_suite.services.workflows.events import run_stream
from quantum_suite.services.workflows.interface import FINAL, Run, RunQuery, Workflows

SETTLING_SECONDS = 90.0
_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What the children were told."""

    appended: dict[str, dict[int, str]]
    """By stream: event ids by version."""
    recorded: set[str]
    started: set[str]


def acknowledged(said: dict[str, list[dict[str, Any]]]) -> Acknowledged:
    """Gather acknowledgements from what children said, by their names."""
    appended: dict[str, dict[int, str]] = {}
    for name, lines in said.items():
        stream = appended.setdefault(scan_stream(name), {})
        for first, ids in (line["appended"] for line in lines if "appended" in line):
            for version, event_id in enumerate(ids, first):
                assert stream.setdefault(version, event_id) == event_id, "acknowledged twice, differently"
    lines_of_all = [line for lines in said.values() for line in lines]
    return Acknowledged(
        {stream: ids for stream, ids in appended.items() if ids},
        {line["recorded"] for line in lines_of_all if "recorded" in line},
        {line["started"] for line in lines_of_all if "started" in line},
    )


@dataclass(frozen=True, slots=True)
class Observer:
    """Looks at everything, and does nothing."""

    stores: Stores
    workflows: Workflows
    world: World
    over_the_bus: bool
    analytics: Analytics | None

    async def log(self) -> list[Event]:
        """Return the log."""
        found: list[Event] = []
        after: Position | None = None
        while page := await self.stores.events.read(after):
            found += page
            after = page[-1].position
        return found

    async def stored(self) -> list[StoredEvent]:
        """Return the log as it is stored."""
        found: list[StoredEvent] = []
        after: Position | None = None
        while page := await self.stores.events.read_stored(after):
            found += page
            after = page[-1].position
        return found

    async def runs(self) -> list[Run]:
        """Return all runs."""
        found, cursor = await self.workflows.find(RunQuery(limit=200))
        while cursor is not None:
            page, cursor = await self.workflows.find(RunQuery(limit=200, cursor=cursor))
            found += page
        return found

    async def column(self, query: str) -> list[str]:
        """Return the first column of what a query of the world finds."""
        return [row[0] for row in await self.world.rows(query)]

    @property
    def consumers(self) -> tuple[str, ...]:
        """Those who are to have handled every event."""
        return (Following.name, *((Listening.name,) if self.over_the_bus else ()))


@asynccontextmanager
async def observing(settings: HubSettings, directory: Path) -> AsyncIterator[Observer]:
    """Open the stores and the engine beside those who work."""
    async with AsyncExitStack() as stack:
        stores = await stack.enter_async_context(open_stores(settings))
        around = world(directory, "observer")
        stack.enter_context(around.database)
        workflows = await stack.enter_async_context(
            open_workflows(
                settings.data_dir / "workflows.db" if is_embedded(settings) else settings.database,
                definitions(around),
                events=stores.events,
                leases=stores.leases,
                worker_id="observer",
                work=False,
            )
        )
        analytics = DuckdbAnalytics(settings.data_dir / "analytics") if settings.analytics else None
        yield Observer(stores, workflows, around, settings.bus != "inprocess", analytics)


Condition = Callable[[Observer, Acknowledged], Awaitable[str | None]]
"""Returns what is still to come, or None."""


async def settled(observer: Observer, crew: Crew) -> Acknowledged:
    """Return what was acknowledged, once everything that was begun has come to its end.

    Raises AssertionError naming what has not, when that stays the same for a while.
    """
    conditions: Sequence[Condition] = (
        *(runs_ended, ends_told, journal_relayed, projection_there),
        *(consumers_there, chain_there, tables_there),
    )
    left: str | None = "nothing was looked at"
    with anyio.move_on_after(SETTLING_SECONDS) as scope:
        while not crew.is_quiet:
            left = "somebody still produces"
            crew.look_after()
            await anyio.sleep(_POLL_SECONDS)
        told = acknowledged(crew.said())
        for condition in conditions:
            while (now := await _still(condition, observer, told)) is not None:
                if now != left:
                    # Whoever was away for a minute finds thousands of events, and goes through them.
                    left, scope.deadline = now, anyio.current_time() + SETTLING_SECONDS
                crew.look_after()
                await anyio.sleep(_POLL_SECONDS)
        return told
    raise AssertionError(f"for {SETTLING_SECONDS:g} seconds it has been the same: {left}")


async def _still(condition: Condition, observer: Observer, told: Acknowledged) -> str | None:
    try:
        return await condition(observer, told)
    except Unavailable as error:
        return str(error)


async def runs_ended(observer: Observer, told: Acknowledged) -> str | None:
    """Every run has ended."""
    left = [(run.id, run.workflow, run.state) for run in await observer.runs() if run.state not in FINAL]
    return f"runs go on: {left[:5]} and so on, {len(left)} in all" if left else None


async def ends_told(observer: Observer, told: Acknowledged) -> str | None:
    """The event store knows of every end."""
    where = EventFilter(types=frozenset({"orchestrator.run."}))
    seen: set[str] = set()
    after: Position | None = None
    while page := await observer.stores.events.read(after, where):
        seen |= {event.stream for event in page if event.type.split(".")[2] in FINAL}
        after = page[-1].position
    left = [run.id for run in await observer.runs() if run_stream(run.id) not in seen]
    return f"the ends of {left[:5]} are not told, {len(left)} in all" if left else None


async def journal_relayed(observer: Observer, told: Acknowledged) -> str | None:
    """Every record of the journal is in the store."""
    left = told.recorded - {event.correlation_id for event in await observer.log()}
    return f"{len(left)} records are not in the store" if left else None


async def projection_there(observer: Observer, told: Acknowledged) -> str | None:
    """The projection has caught up."""
    wanted = {event.id for event in await observer.log() if event.type.startswith(MODULE)}
    left = wanted - set(await observer.column("SELECT event FROM projected"))
    return f"the projection lacks {len(left)} events" if left else None


async def consumers_there(observer: Observer, told: Acknowledged) -> str | None:
    """Every consumer has caught up."""
    wanted = {event.id for event in await observer.log() if event.type.startswith(MODULE)}
    for consumer in observer.consumers:
        left = wanted - set(await observer.column(f"SELECT event FROM handled WHERE consumer = '{consumer}'"))
        if left:
            return f"{consumer} lacks {len(left)} events, such as {sorted(left)[:3]}"
    return None


async def chain_there(observer: Observer, told: Acknowledged) -> str | None:
    """The audit chain has a record for every event."""
    head = await observer.stores.chain.head()
    left = await observer.stores.events.count(head.position)
    return f"{left} events have no record" if left else None


async def tables_there(observer: Observer, told: Acknowledged) -> str | None:
    """The tables for questions have a row for every event, and none twice."""
    if observer.analytics is None:
        return None
    [(rows, events)] = (await observer.analytics.query("SELECT count(*), count(DISTINCT id) FROM events")).rows
    there = await observer.stores.events.count()
    return (
        f"the tables have {rows} rows of {events} events, and there are {there}"
        if {rows, events} != {there}
        else None
    )
