"""The composition root: settings are read, everything is opened once, and each part is handed what it needs."""

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import anyio

from quantum_suite.core.engines import EngineStatus
from quantum_suite.core.errors import SuiteError
from quantum_suite.core.principals import Principal
from quantum_suite.core.scan_events import SCAN_EVENTS
from quantum_suite.hub.about import Knowledge, build_about
from quantum_suite.hub.access.authenticator import Authenticator
from quantum_suite.hub.access.authoriser import Authoriser
from quantum_suite.hub.access.key_verifier import KeyVerifier
from quantum_suite.hub.access.owners import Owners
from quantum_suite.hub.access.sqlite_keys import SqliteKeyStore
from quantum_suite.hub.call import Call, Credentials, Handler, Json, Session, Stage
from quantum_suite.hub.config import Config, read_config, user_config_path
from quantum_suite.hub.following import Following
from quantum_suite.hub.health import HealthPolicy
from quantum_suite.hub.lists import Lists
from quantum_suite.hub.metrics import Metrics
from quantum_suite.hub.mounts import Extra, Mounts
from quantum_suite.hub.pipeline.accept import AcceptStage
from quantum_suite.hub.pipeline.approval import ApprovalStage
from quantum_suite.hub.pipeline.audit import AuditStage
from quantum_suite.hub.pipeline.authenticate import AuthenticateStage
from quantum_suite.hub.pipeline.authorise import AuthoriseStage
from quantum_suite.hub.pipeline.cache import CacheStage
from quantum_suite.hub.pipeline.chain import fold
from quantum_suite.hub.pipeline.deadline import DeadlineStage
from quantum_suite.hub.pipeline.errors import as_rpc_error, translate_errors
from quantum_suite.hub.pipeline.observe import ObserveStage
from quantum_suite.hub.pipeline.owner import OwnerStage
from quantum_suite.hub.pipeline.rate_limit import RateLimitStage
from quantum_suite.hub.pipeline.resolve import ResolveStage
from quantum_suite.hub.pipeline.task import TaskStage
from quantum_suite.hub.registry import Registry
from quantum_suite.hub.router import Router, session_key
from quantum_suite.hub.settings import HubSettings
from quantum_suite.hub.status import ConfigStatus, UpstreamStatus
from quantum_suite.hub.subscriptions import Subscriptions
from quantum_suite.hub.tasks.opening import Tasks
from quantum_suite.hub.tasks.policy import TaskPolicy
from quantum_suite.hub.tracing import open_tracer, trace_stage
from quantum_suite.hub.translation.parking import ParkingLot
from quantum_suite.hub.upstreams.host import Host
from quantum_suite.hub.watch import ConfigWatch, content_of, policies_in, watch_policies
from quantum_suite.servers.module import Services
from quantum_suite.services.audit.interface import AuditLog
from quantum_suite.services.audit.jsonl import JsonlAuditLog
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.workflows.interface import Workflows
from quantum_suite.services.workflows.memory import MemoryWorkflows
from quantum_suite.services.workspaces import Workspaces

logger = logging.getLogger(__name__)

SETTLE_SECONDS = 1.0
"""How long a starting hub waits for its upstreams before it answers; slower ones join when they are up."""


class Gateway:
    """A running hub: what the wire talks to, and what people ask about."""

    def __init__(
        self,
        answer: Handler,
        registry: Registry,
        following: Following,
        authenticator: Authenticator,
        mounts: Mounts,
        metrics: Metrics,
        configuration: Callable[[], ConfigStatus],
    ) -> None:
        self._answer = answer
        self._registry = registry
        self._following = following
        self._authenticator = authenticator
        self._mounts = mounts
        self.metrics = metrics
        self._configuration = configuration
        self.draining = False
        """Whether the hub takes no new call because it is about to end."""

    async def handle(self, call: Call) -> Json:
        """Answer one request."""
        return await self._answer(call)

    async def authenticate(self, credentials: Credentials) -> Principal:
        """Say who is there."""
        try:
            return await self._authenticator.authenticate(credentials)
        except SuiteError as error:
            raise as_rpc_error(error) from error

    def session_opened(self, session: Session) -> None:
        """Start telling the session of changes."""
        self._following.session_opened(session)

    async def session_notified(self, session: Session, method: str, params: Json) -> None:
        """Pass on what upstreams should know; `notifications/initialized` ends here."""
        if method == "notifications/initialized":
            session.initialized = True
        elif method == "notifications/roots/list_changed":
            for upstream in self._registry.upstreams():
                await upstream.notify(session_key(session), method, params)

    async def session_closed(self, session: Session) -> None:
        """Forget the session."""
        self._following.session_closed(session)

    def statuses(self) -> list[UpstreamStatus]:
        """Return how every upstream stands."""
        return self._registry.statuses()

    def configuration(self) -> ConfigStatus:
        """Return how the configuration file stands."""
        return self._configuration()

    def engines(self) -> dict[str, list[EngineStatus]]:
        """Return the engines each module can use here. Takes as long as their version queries."""
        return self._mounts.engines()

    def end_streams(self) -> None:
        """Tell everybody who listens that the hub is going."""
        self.draining = True
        self._following.end()


def _stages(
    settings: HubSettings,
    metrics: Metrics,
    audit_log: AuditLog,
    authenticator: Authenticator,
    router: Router,
    authoriser: Authoriser,
    cache: CacheStage,
    task: TaskStage,
) -> list[Stage]:
    """Return what every call passes before it is routed, outermost first."""
    return [
        ObserveStage(metrics),
        AuditStage(audit_log),
        translate_errors,
        AuthenticateStage(authenticator),
        ResolveStage(router),
        AuthoriseStage(authoriser),
        RateLimitStage(settings.limits.calls_per_minute),
        ApprovalStage(authoriser),
        cache,
        AcceptStage(audit_log),
        task,
        DeadlineStage(settings.limits.call_deadline_seconds),
    ]


@asynccontextmanager
async def open_hub(  # noqa: PLR0915 - the one place where everything is put together
    settings: HubSettings,
    *,
    only: str | None = None,
    extra: Sequence[Extra] = (),
    policy: HealthPolicy | None = None,
) -> AsyncIterator[Gateway]:
    """Open a hub. `only` mounts one server alone; `extra` servers are mounted in process beside the others.

    Raises ConfigurationError when the settings, the configuration file or a policy cannot be used. Upstreams that
    cannot be reached are no error: they are reported, and tried again.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = settings.config if settings.config is not None else user_config_path()
    content = content_of(path)
    config = read_config(path) if settings.config is not None or path.exists() else None
    services = Services(
        settings.data_dir, Workspaces(settings.workspaces), MemoryEventStore(EventRegistry(SCAN_EVENTS))
    )
    mounts = Mounts(services, settings.limits, extra)
    policies = policies_in(settings.data_dir / "policies")
    authoriser = Authoriser(settings.data_dir / "policies")
    async with AsyncExitStack() as stack:
        keys = stack.enter_context(SqliteKeyStore(settings.keys_file))
        authenticator = Authenticator(KeyVerifier(keys), trust_local=settings.trust_local)
        audit_log = stack.enter_context(JsonlAuditLog(settings.data_dir / "audit"))
        tasks = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(tasks.cancel_scope.cancel)
        subscriptions = Subscriptions(lambda: registry.follow_changed())
        cache = CacheStage()

        registry = Registry(
            mounts.connect,
            subscriptions,
            stale=cache.invalidate,
            policy=policy,
            drain_seconds=settings.limits.drain_seconds,
        )
        await stack.enter_async_context(registry)
        parking = await stack.enter_async_context(ParkingLot())

        def readable(principal: Principal, uri: str) -> bool:
            target = registry.catalogue.resource(uri)
            return target is not None and authoriser.sees(principal, target)

        async def open_workflows(opened: AsyncExitStack) -> Workflows:
            return await opened.enter_async_context(MemoryWorkflows([handed_over.definition]))

        workflows = Host(open_workflows)
        stack.push_async_callback(workflows.aclose, settings.limits.drain_seconds)
        handed_over = Tasks(workflows.open, TaskPolicy(), tasks)
        following = Following(subscriptions, readable, tasks, authenticator.authenticate, handed_over.news)
        lists = Lists(authoriser.sees)
        router = Router(registry, lists, following, parking, handed_over.methods)
        metrics = Metrics(registry.statuses)
        task = handed_over.work_through(
            [
                AuditStage(audit_log),
                translate_errors,
                OwnerStage(Owners(keys)),
                ResolveStage(router),
                AuthoriseStage(authoriser),
            ],
            router,
        )
        stages = _stages(settings, metrics, audit_log, authenticator, router, authoriser, cache, task)
        if settings.otlp_endpoint is not None:
            tracer = await stack.enter_async_context(open_tracer(settings.otlp_endpoint))
            stages.insert(0, trace_stage(tracer))

        def apply(config: Config) -> None:
            registry.apply(mounts.configs(config.upstreams, only))

        def reload_policies() -> None:
            authoriser.reload()
            lists.forget()
            subscriptions.all_lists_changed()

        watched = ConfigWatch(path, apply)

        def configuration() -> ConfigStatus:
            return ConfigStatus(path=str(path), problem=watched.problem)

        answer = fold(stages, router.handle)
        gateway = Gateway(answer, registry, following, authenticator, mounts, metrics, configuration)
        known = Knowledge(
            registry.statuses, registry.outlines, configuration, mounts.engines, registry.stderr_tail
        )
        mounts.add(Extra("hub", build_about(known), "hub"))
        registry.apply(mounts.configs(config.upstreams if config else (), only))
        tasks.start_soon(watched.run, content)
        tasks.start_soon(watch_policies, settings.data_dir / "policies", policies, reload_policies)
        await registry.settled(SETTLE_SECONDS)
        yield gateway
        gateway.end_streams()
