"""One upstream's life: connecting, reading what it offers, watching its health, carrying calls to it.

States: `starting` until the first attempt ended; `healthy` while its last check succeeded; `degraded` while it is
away or failing, with the reason; `disabled` by its entry. An upstream that fails is tried again with growing,
jittered delays; nothing it does delays another.
"""

import logging
import random
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import anyio
from anyio.abc import TaskGroup

from quantum_suite.core.errors import SuiteError, Unavailable
from quantum_suite.core.principals import Caller
from quantum_suite.hub.breaker import CircuitBreaker
from quantum_suite.hub.call import (
    METHOD_NOT_FOUND,
    REQUEST_TIMEOUT,
    UNSUPPORTED_PROTOCOL_VERSION,
    Era,
    Json,
    NoPeer,
    Peer,
    RpcError,
)
from quantum_suite.hub.config import UpstreamConfig
from quantum_suite.hub.envelope import hub_envelope
from quantum_suite.hub.listening import Listening
from quantum_suite.hub.offer import Offer, read_offer
from quantum_suite.hub.status import State, UpstreamStatus
from quantum_suite.hub.upstreams.interface import Connector, Hello, Link, LinkKey, UpstreamFailed
from quantum_suite.hub.upstreams.pool import LinkPool

logger = logging.getLogger(__name__)

_MAX_LINKS = 256  # links that cost no process: HTTP sessions, and those inside this one


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    """When an upstream is checked and how long it is waited for, in seconds."""

    check_interval_seconds: float = 30
    connect_deadline_seconds: float = 15
    check_deadline_seconds: float = 10
    first_delay_seconds: float = 1
    longest_delay_seconds: float = 60
    failed_checks_until_away: int = 2


@dataclass(slots=True)
class Reports:
    """Whom an upstream tells what happens to it. Each is called on the event loop and returns at once."""

    changed: Callable[[], None]
    """Its offer or its presence changed."""
    resource_updated: Callable[[str, str, str | None], None]
    """A resource changed: `(upstream, uri, identity)`; identity is None where the news is for everybody."""
    resources_changed: Callable[[str], None]
    """What resources there are changed: `(upstream)`."""
    followed: Callable[["Upstream"], dict[str, frozenset[str]]]
    """Asked for the followed resources the upstream owns, by identity."""


class Upstream:
    """One entry of the configuration, alive."""

    def __init__(
        self,
        config: UpstreamConfig,
        connector: Connector | None,
        reports: Reports,
        *,
        transport: str,
        policy: HealthPolicy,
        problem: str | None = None,
        offer: Offer | None = None,
    ) -> None:
        """`connector` is None where the entry cannot be used at all, `problem` says why.

        `offer` is what the entry offered before it was edited: its names stay claimed while it reconnects.
        """
        self.config = config
        self.offer = offer or Offer()
        self.present = False
        self.hello: Hello | None = None
        self._transport = transport
        self._policy = policy
        self._reports = reports
        self._state: State = "disabled" if config.disabled else "starting"
        self._problem = problem
        self._handshake: bool | None = None
        self._levels: OrderedDict[LinkKey, str] = OrderedDict()
        self._check_now = anyio.Event()
        self._in_flight = 0
        self._drained: anyio.Event | None = None
        self._last_used = time.monotonic()
        self._listening: Listening | None = None
        self._breaker = CircuitBreaker(on_open=self._check_soon)
        self._connector = connector
        self._pool: LinkPool | None = None
        self.settled = anyio.Event()
        """Set once the first attempt to connect ended, either way."""

    # -- what others read -------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Its name in the configuration."""
        return self.config.name

    @property
    def in_flight(self) -> int:
        """How many calls it is answering."""
        return self._in_flight

    @property
    def stderr_tail(self) -> list[str]:
        """What its child processes last wrote to stderr, secrets masked."""
        return [] if self._pool is None else list(self._pool.diagnostics().stderr_tail)

    def status(self, refused: tuple[str, ...]) -> UpstreamStatus:
        """Return how it stands; `refused` are the names the catalogue did not grant it."""
        hello = self.hello
        server = hello.server_info if hello else {}
        faults = "; ".join(self.offer.faults)
        return UpstreamStatus.model_validate(
            {
                "name": self.name,
                "transport": self._transport,
                "source": self.config.source,
                "state": self._state,
                "problem": self._problem or faults or None,
                "server": f"{server.get('name', '?')} {server.get('version', '')}".strip() if hello else None,
                "protocol_version": hello.protocol_version if hello else None,
                "tools": len(self.offer.tools) if self.present else 0,
                "prompts": len(self.offer.prompts) if self.present else 0,
                "resources": len(self.offer.resources) + len(self.offer.templates) if self.present else 0,
                "refused_names": refused,
                "in_flight": self._in_flight,
            }
        )

    async def idle(self) -> None:
        """Wait until no call is in flight."""
        if self._in_flight:
            self._drained = anyio.Event()
            await self._drained.wait()

    # -- carrying calls ---------------------------------------------------------------------------------------

    def identity(self, principal_id: str) -> str:
        """Return whose link a principal's calls take: its own where the upstream tells callers apart."""
        return principal_id if self.config.credentials else "shared"

    async def speaks(self, era: Era) -> bool:
        """Whether the upstream can be spoken to in `era`; the handshake is tried once, on first need."""
        if self.hello is None:
            raise self._away()
        if era == self.hello.era:
            return True
        if era == "modern":
            return False
        if self._handshake is None:
            self._handshake = await self._accepts_handshake()
        return self._handshake

    async def request(
        self,
        key: LinkKey,
        method: str,
        params: Json,
        peer: Peer,
        *,
        repeatable: bool = False,
        caller: Caller | None = None,
        headers: dict[str, str] | None = None,
    ) -> Json:
        """Carry one request; raises `RpcError` with the upstream's error, `Unavailable` when it is away."""
        pool = self._pool
        if pool is None or self._breaker.is_open or not self.present:
            raise self._away()
        self._in_flight += 1
        self._last_used = time.monotonic()
        if self._listening is not None:
            self._listening.wake()
        try:
            carry = pool.request(key, method, params, peer, repeatable=repeatable, caller=caller, headers=headers)
            if self.config.deadline_seconds is None:
                result = await carry
            else:
                with anyio.fail_after(self.config.deadline_seconds):
                    result = await carry
        except TimeoutError:
            self._breaker.failed()
            raise RpcError(
                REQUEST_TIMEOUT,
                f"'{self.name}' did not answer within {self.config.deadline_seconds or 0:g} seconds.",
            ) from None
        except UpstreamFailed as error:
            self._breaker.failed()
            raise RpcError(error.code, f"'{self.name}': {error.message}", error.data) from error
        except RpcError:
            self._breaker.close()
            raise
        except Unavailable:
            self._breaker.failed()
            raise
        finally:
            self._in_flight -= 1
            if self._drained is not None and not self._in_flight:
                self._drained.set()
        self._breaker.close()
        return result

    async def notify(self, key: LinkKey, method: str, params: Json) -> None:
        """Pass a notification on, where a link with this key is open."""
        if self._pool is not None and (link := self._pool.open_link(key)) is not None:
            await link.notify(method, params)

    async def set_log_level(self, key: LinkKey, level: str) -> None:
        """Ask for log messages of at least `level` on a handshake link, now and whenever the link is renewed."""
        self._levels[key] = level
        self._levels.move_to_end(key)
        if len(self._levels) > 1_000:
            self._levels.popitem(last=False)
        if self._pool is not None and (link := self._pool.open_link(key)) is not None:
            await _set_level(link, level)

    def follow_changed(self) -> None:
        """Take note that clients follow other resources now."""
        if self._listening is not None:
            self._listening.renew()

    # -- life -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Live until cancelled."""
        if self._connector is None or self.config.disabled:
            self._settle("disabled" if self.config.disabled else "degraded", self._problem)
            return
        pool = LinkPool(
            self._connector,
            self._announced,
            max_links=self.config.max_children if self._transport == "stdio" else _MAX_LINKS,
            idle_seconds=None if self._transport == "inprocess" else self.config.idle_seconds,
            prepare=self._prepare,
        )
        async with pool, anyio.create_task_group() as tasks:
            self._pool = pool
            try:
                await self._supervise(pool, tasks)
            finally:
                self._pool = None
                self.present = False

    async def _supervise(self, pool: LinkPool, tasks: TaskGroup) -> None:
        delay = self._policy.first_delay_seconds
        while True:
            try:
                with anyio.fail_after(self._policy.connect_deadline_seconds):
                    self.hello = await self._greet(pool)
                    offer = await self._read_offer(pool)
            except (SuiteError, RpcError, TimeoutError, OSError) as error:
                self._withdraw(_reason(error, self._policy.connect_deadline_seconds))
                await anyio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
                delay = min(delay * 2, self._policy.longest_delay_seconds)
                continue
            delay = self._policy.first_delay_seconds
            self._breaker.close()
            self._settle("healthy", None, offer)
            async with anyio.create_task_group() as watching:
                self._listening = Listening(
                    pool,
                    self.hub_key(self.hello.era),
                    self.hello,
                    self._heard,
                    lambda: self._reports.followed(self),
                )
                watching.start_soon(self._listening.run)
                problem = await self._watch(pool)
                self._listening = None
                watching.cancel_scope.cancel()
            self._withdraw(problem)

    async def _watch(self, pool: LinkPool) -> str:
        """Check again and again; return why the upstream counts as away."""
        failed = 0
        while True:
            with anyio.move_on_after(self._policy.check_interval_seconds):
                await self._check_now.wait()
            self._check_now = anyio.Event()
            if self._asleep(pool):
                continue
            try:
                with anyio.fail_after(self._policy.check_deadline_seconds):
                    offer = await self._read_offer(pool)
            except (SuiteError, RpcError, TimeoutError, OSError) as error:
                failed += 1
                reason = _reason(error, self._policy.check_deadline_seconds)
                if failed >= self._policy.failed_checks_until_away:
                    return reason
                self._state, self._problem = "degraded", reason
                self._check_soon()
            else:
                failed = 0
                self._breaker.close()
                self._settle("healthy", None, offer)

    def _asleep(self, pool: LinkPool) -> bool:
        """Whether its children were ended for idleness: then a check would only wake them."""
        if self._transport != "stdio":
            return False
        idle = time.monotonic() - self._last_used > self.config.idle_seconds
        if idle and self._listening is not None and not self._reports.followed(self):
            self._listening.rest()
        return idle and not self._in_flight and not pool.has_open_links

    async def _greet(self, pool: LinkPool) -> Hello:
        try:
            async with pool.lease(self.hub_key("modern")) as link:
                return link.hello
        except RpcError as error:
            if error.code != UNSUPPORTED_PROTOCOL_VERSION:
                raise
        async with pool.lease(self.hub_key("handshake")) as link:
            return link.hello

    async def _accepts_handshake(self) -> bool:
        if self._pool is None:
            raise self._away()
        try:
            with anyio.fail_after(self._policy.connect_deadline_seconds):
                async with self._pool.lease(self.hub_key("handshake")):
                    return True
        except RpcError as error:
            if error.code == UNSUPPORTED_PROTOCOL_VERSION:
                return False
            raise
        except TimeoutError:
            return False

    async def _read_offer(self, pool: LinkPool) -> Offer:
        hello = self.hello
        if hello is None:
            raise self._away()

        async def ask(method: str, params: Json) -> Json:
            full = {**params, "_meta": hub_envelope()} if hello.era == "modern" else params
            return await pool.request(self.hub_key(hello.era), method, full, NoPeer(), repeatable=True)

        return await read_offer(ask, hello.capabilities)

    def hub_key(self, era: Era) -> LinkKey:
        """Return the key of the link the hub itself uses: for lists, checks and following changes."""
        if self.config.credentials and not self.config.headers:
            return LinkKey(era, next(iter(self.config.credentials)))
        return LinkKey(era, "shared" if era == "modern" else "hub")

    async def _prepare(self, key: LinkKey, link: Link) -> None:
        """Bring a fresh handshake session to the state its predecessor had."""
        if key.era != "handshake":
            return
        if (level := self._levels.get(key)) is not None:
            await _set_level(link, level)
        if key == self.hub_key("handshake") and self._listening is not None:
            await self._listening.resume(link)

    async def _announced(self, method: str, params: Json) -> None:
        self._heard(method, params, None)

    def _heard(self, method: str, params: Json, identity: str | None) -> None:
        if method.endswith("/list_changed"):
            if method == "notifications/resources/list_changed":
                self._reports.resources_changed(self.name)
            self._check_soon()
        elif method == "notifications/resources/updated" and isinstance(params.get("uri"), str):
            self._reports.resource_updated(self.name, params["uri"], identity)

    def _check_soon(self) -> None:
        self._check_now.set()

    def _settle(self, state: State, problem: str | None, offer: Offer | None = None) -> None:
        present = state == "healthy"
        changed = present != self.present or (offer is not None and offer != self.offer)
        self._state, self._problem, self.present = state, problem, present
        if offer is not None:
            self.offer = offer
        self.settled.set()
        if changed:
            self._reports.changed()

    def _withdraw(self, problem: str) -> None:
        logger.warning("upstream is away", extra={"upstream": self.name, "problem": problem})
        self._settle("degraded", problem)

    def _away(self) -> Unavailable:
        reason = self._problem or "it is still starting."
        return Unavailable(
            f"The server '{self.name}' is away: {reason}", "It is tried again by itself; retry later."
        )


async def _set_level(link: Link, level: str) -> None:
    if "logging" in link.hello.capabilities:
        try:
            await link.request("logging/setLevel", {"level": level}, NoPeer())
        except RpcError as error:
            if error.code != METHOD_NOT_FOUND:
                raise


def _reason(error: BaseException, seconds: float) -> str:
    if isinstance(error, TimeoutError):
        return f"it did not answer within {seconds:g} seconds."
    return str(error) or type(error).__name__
