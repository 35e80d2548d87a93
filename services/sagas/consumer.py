"""Runs a saga: a consumer whose state is a stream of its own in the event store."""

from contextlib import suppress
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.errors import Conflict, NotFound, Unavailable
from quantum_suite.core.events import Event, EventFilter, NewEvent, type_and_version
from quantum_suite.services.events.interface import MAX_BATCH, EventStore, Snapshot
from quantum_suite.services.sagas.instance import Instance, timer_of
from quantum_suite.services.sagas.interface import (
    Decision,
    Happened,
    RunEnded,
    RunStarter,
    Saga,
    SagaRun,
    TimedOut,
    Trigger,
    plain_key,
    saga_run,
    saga_stream,
)
from quantum_suite.services.sagas.saga_events import SagaCarriedOut, SagaDecided
from quantum_suite.services.workflows.interface import Json, Owner, RunContext, Workflow

_RUN_ENDS = frozenset({"orchestrator.run.completed", "orchestrator.run.failed", "orchestrator.run.cancelled"})
_RUN_STREAM = "orchestrator.run/"
_ATTEMPTS = 10
_SNAPSHOT_SCHEMA = 1
_SNAPSHOT_EVERY = 40
"""Events of an instance that are read before it is worth keeping what they come to."""
_MOST_DECIDED = 1000
"""Newest events an instance is known to have decided about: more than is ever delivered again."""


async def _pass(_context: RunContext, _arguments: Json) -> Json:
    return None


TIMER = Workflow(
    "saga_timer", _pass, description="Ends at once: started with a delay, its end is a saga's timeout."
)
"""To be given to the orchestrator by whoever runs sagas: timeouts are runs of it, so they survive restarts."""


class _Loaded(BaseModel):
    """An instance as its stream has it."""

    model_config = ConfigDict(extra="forbid")

    version: int = 0
    instance: Instance = Field(default_factory=Instance)
    decided: dict[str, None] = Field(default_factory=dict)
    """The newest events that were decided about, in order."""
    pending: SagaDecided | None = None
    """The last decision, while it is not known to be carried out."""

    def take_in(self, event: Event) -> None:
        """Go on by one event of the stream."""
        self.version = event.version
        if type_and_version(event.type)[0] != SagaDecided.event_type:
            self.pending = None
            return
        self.pending = SagaDecided.model_validate(dict(event.data))
        self.instance = Instance.model_validate(self.pending.instance)
        self.decided[self.pending.trigger] = None
        while len(self.decided) > _MOST_DECIDED:
            del self.decided[next(iter(self.decided))]


class SagaConsumer:
    """Reacts to events with what a saga decides.

    A decision is stored before it is carried out, and what it starts has ids made of saga, key and step: an event
    that comes again, and a crash at any point, start nothing twice and forget nothing.
    """

    def __init__(
        self, saga: Saga, events: EventStore, workflows: RunStarter, *, principal: str | None = None
    ) -> None:
        """Decisions are recorded in the name of `principal`; without one, of whoever the event belongs to."""
        self.name = f"saga.{saga.name}"
        self.where = EventFilter(types=saga.where.types | _RUN_ENDS) if saga.where.types else EventFilter()
        self._saga = saga
        self._events = events
        self._workflows = workflows
        self._principal = principal

    async def handle(self, event: Event) -> None:
        """Deal with one event; raises what the workflows raise, and is to be called again then."""
        key = self._key(event)
        if key is None:
            return
        for _ in range(_ATTEMPTS):
            # Somebody else (a process that still thinks it runs this saga) may write at the same time: look again.
            with suppress(Conflict):
                await self._deal_with(key, event)
                return
        raise Unavailable(f"The saga {self._saga.name} of {key} changes too fast.")

    async def _deal_with(self, key: str, event: Event) -> None:
        loaded = await self._load(key)
        if loaded.pending is not None:
            await self._carry_out(key, loaded, loaded.pending)
        if event.id not in loaded.decided and not loaded.instance.ended:
            decided = await self._decide(key, loaded, event)
            if decided is not None:
                await self._carry_out(key, loaded, decided)

    async def instance(self, key: str) -> Instance | None:
        """Return where an instance stands; None for one that does not exist."""
        loaded = await self._load(plain_key(key))
        return loaded.instance if loaded.version else None

    def _key(self, event: Event) -> str | None:
        if own := self._own_run(event):
            return own.key
        if not self._saga.where.matches(event.type, event.stream):
            return None
        key = self._saga.key(event)
        return None if key is None else plain_key(key)

    def _own_run(self, event: Event) -> SagaRun | None:
        if type_and_version(event.type)[0] not in _RUN_ENDS or not event.stream.startswith(_RUN_STREAM):
            return None
        run = saga_run(event.stream.removeprefix(_RUN_STREAM))
        return run if run is not None and run.saga == self._saga.name else None

    def _trigger(self, event: Event, instance: Instance) -> Trigger | None:
        """Return what an event means to the instance; None for nothing (a timer that no longer counts)."""
        run = self._own_run(event)
        if run is None:
            return Happened(event)
        state = cast(
            "Literal['completed', 'failed', 'cancelled']", type_and_version(event.type)[0].rpartition(".")[2]
        )
        timer = timer_of(run.step)
        if timer is None:
            return RunEnded(run.step, state, event) if run.step in instance.steps else None
        name, number = timer
        return TimedOut(name) if state == "completed" and instance.timers.get(name) == number else None

    async def _decide(self, key: str, loaded: _Loaded, event: Event) -> SagaDecided | None:
        instance = loaded.instance
        trigger = self._trigger(event, instance)
        if trigger is None:
            return None
        instance.note(trigger)
        if instance.status == "compensating":
            if not isinstance(trigger, RunEnded):
                return None
            commands = instance.take_back()
        else:
            decision = self._saga.react(instance.state, trigger)
            if decision is None and isinstance(trigger, Happened):
                return None
            # That a run of its own ended is kept, whether or not anything follows.
            commands = instance.follow(decision or Decision(instance.state or {}))
        decided = SagaDecided(trigger=event.id, instance=instance.model_dump(), commands=commands)
        await self._append(key, loaded, decided, event)
        return decided

    async def _carry_out(self, key: str, loaded: _Loaded, pending: SagaDecided) -> None:
        for command in pending.commands:
            await self._do(SagaRun(self._saga.name, key, command["step"]), command)
        await self._append(key, loaded, SagaCarriedOut(trigger=pending.trigger))

    async def _do(self, run: SagaRun, command: dict[str, Any]) -> None:
        if command["kind"] == "cancel":
            with suppress(NotFound):  # it ended long ago, and was forgotten
                await self._workflows.cancel(run.id)
            return
        owner = _owner(command["owner"])
        if command["kind"] == "timer":
            await self._workflows.start(TIMER.name, None, owner, run_id=run.id, delay_seconds=command["seconds"])
        else:
            await self._workflows.start(
                command["workflow"], command["arguments"], owner, run_id=run.id, queue=command["queue"]
            )

    async def _append(
        self, key: str, loaded: _Loaded, data: SagaDecided | SagaCarriedOut, cause: Event | None = None
    ) -> None:
        event = NewEvent(
            data,
            principal=self._principal or (cause.principal if cause else None),
            correlation_id=cause.correlation_id if cause else None,
            causation_id=data.trigger,
        )
        await self._events.append(saga_stream(self._saga.name, key), loaded.version, [event])
        loaded.version += 1

    async def _load(self, key: str) -> _Loaded:
        stream = saga_stream(self._saga.name, key)
        kept = await self._events.snapshot(stream, _SNAPSHOT_SCHEMA)
        loaded = _Loaded.model_validate(kept.state) if kept is not None else _Loaded()
        since = loaded.version
        while page := await self._events.read_stream(stream, loaded.version, limit=MAX_BATCH):
            for event in page:
                loaded.take_in(event)
        if loaded.version - since >= _SNAPSHOT_EVERY:
            state = loaded.model_dump(mode="json")
            await self._events.save_snapshot(Snapshot(stream, loaded.version, state, _SNAPSHOT_SCHEMA))
        return loaded


def _owner(plain: dict[str, Any]) -> Owner:
    workspaces = plain["workspaces"]
    return Owner(plain["principal"], tuple(plain["roles"]), None if workspaces is None else tuple(workspaces))
