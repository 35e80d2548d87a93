"""Watches: each anomaly told once, over restarts, lost states and sources that go away."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from quantum_suite.core.anomaly_events import ANOMALY_EVENTS, watch_stream
from quantum_suite.core.errors import CallerError, NotFound, Unavailable
from quantum_suite.core.principals import LOCAL, Principal, Role
from quantum_suite.services.anomalies.watch import Watch
from quantum_suite.services.anomalies.watches import AnomalyWatches
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.metrics.interface import Notes, Series, Window
from quantum_suite.services.metrics.memory import MemorySource
from quantum_suite.services.metrics.sources import MetricSources
from quantum_suite.services.workflows.memory import MemoryWorkflows
from quantum_suite.tools.qsre.manage_watches import NewWatch, WatchKeeper

pytestmark = pytest.mark.anyio

BEGIN = 1_700_000_040.0
LIVE = 600
"""Points before the watch was set up."""
ID = "watch_00000000000000000000000000"
CREATED = BEGIN + 60.0 * LIVE


def requests(leaps: Sequence[int] = (), points: int = 1000) -> Series:
    rng = random.Random(6)
    values = [100 + rng.gauss(0, 3) for _ in range(points)]
    for place in leaps:
        values[place : place + 3] = [400.0 + place] * 3
    times = [BEGIN + 60.0 * place for place in range(points)]
    return Series({"__name__": "requests", "job": "shop"}, times, values)


@dataclass(slots=True)
class FlakySource(MemorySource):
    """A source that can be away."""

    away: bool = field(default=False)

    async def range(self, query: str, window: Window, notes: Notes | None = None) -> list[Series]:
        if self.away:
            raise Unavailable("live does not answer.", "Start it.")
        # Written out: the zero-argument form does not know the class that slots made.
        return await MemorySource.range(self, query, window, notes)


@dataclass(slots=True)
class Bench:
    """A source, a store and a clock, around watches that may be made anew."""

    directory: Path
    source: FlakySource
    store: MemoryEventStore = field(default_factory=lambda: MemoryEventStore(EventRegistry(ANOMALY_EVENTS)))
    now: float = CREATED
    watch: Watch = field(default_factory=lambda: Watch(ID, "shop", "live", "requests", 60.0, "normal", CREATED))

    def fresh(self) -> AnomalyWatches:
        return AnomalyWatches(MetricSources({"live": self.source}), self.store, self.directory, lambda: self.now)

    async def told(self) -> list[tuple[str, Mapping[str, object]]]:
        return [(event.type, event.data) for event in await self.store.read_stream(watch_stream(ID))]


def bench(tmp_path: Path, leaps: Sequence[int] = ()) -> Bench:
    return Bench(tmp_path, FlakySource("live", [requests(leaps)]))


async def test_an_anomaly_is_told_once_over_looks_and_restarts(tmp_path: Path) -> None:
    around = bench(tmp_path, [300, 700])
    first = await around.fresh().look(around.watch)
    assert (first.series, first.learning, first.raised) == (1, 0, 0)
    assert await around.told() == []
    raised = []
    for minute in (650, 699, 701, 702, 705, 760):
        around.now = BEGIN + 60.0 * minute
        raised.append((await around.fresh().look(around.watch)).raised)
    assert raised == [0, 0, 1, 0, 0, 0]
    ((kind, data),) = await around.told()
    assert kind == "qsre.anomaly.detected.v1"
    assert data["at"] == BEGIN + 60.0 * 700
    assert data["value"] == 1100.0
    assert data["series"] == 'requests{job="shop"}'
    assert data["reasons"]


async def test_a_lost_state_is_learned_anew_and_tells_nothing_twice(tmp_path: Path) -> None:
    around = bench(tmp_path, [700])
    around.now = BEGIN + 60.0 * 705
    assert (await around.fresh().look(around.watch)).raised == 1
    (state,) = tmp_path.glob("watch_*")
    state.write_bytes(b"half a file")
    around.now += 60.0
    assert (await around.fresh().look(around.watch)).raised == 0
    assert len(await around.told()) == 1


async def test_looks_at_once_tell_an_anomaly_once(tmp_path: Path) -> None:
    import anyio

    around = bench(tmp_path, [700])
    await around.fresh().look(around.watch)
    around.now = BEGIN + 60.0 * 705
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(around.fresh().look, around.watch)
    assert len(await around.told()) == 1


async def test_a_source_that_is_away_is_told_once_and_what_came_meanwhile_is_judged_later(tmp_path: Path) -> None:
    around = bench(tmp_path, [700])
    await around.fresh().look(around.watch)
    around.source.away = True
    for minute in (690, 695, 710):
        around.now = BEGIN + 60.0 * minute
        look = await around.fresh().look(around.watch)
        assert look.problem is not None
        assert "does not answer" in look.problem
    around.source.away = False
    around.now = BEGIN + 60.0 * 720
    assert (await around.fresh().look(around.watch)).raised == 1
    assert [kind.removesuffix(".v1") for kind, _ in await around.told()] == [
        "qsre.watch.source_lost",
        "qsre.anomaly.detected",
        "qsre.watch.source_found",
    ]


async def test_too_few_points_are_learned_from_and_tell_nothing(tmp_path: Path) -> None:
    around = Bench(tmp_path, FlakySource("live", [requests([50], points=100)]), now=BEGIN + 6000.0)
    look = await around.fresh().look(around.watch)
    assert (look.series, look.learning, look.raised) == (1, 1, 0)


async def test_watches_are_added_looked_at_by_the_clock_listed_and_removed(tmp_path: Path) -> None:
    watches = AnomalyWatches(
        MetricSources({"live": FlakySource("live", [requests()])}), bench(tmp_path).store, tmp_path
    )
    somebody = Principal("key:else", frozenset({Role.OPERATOR}))
    async with MemoryWorkflows([watches.workflow]) as workflows:

        async def opened() -> MemoryWorkflows:
            return workflows

        keeper = WatchKeeper(watches, opened)
        wanted = NewWatch("requests", None, None, "0 0 1 1 *", "1m", "low", None)
        (row,) = (await keeper.add(wanted, LOCAL)).watches
        assert (row.name, row.source, row.problem) == ("requests", "live", None)
        (schedule,) = await workflows.schedules()
        run = await workflows.start(schedule.workflow, schedule.arguments, schedule.owner)
        assert (await workflows.wait(run.id, 60)).result["problem"] is None

        assert (await keeper.list_all(somebody)).watches == ()
        with pytest.raises(NotFound):
            await keeper.remove(row.id, somebody)
        assert [one.id for one in (await keeper.list_all(LOCAL)).watches] == [row.id]
        await keeper.remove(row.id, LOCAL)
        assert await workflows.schedules() == []
        assert list(tmp_path.glob("watch_*")) == []


@pytest.mark.parametrize(
    ("changed", "argument"),
    [
        ({"query": "sum(("}, "query"),
        ({"step": "0.1"}, "step"),
        ({"step": "soon"}, "step"),
        ({"source": "x"}, "source"),
    ],
)
async def test_what_cannot_be_watched_is_refused_and_leaves_nothing(
    tmp_path: Path, changed: dict[str, str], argument: str
) -> None:
    watches = bench(tmp_path).fresh()
    async with MemoryWorkflows([watches.workflow]) as workflows:

        async def opened() -> MemoryWorkflows:
            return workflows

        told = {"query": "requests", "name": None, "source": None, "schedule": "* * * * *", "step": "1m"}
        wanted = NewWatch(**{**told, **changed}, sensitivity="normal", kind=None)
        with pytest.raises(CallerError) as error:
            await WatchKeeper(watches, opened).add(wanted, LOCAL)
        assert error.value.argument == argument
        assert await workflows.schedules() == []
