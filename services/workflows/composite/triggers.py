"""Starts workflows by events: the consumer that offers every event to the definitions that listen to it."""

import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from quantum_suite.core.errors import ConfigurationError, EngineMissing, Refused, SuiteError, Unauthenticated
from quantum_suite.core.events import Event, EventFilter, NewEvent, type_and_version
from quantum_suite.core.principals import Role
from quantum_suite.services.events.interface import ANY_VERSION, EventStore
from quantum_suite.services.sagas.consumer import SagaConsumer
from quantum_suite.services.sagas.interface import StartWorkflow, saga_run
from quantum_suite.services.workflows.composite.composites import COMPOSITE, Composites
from quantum_suite.services.workflows.composite.listeners import Listener, Listeners
from quantum_suite.services.workflows.composite.matching import (
    MAX_DEPTH,
    definition_of,
    match,
    origin_of,
    saga_name,
    step_of,
)
from quantum_suite.services.workflows.composite.trigger_events import TriggerFailed, trigger_stream
from quantum_suite.services.workflows.composite.trigger_saga import TriggerSaga
from quantum_suite.services.workflows.events import (
    LONGEST_TEXT,
    RunCancelled,
    RunCompleted,
    RunFailed,
    run_stream,
)
from quantum_suite.services.workflows.interface import Json, Owner, Run, Workflows

logger = logging.getLogger(__name__)

Rights = Callable[[str], Awaitable[Owner]]
"""Says who a principal is now; raises Unauthenticated for one who may do nothing any more."""

_ENDS = frozenset({RunCompleted.event_type, RunFailed.event_type, RunCancelled.event_type})


class Triggers:
    """A consumer. An event starts a definition once, whatever crashes and however often it comes.

    A definition is offered the events its owner may see: their own, or everybody's where they are an admin. Runs
    work under the rights the owner has at that time. What a run causes never starts the same definition again; a
    chain of runs that start each other ends after MAX_DEPTH.

    An event that a definition's own words fail on is told of by `orchestrator.trigger.failed`, to its owner, and
    holds nobody else's up; anything else that goes wrong is raised when all have been offered the event.
    """

    name = "triggers"

    def __init__(
        self,
        events: EventStore,
        listeners: Listeners,
        composites: Composites,
        open_workflows: Callable[[], Awaitable[Workflows]],
        rights: Rights,
        types: Iterable[str],
    ) -> None:
        """`types` are the events that may start something. The workflows are opened when something is to start."""
        self.where = EventFilter(types=frozenset(types) | _ENDS)
        self._types = frozenset(types)
        self._events = events
        self._listeners = listeners
        self._composites = composites
        self._starter = _OpenedWhenNeeded(open_workflows)
        self._rights = rights

    async def handle(self, event: Event) -> None:
        """Offer an event to all who listen; an event that comes again starts nothing twice."""
        await self._end_turn(event)
        bare = type_and_version(event.type)[0]
        failures: list[Exception] = []
        for listener in await self._listeners.of(bare) if bare in self._types else ():
            try:
                await self._offer(listener, event)
            except Exception as error:
                if isinstance(error, SuiteError) and _is_outage(error):
                    raise
                failures.append(error)
        if failures:
            raise failures[0]

    async def _end_turn(self, event: Event) -> None:
        """Tell the saga that a run it started has ended: another one may be waiting for that."""
        if type_and_version(event.type)[0] not in _ENDS:
            return
        run = saga_run(event.stream.removeprefix(run_stream("")))
        if run is not None and definition_of(run.saga) is not None:
            await self._saga(TriggerSaga(run.saga, run.key), event.principal).handle(event)

    async def _offer(self, listener: Listener, event: Event) -> None:
        origin = origin_of(event.correlation_id)
        if origin is not None and origin.definition == listener.stored.name:
            return
        try:
            owner = await self._rights(listener.stored.owner)
        except Unauthenticated as error:
            logger.info("%s starts nothing: %s", listener.stored.name, error)
            return
        if event.principal != owner.principal and Role.ADMIN not in owner.roles:
            return
        try:
            saga = await self._matched(listener, event, owner, 1 if origin is None else origin.depth + 1)
        except SuiteError as error:
            if _is_outage(error):
                raise
            await self._tell(listener, event, str(error))
            return
        if saga is not None:
            await self._saga(saga, owner.principal).handle(event)

    async def _matched(self, listener: Listener, event: Event, owner: Owner, depth: int) -> TriggerSaga | None:
        found = match(listener.definition, event)
        if found is None:
            return None
        if depth > MAX_DEPTH:
            raise Refused(
                f"The workflows start each other: {MAX_DEPTH} runs have led to this event.",
                "Narrow what starts them with 'where'.",
            )
        stored = listener.stored
        start = await self._composites.start(stored.name, found.inputs, owner, stored.version)
        cause = {"event": event.id, "type": event.type, "stream": event.stream, "version": event.version}
        arguments = {**start.arguments, "started_by": cause}
        step = StartWorkflow(step_of(event, depth), COMPOSITE, arguments, owner)
        return TriggerSaga(saga_name(stored.name), found.slot, step, shared=found.shared)

    async def _tell(self, listener: Listener, event: Event, message: str) -> None:
        stored = listener.stored
        digest = hashlib.sha256(f"{stored.name} {stored.version} {event.id}".encode()).hexdigest()
        failed = NewEvent(
            TriggerFailed(
                definition=stored.name,
                version=stored.version,
                event=event.id,
                type=event.type,
                message=message[:LONGEST_TEXT],
            ),
            principal=stored.owner,
            correlation_id=event.correlation_id,
            causation_id=event.id,
            id=f"evt_{digest[:32]}",
        )
        await self._events.append(trigger_stream(stored.name), ANY_VERSION, [failed])

    def _saga(self, saga: TriggerSaga, principal: str | None) -> SagaConsumer:
        return SagaConsumer(saga, self._events, self._starter, principal=principal)


@dataclass(frozen=True, slots=True)
class _OpenedWhenNeeded:
    """The workflows, opened by what is to be started first: opening takes time and memory."""

    open: Callable[[], Awaitable[Workflows]]

    async def start(
        self,
        workflow: str,
        arguments: Json,
        owner: Owner,
        *,
        run_id: str | None = None,
        queue: str | None = None,
        delay_seconds: float | None = None,
    ) -> Run:
        workflows = await self.open()
        return await workflows.start(
            workflow, arguments, owner, run_id=run_id, queue=queue, delay_seconds=delay_seconds
        )

    async def cancel(self, run_id: str) -> Run:
        return await (await self.open()).cancel(run_id)


def _is_outage(error: SuiteError) -> bool:
    return error.retryable or isinstance(error, ConfigurationError | EngineMissing)
