"""The composition root: settings are read, everything is opened once, and each part is handed what it needs."""

import hmac
import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import anyio

from quantum_suite.core.principals import Principal
from quantum_suite.hub.about import Knowledge, build_about
from quantum_suite.hub.access.authenticator import Authenticator
from quantum_suite.hub.access.authoriser import Authoriser
from quantum_suite.hub.access.key_verifier import KeyVerifier
from quantum_suite.hub.access.owners import Owners
from quantum_suite.hub.access.sqlite_keys import SqliteKeyStore
from quantum_suite.hub.config import Config, read_config, user_config_path
from quantum_suite.hub.data_plane.opening import DataPlane, open_data_plane
from quantum_suite.hub.data_plane.orchestrator import Orchestrator
from quantum_suite.hub.following import Following
from quantum_suite.hub.gateway import Gateway
from quantum_suite.hub.health import HealthPolicy
from quantum_suite.hub.hooks import Hooks
from quantum_suite.hub.lists import Lists
from quantum_suite.hub.metrics import Metrics
from quantum_suite.hub.mounts import Extra, Mounts
from quantum_suite.hub.pipeline.cache import CacheStage
from quantum_suite.hub.pipeline.chain import fold
from quantum_suite.hub.pipeline.sealed_state import StateSeal
from quantum_suite.hub.registry import Registry
from quantum_suite.hub.router import Router
from quantum_suite.hub.settings import HubSettings
from quantum_suite.hub.stages import StageParts, client_stages, task_stages, workflow_stages
from quantum_suite.hub.status import ConfigStatus
from quantum_suite.hub.subscriptions import Subscriptions
from quantum_suite.hub.tasks.opening import Tasks
from quantum_suite.hub.tasks.policy import TaskPolicy
from quantum_suite.hub.tasks.record import owner_of
from quantum_suite.hub.tasks.tool_calls import PipelineToolCalls
from quantum_suite.hub.tool_offers import HubToolCatalogue
from quantum_suite.hub.tracing import open_tracer, trace_stage
from quantum_suite.hub.translation.parking import ParkingLot
from quantum_suite.hub.watch import ConfigWatch, content_of, policies_in, watch_policies
from quantum_suite.servers.module import Services
from quantum_suite.services.anomalies.watches import AnomalyWatches
from quantum_suite.services.audit.jsonl import JsonlAuditLog
from quantum_suite.services.capacity.files import FileCapacity
from quantum_suite.services.capacity.places import places_for
from quantum_suite.services.incidents.anomaly_incidents import AnomalyIncidents
from quantum_suite.services.incidents.incidents import Incidents
from quantum_suite.services.infrastructure.opening import open_infrastructure
from quantum_suite.services.knowledge.interface import Knowledge as WorkspaceKnowledge
from quantum_suite.services.knowledge.opening import open_knowledge
from quantum_suite.services.llm.interface import Gateway as Models
from quantum_suite.services.llm.opening import open_models
from quantum_suite.services.metrics.opening import open_metrics
from quantum_suite.services.metrics.sources import MetricSources
from quantum_suite.services.recovery.opening import open_recovery
from quantum_suite.services.sagas.consumer import TIMER
from quantum_suite.services.workflows.composite.composites import Composites
from quantum_suite.services.workflows.composite.triggers import Rights
from quantum_suite.services.workflows.interface import Owner
from quantum_suite.services.workspaces import Workspaces

__all__ = ["Gateway", "open_hub"]

logger = logging.getLogger(__name__)

SETTLE_SECONDS = 1.0
"""How long a starting hub waits for its upstreams before it answers; slower ones join when they are up."""


@asynccontextmanager
async def open_hub(  # noqa: PLR0915 - the one place where everything is put together
    settings: HubSettings,
    *,
    only: str | None = None,
    extra: Sequence[Extra] = (),
    policy: HealthPolicy | None = None,
) -> AsyncIterator[Gateway]:
    """Open a hub. `only` mounts one server alone; `extra` servers are mounted in process beside the others.

    Raises ConfigurationError when the settings, the configuration file or a policy cannot be used, and Unavailable
    when a server that the settings name is away. Upstreams that cannot be reached are no error: they are reported,
    and tried again.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = settings.config if settings.config is not None else user_config_path()
    content = content_of(path)
    config = read_config(path) if settings.config is not None or path.exists() else None
    policies = policies_in(settings.data_dir / "policies")
    authoriser = Authoriser(settings.data_dir / "policies")
    async with AsyncExitStack() as stack:
        plane = await stack.enter_async_context(open_data_plane(settings))
        keys = stack.enter_context(SqliteKeyStore(settings.keys_file))
        authenticator = Authenticator(KeyVerifier(keys), trust_local=settings.trust_local)
        audit_log = stack.enter_context(JsonlAuditLog(settings.data_dir / "audit"))
        tasks = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(tasks.cancel_scope.cancel)
        subscriptions = Subscriptions(lambda: registry.follow_changed())
        cache = CacheStage(shared=plane.volatile.cache)
        orchestrator = Orchestrator(settings, plane.stores)

        registry = Registry(
            lambda upstream: mounts.connect(upstream),
            subscriptions,
            stale=cache.invalidate,
            policy=policy,
            drain_seconds=settings.limits.drain_seconds,
        )
        await stack.enter_async_context(registry)
        parking = await stack.enter_async_context(ParkingLot())
        # Closed before the servers: work that loses its server would take that for an answer.
        stack.push_async_callback(orchestrator.aclose, settings.limits.drain_seconds)

        def readable(principal: Principal, uri: str) -> bool:
            target = registry.catalogue.resource(uri)
            return target is not None and authoriser.sees(principal, target)

        handed_over = Tasks(
            orchestrator.open, TaskPolicy(deadline_seconds=settings.limits.long_call_deadline_seconds), tasks
        )
        following = Following(subscriptions, readable, tasks, authenticator.authenticate, handed_over.news)
        lists = Lists(authoriser.sees)
        router = Router(registry, lists, following, parking, handed_over.methods)
        metrics = Metrics(registry.statuses, plane.metrics)
        owners = Owners(keys)
        parts = StageParts(
            limits=settings.limits,
            metrics=metrics,
            audit_log=audit_log,
            authenticator=authenticator,
            owners=owners,
            router=router,
            authoriser=authoriser,
            limiter=plane.volatile.limiter,
            seal=await _seal(settings, plane),
            cache=cache,
        )
        stages = client_stages(parts, handed_over.work_through(task_stages(parts), router))
        if settings.otlp_endpoint is not None:
            tracer = await stack.enter_async_context(open_tracer(settings.otlp_endpoint))
            stages.insert(0, trace_stage(tracer))
        calls = PipelineToolCalls(fold(workflow_stages(parts), router.handle))
        offers = HubToolCatalogue(lambda: registry.catalogue, authoriser.sees)
        composites = plane.composites(calls, offers)
        orchestrator.know([handed_over.definition, TIMER, *composites.workflows()])
        plane.projections.add_consumer(AnomalyIncidents(Incidents(plane.stores.events)), begin="now")
        plane.start_by_events(composites, orchestrator.open, _rights(owners))
        models = await stack.enter_async_context(
            open_models(
                settings.data_dir,
                settings.models,
                events=plane.stores.events,
                cache=plane.volatile.cache,
                limiter=plane.volatile.limiter,
                ledger=plane.stores.model_ledger,
            )
        )
        knowledge = await stack.enter_async_context(
            open_knowledge(
                settings.data_dir / "knowledge",
                embedding=settings.embedding,
                vectors=settings.vectors,
                environ=os.environ,
            )
        )
        sources = await stack.enter_async_context(open_metrics(settings.metrics, settings.alertmanager))
        watches = AnomalyWatches(sources, plane.stores.events, settings.data_dir / "qsre" / "watches")
        orchestrator.know([watches.workflow])
        services = _services(settings, plane, orchestrator, composites, models, knowledge, sources, watches)
        mounts = Mounts(services, settings.limits, extra)

        def apply(config: Config) -> None:
            registry.apply(mounts.configs(config.upstreams, only))

        watched = ConfigWatch(path, apply)

        def configuration() -> ConfigStatus:
            return ConfigStatus(path=str(path), problem=watched.problem)

        answer = fold(stages, router.handle)
        gateway = Gateway(
            answer,
            registry,
            following,
            authenticator,
            mounts,
            metrics,
            configuration,
            orchestrator.open,
            Hooks(mounts.hook, authenticator.authenticate, plane.volatile.limiter, settings.limits),
        )
        known = Knowledge(
            registry.statuses, registry.outlines, configuration, mounts.engines, registry.stderr_tail
        )
        mounts.add(Extra("hub", build_about(known), "hub"))
        registry.apply(mounts.configs(config.upstreams if config else (), only))
        tasks.start_soon(watched.run, content)
        changed = _policies_changed(authoriser, lists, subscriptions)
        tasks.start_soon(watch_policies, settings.data_dir / "policies", policies, changed)
        await registry.settled(SETTLE_SECONDS)
        plane.run_in(tasks)
        tasks.start_soon(cache.run)
        tasks.start_soon(orchestrator.take_up)
        yield gateway
        gateway.end_streams()


async def _seal(settings: HubSettings, plane: DataPlane) -> StateSeal:
    """Return what seals approvals: under one key for all who share the key provider, rotations included."""
    keys = plane.stores.keys
    await keys.current()
    first = await keys.get((await keys.ids())[0])
    uses = None if settings.cache == "memory" else plane.volatile.limiter
    return StateSeal(hmac.digest(first.secret, b"approvals", "sha256"), uses=uses)


def _services(
    settings: HubSettings,
    plane: DataPlane,
    orchestrator: Orchestrator,
    composites: Composites,
    models: Models,
    knowledge: WorkspaceKnowledge,
    metrics: MetricSources,
    watches: AnomalyWatches,
) -> Services:
    return Services(
        data_dir=settings.data_dir,
        workspaces=Workspaces(settings.workspaces),
        capacity=FileCapacity(settings.data_dir / "capacity", places_for()),
        events=plane.stores.events,
        objects=plane.objects,
        open_workflows=orchestrator.open,
        composites=composites,
        projections=plane.projections,
        analytics=plane.analytics,
        knowledge=knowledge,
        models=models,
        metrics=metrics,
        watches=watches,
        infrastructure=open_infrastructure(
            settings.data_dir / "qinfra",
            plane.stores.keys,
            environ=os.environ,
            granted=settings.stack_environment,
            program_network=settings.stack_network,
            engine=settings.stack_engine,
        ),
        recovery=open_recovery(
            settings.data_dir / "qinfra", plane.stores.keys, environ=os.environ, scratch=settings.drills
        ),
    )


def _rights(owners: Owners) -> Rights:
    async def rights(principal_id: str) -> Owner:
        return owner_of(await owners.now(principal_id))

    return rights


def _policies_changed(authoriser: Authoriser, lists: Lists, subscriptions: Subscriptions) -> Callable[[], None]:
    def changed() -> None:
        authoriser.reload()
        lists.forget()
        subscriptions.all_lists_changed()

    return changed
