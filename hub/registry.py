"""All upstreams, and the catalogue they make together.

Each upstream lives in its own task: what one does or fails to do touches no other. Applying a new configuration
starts what is new, ends what is gone once its calls have drained, replaces what was edited and leaves the rest
alone.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import anyio
from anyio.abc import TaskGroup

from quantum_suite.core.errors import SuiteError
from quantum_suite.hub.catalogue import Catalogue, Claim, build_catalogue, changed_lists, public_name
from quantum_suite.hub.config import UpstreamConfig, same_server
from quantum_suite.hub.health import HealthPolicy
from quantum_suite.hub.offer import Offer
from quantum_suite.hub.status import UpstreamStatus
from quantum_suite.hub.subscriptions import Subscriptions
from quantum_suite.hub.upstream import Reports, Upstream
from quantum_suite.hub.upstreams.interface import Connector

logger = logging.getLogger(__name__)

Connect = Callable[[UpstreamConfig], Connector | None]
"""Returns the connector for an entry; None where the entry itself rules it out. Raises SuiteError otherwise."""


@dataclass(slots=True)
class _Running:
    upstream: Upstream
    scope: anyio.CancelScope
    leaving: bool = False


class Registry:
    """The upstreams of this hub. Use as an async context manager."""

    def __init__(
        self,
        connect: Connect,
        subscriptions: Subscriptions,
        *,
        stale: Callable[[str, str | None], None],
        policy: HealthPolicy | None = None,
        drain_seconds: float,
    ) -> None:
        """`stale` is told what reads must not be answered from memory any more: an upstream's one URI, or all."""
        self._connect = connect
        self._subscriptions = subscriptions
        self._stale = stale
        self._policy = policy or HealthPolicy()
        self._drain_seconds = drain_seconds
        self._running: dict[str, _Running] = {}
        self._tasks: TaskGroup | None = None
        self._next_change = anyio.Event()
        self.catalogue = Catalogue()
        self.revision = 0
        """Grows with every change of the catalogue."""

    async def __aenter__(self) -> "Registry":
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        tasks, self._tasks = self._tasks, None
        if tasks is not None:
            tasks.cancel_scope.cancel()
            await tasks.__aexit__(None, None, None)  # its answer would swallow the caller's exception

    def get(self, name: str) -> Upstream | None:
        """Return the upstream of this name, unless it is on its way out."""
        running = self._running.get(name)
        return running.upstream if running else None

    def upstreams(self) -> list[Upstream]:
        """Return all upstreams in the order of the configuration."""
        return [running.upstream for running in self._running.values()]

    def statuses(self) -> list[UpstreamStatus]:
        """Return how every upstream stands, in the order of the configuration, for its operator."""
        refused = self.catalogue.refused
        return [upstream.status(refused.get(upstream.name, ())) for upstream in self.upstreams()]

    def outlines(self) -> list[UpstreamStatus]:
        """Return the same for everybody: without paths of this machine and what servers print."""
        refused = self.catalogue.refused
        return [upstream.outline(refused.get(upstream.name, ())) for upstream in self.upstreams()]

    def stderr_tail(self, name: str) -> list[str] | None:
        """Return what an upstream's children last printed; None when there is no such upstream."""
        upstream = self.get(name)
        return upstream.stderr_tail if upstream is not None else None

    def starting(self, name: str | None) -> bool:
        """Whether an upstream is still starting that may offer `name`; None asks for any upstream at all."""
        return any(
            not upstream.standing.settled.is_set()
            and (name is None or name.startswith(public_name(upstream.config.prefix, "")))
            for upstream in self.upstreams()
        )

    def is_starting(self, upstream: str) -> bool:
        """Whether this upstream's first attempt to connect is under way."""
        running = self._running.get(upstream)
        return running is not None and not running.upstream.standing.settled.is_set()

    async def next_change(self) -> None:
        """Wait until the catalogue changes, or an upstream is no longer starting."""
        await self._next_change.wait()

    async def settled(self, seconds: float) -> None:
        """Wait until every upstream was tried once, at most `seconds`."""
        with anyio.move_on_after(seconds):
            for upstream in self.upstreams():
                await upstream.standing.settled.wait()

    def apply(self, configs: Iterable[UpstreamConfig]) -> None:
        """Make the running upstreams those of `configs`, in their order."""
        wanted = {config.name: config for config in configs}
        before = self._running
        self._running = {}
        for name, config in wanted.items():
            old = before.pop(name, None)
            if old is not None and same_server(old.upstream.config, config):
                old.upstream.moved(config)
                self._running[name] = old
                continue
            if old is not None:
                self._dismiss(old)
            self._start(config, old.upstream.standing.offer if old else None)
        for gone in before.values():
            self._dismiss(gone)
        self._rebuild()

    def _start(self, config: UpstreamConfig, offer: Offer | None) -> None:
        if self._tasks is None:
            raise RuntimeError("The registry is not open.")
        problem = config.problem
        connector: Connector | None = None
        try:
            connector = self._connect(config)
        except SuiteError as error:
            problem = str(error)
        reports = Reports(self._rebuild, self._updated, self._resources_changed, self._followed)
        upstream = Upstream(
            config,
            connector,
            reports,
            transport="inprocess" if config.kind == "module" else config.kind,
            policy=self._policy,
            problem=problem,
            offer=offer,
        )
        running = _Running(upstream, anyio.CancelScope())
        self._running[config.name] = running
        self._tasks.start_soon(self._live, running, connector, name=f"upstream {config.name}")

    async def _live(self, running: _Running, connector: Connector | None) -> None:
        delay = self._policy.first_delay_seconds
        try:
            with running.scope:
                while True:
                    began = anyio.current_time()
                    try:
                        await running.upstream.run()
                        return
                    except Exception:
                        # A bug in one upstream's supervision must neither take the hub down nor end that upstream.
                        logger.exception(
                            "the supervision of an upstream failed", extra={"upstream": running.upstream.name}
                        )
                    running.upstream.stumbled()
                    if anyio.current_time() - began > self._policy.longest_delay_seconds:
                        delay = self._policy.first_delay_seconds
                    await anyio.sleep(delay)
                    delay = min(delay * 2, self._policy.longest_delay_seconds)
        finally:
            if connector is not None:
                await self._release(running.upstream.name, connector)

    async def _release(self, name: str, connector: Connector) -> None:
        with anyio.move_on_after(self._drain_seconds, shield=True):
            try:
                await connector.aclose()
            except Exception:
                logger.exception("an upstream could not be closed", extra={"upstream": name})

    def _dismiss(self, running: _Running) -> None:
        if self._tasks is not None and not running.leaving:
            running.leaving = True
            self._tasks.start_soon(self._drain, running)

    async def _drain(self, running: _Running) -> None:
        with anyio.move_on_after(self._drain_seconds):
            await running.upstream.idle()
        running.scope.cancel()

    def _updated(self, upstream: str, uri: str, identity: str | None) -> None:
        owner = self.catalogue.resource(uri)
        if owner is not None and owner.upstream != upstream:
            return  # news of what is another's
        self._stale(upstream, uri)
        self._subscriptions.resource_updated(uri, identity)

    def _resources_changed(self, upstream: str) -> None:
        self._stale(upstream, None)

    def _rebuild(self) -> None:
        before = self.catalogue
        claims = [
            Claim(
                u.name,
                u.config.prefix,
                u.standing.offer,
                u.standing.present,
                own=u.config.kind == "module",
                long_running=frozenset(u.config.long_running),
            )
            for u in self.upstreams()
            if not u.config.disabled
        ]
        try:
            self.catalogue = build_catalogue(claims, before)
        except Exception:
            # What one upstream offers was checked entry by entry; should one still do harm, the others stand.
            logger.exception("the catalogue cannot be put together; the last one goes on")
            return
        self.revision += 1
        self._next_change.set()
        self._next_change = anyio.Event()
        for kind in changed_lists(before, self.catalogue):
            self._subscriptions.list_changed(kind)

    def follow_changed(self) -> None:
        """Tell the upstreams that clients follow other resources now."""
        for upstream in self.upstreams():
            upstream.follow_changed()

    def _followed(self, upstream: Upstream) -> dict[str, frozenset[str]]:
        by_identity: dict[str, set[str]] = {}
        for uri, principals in self._subscriptions.followed().items():
            target = self.catalogue.resource(uri)
            if target is None or target.upstream != upstream.name:
                continue
            for principal in principals:
                by_identity.setdefault(upstream.identity(principal), set()).add(uri)
        return {identity: frozenset(uris) for identity, uris in by_identity.items()}
