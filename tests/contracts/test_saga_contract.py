"""What sagas do, on every event store, with workflows that run, and on the durable orchestrator."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, ClassVar

import anyio
import pytest

from quantum_suite.core.errors import NotFound, Unavailable
from quantum_suite.core.events import Event, EventData, EventFilter, NewEvent, type_and_version
from quantum_suite.services.databases.postgres import open_postgres
from quantum_suite.services.events.interface import ANY_VERSION, EventStore
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.postgres import PostgresEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.events.sqlite import SqliteEventStore
from quantum_suite.services.leases.memory import MemoryLeaseStore
from quantum_suite.services.projections.control_events import CONTROL_EVENTS
from quantum_suite.services.projections.memory import MemoryProgressStore
from quantum_suite.services.projections.runner import ProjectionRunner
from quantum_suite.services.sagas.consumer import TIMER, SagaConsumer
from quantum_suite.services.sagas.instance import Instance
from quantum_suite.services.sagas.interface import (
    ClearTimeout,
    Decision,
    Happened,
    RunEnded,
    SetTimeout,
    StartWorkflow,
    TimedOut,
    Trigger,
    plain_key,
    saga_run,
)
from quantum_suite.services.sagas.saga_events import SAGA_EVENTS
from quantum_suite.services.workflows.dbos.workflows import open_workflows
from quantum_suite.services.workflows.events import (
    RUN_EVENTS,
    RunCancelled,
    RunCompleted,
    RunFailed,
    run_stream,
)
from quantum_suite.services.workflows.interface import (
    FINAL,
    Json,
    Owner,
    Run,
    RunContext,
    RunQuery,
    StepContext,
    Workflow,
)
from quantum_suite.services.workflows.memory import MemoryWorkflows

pytestmark = pytest.mark.anyio

OWNER = Owner("key:ci")


class Ordered(EventData):
    """Somebody ordered something."""

    event_type: ClassVar[str] = "shop.order.placed"

    order: str
    card: str = "good"


class Confirmed(EventData):
    """Somebody confirmed an order."""

    event_type: ClassVar[str] = "shop.order.confirmed"

    order: str


class Shop:
    """Reserve, wait for a confirmation in time, charge, ship; take back when charging fails."""

    name = "shop"
    where = EventFilter(types=frozenset({"shop."}))

    def key(self, event: Event) -> str | None:
        order: str | None = event.data.get("order")
        return order

    def react(self, state: Mapping[str, Json] | None, trigger: Trigger) -> Decision | None:
        match trigger:
            case Happened(event) if type_and_version(event.type)[0] == Ordered.event_type and state is None:
                undo = StartWorkflow("release", "work", {"what": "release"}, OWNER)
                reserve = StartWorkflow("reserve", "work", {"what": "reserve"}, OWNER, undo=undo)
                return Decision({"card": event.data["card"]}, (reserve, SetTimeout("confirm", 3600, OWNER)))
            case Happened(event) if type_and_version(event.type)[0] == Confirmed.event_type and state is not None:
                charge = StartWorkflow("charge", "work", {"what": "charge", "card": state["card"]}, OWNER)
                return Decision(dict(state), (ClearTimeout("confirm"), charge))
            case RunEnded("charge", "completed"):
                return Decision(dict(state or {}), outcome="completed")
            case RunEnded("charge", "failed", event):
                return Decision(dict(state or {}), outcome="failed", reason=event.data["code"])
            case TimedOut("confirm"):
                return Decision(dict(state or {}), outcome="failed", reason="not confirmed")
        return None


class World:
    """A saga, its events and its workflows, which this tells of as the orchestrator does."""

    def __init__(self, events: EventStore) -> None:
        self.events = events
        self.done: list[str] = []
        self.workflows = MemoryWorkflows([Workflow("work", self._work), TIMER])
        self.saga = SagaConsumer(Shop(), events, self.workflows)
        self.told: set[str] = set()

    async def _work(self, context: RunContext, arguments: Json) -> Json:
        self.done.append(arguments["what"])
        if arguments.get("card") == "bad":
            raise Unavailable("The bank is away.")
        if arguments.get("card") == "slow":
            await context.wait_for_signal("bank", timeout_seconds=3600)
        return None

    async def append(self, data: EventData, stream: str = "shop.order/1") -> Event:
        (event,) = await self.events.append(stream, ANY_VERSION, [NewEvent(data, principal="key:ci")])
        return event

    async def happen(self, data: EventData) -> Event:
        event = await self.append(data)
        await self.saga.handle(event)
        return event

    async def ends(self) -> list[Event]:
        """Append the ends of runs that were not told of yet."""
        told = []
        for run in reversed((await self.workflows.find(RunQuery(limit=100)))[0]):
            if run.id in self.told:
                continue
            final = await self.workflows.wait(run.id, 0.05)
            if final.state not in FINAL:
                continue
            self.told.add(run.id)
            told.append(await self.append(_end(final), run_stream(run.id)))
        return told

    async def settle(self) -> None:
        """Have the saga hear of every end, until nothing more follows."""
        while ends := await self.ends():
            for event in ends:
                await self.saga.handle(event)

    async def runs(self) -> list[str]:
        found, _ = await self.workflows.find(RunQuery(limit=100))
        return sorted(run.id.removeprefix("saga.shop.1.") for run in found)

    async def instance(self) -> Instance:
        instance = await self.saga.instance("1")
        assert instance is not None
        return instance


def _end(run: Run) -> EventData:
    if run.state == "failed" and run.failure is not None:
        return RunFailed(code=run.failure.code, message=run.failure.message)
    return RunCompleted() if run.state == "completed" else RunCancelled()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    ends = (RunCompleted, RunFailed, RunCancelled)
    registry = EventRegistry([Ordered, Confirmed, *ends, *SAGA_EVENTS, *CONTROL_EVENTS])
    async with AsyncExitStack() as stack:
        events: EventStore
        if request.param == "memory":
            events = MemoryEventStore(registry, polling_seconds=0.02)
        elif request.param == "sqlite":
            events = await stack.enter_async_context(SqliteEventStore(tmp_path / "e.sqlite3", registry))
        else:
            database = await stack.enter_async_context(open_postgres(request.getfixturevalue("postgres_url")))
            events = await stack.enter_async_context(PostgresEventStore(database, registry))
        world = World(events)
        await stack.enter_async_context(world.workflows)
        yield world


async def test_a_saga_leads_from_event_to_event_to_its_end(world: World) -> None:
    await world.happen(Ordered(order="1"))
    await world.settle()
    assert await world.runs() == ["reserve", "timer-1-confirm"]
    await world.happen(Confirmed(order="1"))
    await world.settle()
    instance = await world.instance()
    assert (instance.status, world.done) == ("completed", ["reserve", "charge"])
    assert instance.timers == {}
    assert (await world.workflows.get("saga.shop.1.timer-1-confirm")).state == "cancelled"


async def test_an_event_that_comes_again_starts_nothing_twice(world: World) -> None:
    event = await world.happen(Ordered(order="1"))
    for _ in range(3):
        await world.saga.handle(event)
    await world.settle()
    assert world.done == ["reserve"]
    kinds = [one.type for one in await world.events.read_stream("saga.shop/1")]
    assert kinds.count("saga.decision.made.v1") == 2  # the order, and the end of what it started


async def test_what_failed_is_taken_back_in_reverse(world: World) -> None:
    await world.happen(Ordered(order="1", card="bad"))
    await world.settle()
    await world.happen(Confirmed(order="1"))
    await world.settle()
    instance = await world.instance()
    assert (instance.status, instance.reason) == ("failed", "unavailable")
    assert world.done == ["reserve", "charge", "release"]
    assert instance.undo_failures == []


async def test_a_timeout_that_passes_fails_it(world: World) -> None:
    await world.happen(Ordered(order="1"))
    await world.settle()
    await world.saga.handle(await world.append(RunCompleted(), run_stream("saga.shop.1.timer-1-confirm")))
    await world.settle()
    instance = await world.instance()
    assert (instance.status, instance.reason, world.done) == ("failed", "not confirmed", ["reserve", "release"])


async def test_a_timer_that_was_cleared_means_nothing(world: World) -> None:
    await world.happen(Ordered(order="1", card="slow"))
    await world.happen(Confirmed(order="1"))
    late = await world.append(RunCompleted(), run_stream("saga.shop.1.timer-1-confirm"))
    await world.saga.handle(late)
    assert (await world.instance()).status == "running"


async def test_what_is_under_way_when_it_fails_is_cancelled_and_taken_back_if_it_was_done_all_the_same(
    world: World,
) -> None:
    await world.happen(Ordered(order="1", card="slow"))
    await world.happen(Confirmed(order="1"))
    with anyio.fail_after(50):
        while world.done != ["reserve", "charge"]:
            await anyio.sleep(0.005)
    # Charging failed elsewhere; the saga has not heard yet that reserving was done.
    failed = await world.append(RunFailed(code="declined", message="no"), run_stream("saga.shop.1.charge"))
    world.told.add("saga.shop.1.charge")
    await world.saga.handle(failed)
    assert (await world.instance()).status == "compensating"
    await world.settle()
    assert (await world.instance()).status == "failed"
    assert world.done == ["reserve", "charge", "release"]


async def test_an_undo_that_fails_is_named_and_the_rest_goes_on(world: World) -> None:
    await world.happen(Ordered(order="1", card="bad"))
    await world.happen(Confirmed(order="1"))
    while (await world.instance()).steps.get("release") is None:
        for event in await world.ends():
            await world.saga.handle(event)
    broken = await world.append(RunFailed(code="x", message="y"), run_stream("saga.shop.1.release"))
    await world.saga.handle(broken)
    instance = await world.instance()
    assert (instance.status, instance.undo_failures) == ("failed", ["release"])


async def test_an_ended_saga_takes_in_nothing_more(world: World) -> None:
    await world.happen(Ordered(order="1"))
    await world.happen(Confirmed(order="1"))
    await world.settle()
    before = len(await world.events.read_stream("saga.shop/1"))
    await world.happen(Confirmed(order="1"))
    await world.happen(Ordered(order="1"))
    assert len(await world.events.read_stream("saga.shop/1")) == before


async def test_a_decision_that_was_not_carried_out_is_carried_out_once_by_the_next_event(world: World) -> None:
    class Away(MemoryWorkflows):
        async def start(self, *args: Any, **named: Any) -> Run:
            raise Unavailable("The orchestrator is away.")

    away = SagaConsumer(Shop(), world.events, Away([]))
    event = await world.append(Ordered(order="1"))
    with pytest.raises(Unavailable):
        await away.handle(event)
    assert await world.runs() == []
    await world.saga.handle(event)
    await world.settle()
    assert world.done == ["reserve"]


async def test_a_crash_between_two_commands_repeats_none(world: World) -> None:
    started = 0
    real = world.workflows.start

    async def dies(*args: Any, **named: Any) -> Run:
        nonlocal started
        started += 1
        if started == 2:
            raise ConnectionError("killed")
        return await real(*args, **named)

    world.workflows.start = dies  # type: ignore[method-assign]  # a crash cannot be had otherwise at this point
    event = await world.append(Ordered(order="1"))
    with pytest.raises(ConnectionError):
        await world.saga.handle(event)
    await world.saga.handle(event)
    await world.settle()
    assert world.done == ["reserve"]
    assert await world.runs() == ["reserve", "timer-1-confirm"]


async def test_two_processes_that_decide_at_once_decide_once(world: World) -> None:
    other = SagaConsumer(Shop(), world.events, world.workflows)
    event = await world.append(Ordered(order="1"))
    async with anyio.create_task_group() as tasks:
        for saga in (world.saga, other) * 3:
            tasks.start_soon(saga.handle, event)
    await world.settle()
    assert world.done == ["reserve"]


async def test_instances_know_nothing_of_each_other_and_keys_may_be_any_text(world: World) -> None:
    nasty = "order/ä b\n" * 50
    await world.happen(Ordered(order="1"))
    await world.happen(Ordered(order=nasty))
    await world.settle()
    assert world.done == ["reserve", "reserve"]
    other = await world.saga.instance(nasty)
    assert other is not None
    assert other.steps.keys() == {"reserve"}
    assert await world.saga.instance("none") is None


async def test_events_of_others_and_forged_runs_are_passed_over(world: World) -> None:
    await world.happen(Ordered(order="1"))
    for stream in ("orchestrator.run/run_1", "orchestrator.run/saga.other.1.x", "orchestrator.run/saga.shop.1.x"):
        await world.saga.handle(await world.append(RunCompleted(), stream))
    await world.happen(Confirmed(order="never-ordered"))
    assert await world.saga.instance("never-ordered") is None
    assert (await world.instance()).steps.keys() == {"reserve"}


async def test_an_unknown_workflow_is_for_people_to_mend(world: World) -> None:
    saga = SagaConsumer(Shop(), world.events, MemoryWorkflows([TIMER]))
    with pytest.raises(NotFound):
        await saga.handle(await world.append(Ordered(order="1")))


async def test_it_runs_as_a_consumer_of_the_runner(world: World) -> None:
    runner = ProjectionRunner(world.events, MemoryProgressStore(), MemoryLeaseStore(), holder="here")
    runner.add_consumer(world.saga)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(runner.run)
        await world.append(Ordered(order="1"))
        await world.append(Confirmed(order="1"))
        with anyio.fail_after(50):
            while (instance := await world.saga.instance("1")) is None or instance.status != "completed":
                await world.ends()
                await anyio.sleep(0.005)
        tasks.cancel_scope.cancel()
    assert world.done == ["reserve", "charge"]


@pytest.mark.parametrize("card", ["good", "bad"])
async def test_it_leads_the_durable_orchestrator_by_the_events_that_one_appends(tmp_path: Path, card: str) -> None:
    done: list[str] = []

    async def work(context: RunContext, arguments: Json) -> Json:
        async def step(_: StepContext) -> Json:
            if arguments.get("card") == "bad":
                raise NotFound("There is no such card.")
            done.append(arguments["what"])
            return None

        return await context.step("work", step)

    registry = EventRegistry([Ordered, Confirmed, *RUN_EVENTS, *SAGA_EVENTS, *CONTROL_EVENTS])
    leases = MemoryLeaseStore()
    async with (
        SqliteEventStore(tmp_path / "e.sqlite3", registry) as events,
        open_workflows(
            tmp_path / "w.sqlite3", [Workflow("work", work), TIMER], events=events, leases=leases, worker_id="here"
        ) as workflows,
        anyio.create_task_group() as tasks,
    ):
        saga = SagaConsumer(Hasty(), events, workflows)
        runner = ProjectionRunner(events, MemoryProgressStore(), leases, holder="here")
        runner.add_consumer(saga)
        tasks.start_soon(runner.run)
        await events.append("shop.order/1", ANY_VERSION, [NewEvent(Ordered(order="1", card=card))])
        with anyio.fail_after(30):
            while (instance := await saga.instance("1")) is None or not instance.ended:
                await anyio.sleep(0.02)
        tasks.cancel_scope.cancel()
    if card == "good":
        assert (instance.status, done) == ("completed", ["reserve", "charge"])
    else:
        assert (instance.status, instance.reason, done) == ("failed", "not_found", ["reserve", "release"])


class Hasty(Shop):
    """Takes a timeout for the confirmation."""

    def react(self, state: Mapping[str, Json] | None, trigger: Trigger) -> Decision | None:
        if isinstance(trigger, TimedOut):
            card = (state or {})["card"]
            charge = StartWorkflow("charge", "work", {"what": "charge", "card": card}, OWNER)
            return Decision(dict(state or {}), (charge,))
        decision = super().react(state, trigger)
        if decision is None or not isinstance(trigger, Happened):
            return decision
        (reserve, _) = decision.commands
        return Decision(decision.state, (reserve, SetTimeout("confirm", 0.3, OWNER)))


def test_a_runs_id_names_saga_key_and_step() -> None:
    run = saga_run("saga.shop.a.b_c-1.timer-1-x")
    assert run is not None
    assert (run.saga, run.key, run.step) == ("shop", "a.b_c-1", "timer-1-x")
    assert saga_run("run_01") is None
    long: Sequence[str] = [plain_key("x" * 500), plain_key("ü")]
    assert [plain_key(key) for key in long] == long


class Meter(Shop):
    """Starts a step for every order, one after the other, without end."""

    def key(self, event: Event) -> str | None:
        return "1"

    def react(self, state: Mapping[str, Json] | None, trigger: Trigger) -> Decision | None:
        if isinstance(trigger, RunEnded):
            return Decision(dict(state or {}), forget=(trigger.step,))
        assert isinstance(trigger, Happened)
        step = f"order-{trigger.event.data['order']}"
        count = (state or {"count": 0})["count"] + 1
        return Decision({"count": count}, (StartWorkflow(step, "work", {"what": step}, OWNER),))


async def test_an_instance_that_goes_on_for_long_stays_small_and_forgets_no_event(world: World) -> None:
    orders = 30
    world.saga = SagaConsumer(Meter(), world.events, world.workflows)
    first = await world.happen(Ordered(order="0"))
    for number in range(1, orders):
        await world.happen(Ordered(order=str(number)))
        await world.settle()
    instance = await world.instance()
    assert (instance.state, instance.steps) == ({"count": orders}, {})
    assert await world.events.snapshot("saga.shop/1", 1) is not None
    await world.saga.handle(first)
    assert (await world.instance()).state == {"count": orders}
    assert len(world.done) == orders


async def test_decisions_are_recorded_in_the_name_that_is_given(world: World) -> None:
    saga = SagaConsumer(Shop(), world.events, world.workflows, principal="key:owner")
    await saga.handle(await world.append(Ordered(order="1")))
    told = await world.events.read_stream("saga.shop/1")
    assert {event.principal for event in told} == {"key:owner"}
