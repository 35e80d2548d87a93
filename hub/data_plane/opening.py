"""Puts the data plane together: stores, what carries events, and what is derived from them."""

import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import anyio
from anyio.abc import TaskGroup

from quantum_suite.core.errors import SuiteError
from quantum_suite.core.events import EventFilter
from quantum_suite.hub.data_plane.delivery import Volatile, open_bus, open_volatile
from quantum_suite.hub.data_plane.derived import add_analytics, add_notifications
from quantum_suite.hub.data_plane.key_check import check_keys
from quantum_suite.hub.data_plane.stores import Stores, open_stores, registered_types
from quantum_suite.hub.data_plane.worker_slots import worker_slot
from quantum_suite.hub.settings import HubSettings
from quantum_suite.services.analytics.duckdb import DuckdbAnalytics
from quantum_suite.services.audit.chain.writer import ChainWriter
from quantum_suite.services.audit.journal_relay import JournalRelay
from quantum_suite.services.backoff import Backoff
from quantum_suite.services.bus.interface import Bus
from quantum_suite.services.bus.memory import MemoryBus
from quantum_suite.services.bus.wake_up import wake_on_news
from quantum_suite.services.cache.memory import MemoryCache
from quantum_suite.services.events.relay import Relay
from quantum_suite.services.leases.holding import lead
from quantum_suite.services.leases.interface import Lease
from quantum_suite.services.objects.interface import ObjectStore
from quantum_suite.services.objects.opening import open_object_store
from quantum_suite.services.objects.retention import Retention
from quantum_suite.services.projections.metrics import EventMetrics
from quantum_suite.services.projections.runner import ProjectionRunner
from quantum_suite.services.workflows.composite.composites import Composites
from quantum_suite.services.workflows.composite.listeners import Listeners
from quantum_suite.services.workflows.composite.trigger_events import starting_events
from quantum_suite.services.workflows.composite.triggers import Rights, Triggers
from quantum_suite.services.workflows.interface import Workflows
from quantum_suite.services.workflows.tool_calls import ToolCalls
from quantum_suite.services.workflows.tool_catalogue import ToolCatalogue
from quantum_suite.tools.orchestrator.actions import standard_actions

logger = logging.getLogger(__name__)

LEASE_SECONDS = 10.0
"""How long a process that is lost keeps others from its work."""

AUDIT_CHAIN = "audit-chain"
"""The lease of whoever writes the audit chain."""

_STEADY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class DataPlane:
    """What this process keeps, carries and derives. Opened; `run_in` sets it going."""

    holder: str
    """This process's name among those that share the leases; a directory that was copied has another host's."""
    stores: Stores
    bus: Bus
    volatile: Volatile
    objects: ObjectStore
    projections: ProjectionRunner
    metrics: EventMetrics
    analytics: DuckdbAnalytics | None
    journal: JournalRelay
    chain: ChainWriter

    def composites(self, calls: ToolCalls, offers: ToolCatalogue) -> Composites:
        """Return the workflows written as data, whose steps call tools through `calls`."""
        actions = standard_actions(self.stores.events, self.objects)
        return Composites(calls, self.stores.definitions, actions, offers, starting_events(registered_types()))

    def start_by_events(
        self, composites: Composites, open_workflows: Callable[[], Awaitable[Workflows]], rights: Rights
    ) -> None:
        """Have events start the definitions that listen to them; the first that does opens the workflows."""
        listeners = Listeners(self.stores.definitions, composites)
        types = starting_events(registered_types())
        triggers = Triggers(self.stores.events, listeners, composites, open_workflows, rights, types)
        self.projections.add_consumer(triggers, begin="now")

    def run_in(self, tasks: TaskGroup) -> None:
        """Start what goes on in the background, in `tasks`.

        Each part waits for what is away. One that fails for another reason is started again after a while, and
        takes neither the others nor the process with it.
        """
        stores = self.stores
        relay = Relay(stores.events, self.bus, stores.progress, stores.leases, holder=self.holder)
        retention = Retention(self.objects, stores.leases, self.holder)
        parts: dict[str, Callable[[], Awaitable[object]]] = {
            "journal": self.journal.run,
            "audit chain": self._write_chain,
            "projections": self.projections.run,
            "metrics": partial(self.metrics.run, stores.events, _not_of_calls()),
            "retention": retention.run,
        }
        if not isinstance(self.bus, MemoryBus):
            # Within a process an append wakes who follows the store; nothing needs to be carried.
            parts["relay"] = relay.run
            parts["wake-up"] = partial(wake_on_news, self.bus, stores.events)
        if self.analytics is not None:
            parts["analytics"] = self.analytics.run
        for name, run in parts.items():
            tasks.start_soon(_kept_up, name, run)

    async def _write_chain(self) -> None:
        async def write(lease: Lease) -> None:
            await self.chain.run(lease.fence)

        await lead(self.stores.leases, AUDIT_CHAIN, self.holder, LEASE_SECONDS, write)


async def _kept_up(name: str, run: Callable[[], Awaitable[object]]) -> None:
    """Run a part of the background until cancelled."""
    backoff = Backoff(1, 60)
    while True:
        started = anyio.current_time()
        try:
            await run()
            return
        except SuiteError as error:
            logger.error("The %s stopped and is started again: %s", name, error)
        except Exception:
            logger.exception("The %s stopped and is started again.", name)
        if anyio.current_time() - started > _STEADY_SECONDS:
            backoff.reset()
        await anyio.sleep(backoff.next())


@asynccontextmanager
async def open_data_plane(settings: HubSettings) -> AsyncIterator[DataPlane]:
    """Open what the settings name.

    Raises ConfigurationError for a setting that cannot be used, Unavailable for a server that is away.
    """
    async with AsyncExitStack() as stack:
        # Who starts after a crash has the name of who crashed, and need not wait for its leases to end.
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        slot = stack.enter_context(worker_slot(settings.data_dir / "processes"))
        holder = f"{socket.gethostname()[:60]}-{slot}"
        stores = await stack.enter_async_context(open_stores(settings))
        await check_keys(stores)
        bus = await stack.enter_async_context(open_bus(settings))
        volatile = await stack.enter_async_context(open_volatile(settings))
        objects_url = settings.objects or (settings.data_dir.resolve() / "objects").as_uri()
        objects = open_object_store(objects_url, os.environ)
        projections = ProjectionRunner(stores.events, stores.progress, stores.leases, holder=holder)
        cache = volatile.cache or MemoryCache()
        await add_notifications(stack, settings, projections, cache)
        yield DataPlane(
            holder=holder,
            stores=stores,
            bus=bus,
            volatile=volatile,
            objects=objects,
            projections=projections,
            metrics=EventMetrics(projections.statuses),
            analytics=add_analytics(settings, projections),
            journal=JournalRelay(settings.data_dir / "audit", stores.events),
            chain=ChainWriter(stores.events, stores.chain, stores.keys, stores.checkpoint_file),
        )


def _not_of_calls() -> EventFilter:
    """Return all types but those of calls, which the hub counts as it answers them."""
    types = {data.event_type for data in registered_types()}
    return EventFilter(types=frozenset(name for name in types if not name.startswith("hub.call.")))
