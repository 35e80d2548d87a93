"""Events start the definitions that listen to them: each once, for owners who may see them, never in circles."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
from reference.offered_tools import OfferedTools

from quantum_suite.core.errors import Unauthenticated, Unavailable
from quantum_suite.core.events import Event, EventData, NewEvent
from quantum_suite.core.scan_events import SCAN_EVENTS, ScanCompleted
from quantum_suite.core.scans import SeverityCounts
from quantum_suite.services.definitions.memory import MemoryDefinitionStore
from quantum_suite.services.events.interface import ANY_VERSION
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.sagas.saga_events import SAGA_EVENTS
from quantum_suite.services.workflows.composite.composites import Composites
from quantum_suite.services.workflows.composite.listeners import Listeners
from quantum_suite.services.workflows.composite.matching import MAX_DEPTH, origin_of
from quantum_suite.services.workflows.composite.trigger_events import TRIGGER_EVENTS, starting_events
from quantum_suite.services.workflows.composite.triggers import Triggers
from quantum_suite.services.workflows.events import RUN_EVENTS, RunCompleted, run_stream
from quantum_suite.services.workflows.interface import Owner, Run, RunQuery, Workflows
from quantum_suite.services.workflows.memory import MemoryWorkflows

pytestmark = pytest.mark.anyio

TYPES = (*SCAN_EVENTS, *RUN_EVENTS, *SAGA_EVENTS, *TRIGGER_EVENTS)
LISTENING = """
name: {name}
on:
  - event: qsecure.scan.completed
    where: {where}
    {more}
    inputs: {{path: "${{{{ event.data.root }}}}"}}
inputs: {{path: {{type: string, maxLength: 20}}}}
steps: [{steps}]
output: "${{{{ inputs.path }}}}"
"""
WAITING = "{approval: {question: Go?, approvers: [admin]}}"


def listening(
    name: str = "x", *, where: str = "event.data.counts.high > 0", more: str = "", steps: str = "{set: {a: 1}}"
) -> str:
    return LISTENING.format(name=name, where=where, more=more, steps=steps)


@dataclass
class House:
    """Everything between an event and a run, in memory."""

    engine: MemoryWorkflows
    definitions: MemoryDefinitionStore
    composites: Composites
    events: MemoryEventStore
    owners: dict[str, Owner] = field(
        default_factory=lambda: {
            "key:ada": Owner("key:ada", ("operator",), ("/srv",)),
            "key:bob": Owner("key:bob", ("operator",)),
            "key:root": Owner("key:root", ("admin",)),
        }
    )
    opened: int = 0
    away: bool = False
    bugs: list[Exception] = field(default_factory=list)

    def __post_init__(self) -> None:
        listeners = Listeners(self.definitions, self.composites)
        types = starting_events(TYPES)
        self.triggers = Triggers(self.events, listeners, self.composites, self._open, self._rights, types)

    async def _open(self) -> Workflows:
        self.opened += 1
        if self.away:
            raise Unavailable("The database is away.")
        return self.engine

    async def _rights(self, principal: str) -> Owner:
        if self.bugs:
            raise self.bugs.pop()
        if principal not in self.owners:
            raise Unauthenticated(f"{principal} may do nothing here any more.")
        return self.owners[principal]

    async def define(self, source: str, by: str = "key:ada") -> None:
        await self.composites.define(source, self.owners[by])

    async def append(self, data: EventData, stream: str, by: str, run: str | None) -> Event:
        (event,) = await self.events.append(
            stream, ANY_VERSION, [NewEvent(data, principal=by, correlation_id=run)]
        )
        return event

    async def scanned(
        self, root: str = "/srv/a", *, high: int = 1, by: str = "key:ada", run: str | None = None
    ) -> Event:
        counts = SeverityCounts(high=high)
        data = ScanCompleted(
            scan="s", root=root, counts=counts, suppressed=0, files=1, engines=(), not_assessed=0, seconds=1
        )
        event = await self.append(data, "qsecure.scan/s", by, run)
        await self.triggers.handle(event)
        return event

    async def ended(self, run: Run) -> Event:
        final = await self.engine.wait(run.id, 10)
        assert final.state == "completed", final
        event = await self.append(RunCompleted(), run_stream(run.id), run.owner.principal, run.id)
        await self.triggers.handle(event)
        return event

    async def runs(self) -> list[Run]:
        found, _ = await self.engine.find(RunQuery(limit=100))
        return list(reversed(found))

    async def told(self, definition: str = "x") -> list[Event]:
        return await self.events.read_stream(f"orchestrator.trigger/{definition}")


@asynccontextmanager
async def opened_house() -> AsyncIterator[House]:
    tools, definitions = OfferedTools(), MemoryDefinitionStore()
    composites = Composites(tools, definitions, [], tools, starting_events(TYPES))
    async with MemoryWorkflows(composites.workflows()) as engine:
        yield House(engine, definitions, composites, MemoryEventStore(EventRegistry(TYPES)))


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with opened_house() as house:
        yield house


async def test_an_event_that_fits_starts_the_definition_under_its_owners_present_rights(house: House) -> None:
    await house.define(listening())
    event = await house.scanned("/srv/b")
    (run,) = await house.runs()
    assert (run.owner, run.arguments["inputs"]) == (house.owners["key:ada"], {"path": "/srv/b"})
    assert run.arguments["started_by"] == {
        "event": event.id,
        "type": "qsecure.scan.completed.v1",
        "stream": "qsecure.scan/s",
        "version": 1,
    }
    assert (await house.engine.wait(run.id, 10)).result == "/srv/b"


async def test_what_does_not_fit_starts_nothing_and_opens_no_engine(house: House) -> None:
    await house.define(listening())
    await house.scanned(high=0)
    await house.triggers.handle(await house.append(RunCompleted(), run_stream("run_1"), "key:ada", "run_1"))
    assert (house.opened, await house.told()) == (0, [])


async def test_an_event_that_comes_again_starts_nothing_twice_even_by_a_changed_definition(house: House) -> None:
    await house.define(listening())
    event = await house.scanned()
    await house.triggers.handle(event)
    await house.define(listening(more="# changed"))
    await house.triggers.handle(event)
    assert len(await house.runs()) == 1


async def test_a_crash_before_the_run_is_started_starts_it_once(house: House) -> None:
    await house.define(listening(more="key: ${{ event.data.root }}"))
    house.away = True
    with pytest.raises(Unavailable):
        await house.scanned()
    house.away = False
    (event,) = await house.events.read_stream("qsecure.scan/s")
    for _ in range(2):
        await house.triggers.handle(event)
    assert len(await house.runs()) == 1


async def test_only_events_the_owner_may_see_start_it(house: House) -> None:
    await house.define(listening("hers"), "key:ada")
    await house.define(listening("all"), "key:root")
    await house.scanned(by="key:bob")
    assert [run.arguments["definition"] for run in await house.runs()] == ["all"]
    # Whoever is no admin any more does not see everything any more, and whoever is gone sees nothing.
    house.owners["key:root"] = Owner("key:root", ("viewer",))
    await house.scanned(by="key:bob")
    del house.owners["key:ada"]
    await house.scanned(by="key:ada")
    assert len(await house.runs()) == 1


async def test_the_newest_version_counts_and_one_that_is_gone_does_not(house: House) -> None:
    await house.define(listening())
    await house.scanned()
    await house.define(listening(where="event.data.counts.high > 5"))
    await house.scanned()
    assert len(await house.runs()) == 1
    await house.scanned(high=6)
    assert [run.arguments["version"] for run in await house.runs()] == [1, 2]
    await house.define("name: x\nsteps: [{set: {a: 1}}]")
    await house.scanned(high=6)
    assert len(await house.runs()) == 2


async def test_of_one_key_one_run_is_under_way_and_the_newest_event_waits(house: House) -> None:
    await house.define(listening(more="key: ${{ event.data.root }}", steps=WAITING))
    await house.scanned("/srv/a")
    await house.scanned("/srv/b")
    for high in (2, 3, 4):
        last = await house.scanned("/srv/a", high=high)
    first, other = await house.runs()
    assert [run.arguments["inputs"]["path"] for run in (first, other)] == ["/srv/a", "/srv/b"]
    await house.engine.cancel(first.id)
    ended = await house.append(RunCompleted(), run_stream(first.id), "key:ada", first.id)
    await house.triggers.handle(ended)
    await house.triggers.handle(ended)
    waited = (await house.runs())[2:]
    assert [run.arguments["started_by"]["event"] for run in waited] == [last.id]


async def test_a_key_that_is_free_again_is_taken_by_the_next_event(house: House) -> None:
    await house.define(listening(more="key: ${{ event.data.root }}"))
    for number in range(3):
        await house.scanned()
        await house.ended((await house.runs())[number])
    assert len(await house.runs()) == 3


async def test_what_a_run_causes_does_not_start_the_same_definition_again(house: House) -> None:
    await house.define(listening())
    await house.scanned()
    (run,) = await house.runs()
    # Its own calls, those of its children, and of runs that it had started through a tool.
    for cause in (run.id, f"{run.id}.3", f"{run.id}.run_1"):
        await house.scanned(run=cause)
    assert len(await house.runs()) == 1
    await house.scanned(run="run_of_somebody")
    assert len(await house.runs()) == 2


async def test_workflows_that_start_each_other_come_to_an_end_and_their_owner_is_told(house: House) -> None:
    await house.define(listening("ping"))
    await house.define(listening("pong"))
    await house.scanned()
    done: set[str] = set()
    while new := [run for run in await house.runs() if run.id not in done]:
        for run in new:
            done.add(run.id)
            await house.scanned(run=run.id)
    depths = [origin.depth for run in await house.runs() if (origin := origin_of(run.id))]
    assert sorted(depths) == [depth for depth in range(1, MAX_DEPTH + 1) for _ in range(2)]
    told = [*await house.told("ping"), *await house.told("pong")]
    assert len(told) == 2
    assert "start each other" in told[0].data["message"]


async def test_what_a_definitions_own_words_fail_on_is_told_to_its_owner_and_holds_nobody_up(house: House) -> None:
    await house.define(listening("a_number", where="${{ event.data.counts.high }}"))
    await house.define(listening("b_text", where="event.subject + 'x' == 'y'"))
    await house.define(listening("c_inputs"))
    await house.define(listening("d_right", where="true"))
    event = await house.scanned("/srv/" + "long" * 10)
    await house.triggers.handle(event)
    assert await house.runs() == []
    (first,) = await house.told("a_number")
    assert (first.principal, first.causation_id) == ("key:ada", event.id)
    assert first.data["message"].startswith(
        "on[0].where (line 5, column 12): This is a number, not true or false."
    )
    assert "on[0].where" in (await house.told("b_text"))[0].data["message"]
    assert "20 is the most" in (await house.told("c_inputs"))[0].data["message"]
    await house.scanned()
    assert [run.arguments["definition"] for run in await house.runs()] == ["c_inputs", "d_right"]


async def test_what_goes_wrong_otherwise_is_raised_when_everybody_was_offered_the_event(house: House) -> None:
    await house.define(listening("one"))
    await house.define(listening("two"))
    house.bugs.append(ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError):
        await house.scanned()
    assert [run.arguments["definition"] for run in await house.runs()] == ["two"]


async def test_two_processes_that_take_the_same_event_start_one_run(house: House) -> None:
    await house.define(listening(more="key: ${{ event.data.root }}"))
    other = House(house.engine, house.definitions, house.composites, house.events)
    event = await house.append(
        ScanCompleted(
            scan="s",
            root="/srv/a",
            counts=SeverityCounts(high=1),
            suppressed=0,
            files=1,
            engines=(),
            not_assessed=0,
            seconds=1,
        ),
        "qsecure.scan/s",
        "key:ada",
        None,
    )
    async with anyio.create_task_group() as tasks:
        for triggers in (house.triggers, other.triggers) * 3:
            tasks.start_soon(triggers.handle, event)
    assert len(await house.runs()) == 1


@pytest.mark.parametrize("run", [None, "", "run_1", "saga.on-x.1.d1-a", "saga.shop.1.x", "xsaga.on-x"])
def test_a_run_that_no_event_started_has_no_origin(run: Any) -> None:
    assert origin_of(run) is None
