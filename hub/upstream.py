"""One upstream's life: connecting, reading what it offers, watching its health, carrying calls to it.

States: `starting` until the first attempt ended; `healthy` while its last check succeeded; `degraded` while it is
away or failing, with the reason; `disabled` by its entry. An upstream that fails is tried again with growing,
jittered delays; nothing it does delays another.
"""

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import anyio

from quantum_suite.core.errors import SuiteError, Unavailable
from quantum_suite.core.principals import Caller
from quantum_suite.hub.call import (
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
from quantum_suite.hub.health import HealthPolicy
from quantum_suite.hub.listening import Listening
from quantum_suite.hub.log_levels import LogLevels
from quantum_suite.hub.offer import Offer, read_offer
from quantum_suite.hub.patience import within
from quantum_suite.hub.standing import Standing, reasons
from quantum_suite.hub.status import UpstreamStatus
from quantum_suite.hub.upstreams.handshake import hello_from_discover
from quantum_suite.hub.upstreams.interface import Connector, Hello, Link, LinkKey, UpstreamFailed
from quantum_suite.hub.upstreams.pool import LinkPool, PoolBusy
from quantum_suite.services.breaker import CircuitBreaker

_LISTING = '{"elicitation":{},"sampling":{}}'
"""What the hub's own handshake sessions declare: servers hide tools from clients that cannot answer questions.
The questions themselves come with calls, on the callers' sessions; on the hub's they are refused."""
_SLOW_ATTEMPTS = 3
_MAX_LINKS = 256  # links that cost no process: HTTP sessions, and those inside this one


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
        self._transport = transport
        self._policy = policy
        self._reports = reports
        self._handshake: bool | None = None
        self._levels = LogLevels()
        self._check_now = anyio.Event()
        self._in_flight = 0
        self._drained: anyio.Event | None = None
        self._last_used = time.monotonic()
        self._last_answered = -math.inf
        self._listening: Listening | None = None
        self._breaker = CircuitBreaker(
            first_pause_seconds=policy.first_delay_seconds,
            longest_pause_seconds=policy.longest_delay_seconds,
            on_open=self._check_soon,
        )
        self.standing = Standing(config, transport, self._breaker, reports.changed, problem=problem, offer=offer)
        self._connector = connector
        self._pool: LinkPool | None = None

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

    @property
    def hello(self) -> Hello | None:
        """What it last said of itself."""
        return self.standing.hello

    def status(self, refused: tuple[str, ...]) -> UpstreamStatus:
        """Return how it stands; `refused` are the names the catalogue did not grant it."""
        return self.standing.status(refused, self._in_flight)

    def outline(self, refused: tuple[str, ...]) -> UpstreamStatus:
        """Return the same, without what only its operator may know."""
        return self.standing.outline(refused, self._in_flight)

    def moved(self, config: UpstreamConfig) -> None:
        """Take note that the entry, otherwise unchanged, stands elsewhere in its file."""
        self.config = config
        self.standing.moved(config)

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
        if self.hello is None or not self.standing.present or self._breaker.blocks():
            raise self.standing.refusal()
        if era == self.hello.era:
            return True
        if era == "modern":
            return False
        if self._handshake is None:
            return await self._accepts_handshake()
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
        if pool is None or not self.standing.present or not self._breaker.admits():
            raise self.standing.refusal()
        self._in_flight += 1
        self._last_used = time.monotonic()
        if self._listening is not None:
            self._listening.wake()

        async def carry(to: Peer) -> Json:
            return await pool.request(
                key, method, params, to, repeatable=repeatable, caller=caller, headers=headers
            )

        seconds = self.config.deadline_seconds
        try:
            result = await (carry(peer) if seconds is None else within(seconds, peer, carry))
        except TimeoutError:
            self._breaker.failed()
            raise RpcError(
                REQUEST_TIMEOUT,
                f"'{self.name}' did not answer within {seconds or 0:g} seconds.",
            ) from None
        except UpstreamFailed as error:
            if not error.answered:
                self._breaker.failed()
            raise RpcError(error.code, f"'{self.name}': {error.message}", error.data) from error
        except RpcError:
            self._breaker.close()
            raise
        except PoolBusy:
            raise
        except Unavailable:
            self._breaker.failed()
            raise
        finally:
            self._in_flight -= 1
            if self._drained is not None and not self._in_flight:
                self._drained.set()
        self._breaker.close()
        self._last_answered = time.monotonic()
        return result

    async def notify(self, key: LinkKey, method: str, params: Json) -> None:
        """Pass a notification on, where a link with this key is open."""
        if self._pool is not None and (link := self._pool.open_link(key)) is not None:
            await link.notify(method, params)

    async def set_log_level(self, key: LinkKey, level: str) -> None:
        """Ask for log messages of at least `level` on a handshake link, now and whenever the link is renewed."""
        link = self._pool.open_link(key) if self._pool is not None else None
        await self._levels.set(key, level, link)

    def follow_changed(self) -> None:
        """Take note that clients follow other resources now."""
        if self._listening is not None:
            self._listening.renew()

    # -- life -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Live until cancelled."""
        if self._connector is None or self.config.disabled:
            self.standing.unusable()
            return
        pool = LinkPool(
            self._connector,
            self._announced,
            max_links=self.config.max_children if self._transport == "stdio" else _MAX_LINKS,
            idle_seconds=None if self._transport == "inprocess" else self.config.idle_seconds,
            prepare=self._prepare,
        )
        async with pool:
            self._pool = pool
            try:
                await self._supervise(pool)
            finally:
                self._pool = self._listening = None
                self.standing.present = False

    def stumbled(self) -> None:
        """Take note that `run` failed by a bug of the hub's, and will be called again."""
        problem = "the hub failed to look after it, by a bug that its log describes. It is tried again."
        self.standing.away(problem, problem)

    async def _supervise(self, pool: LinkPool) -> None:
        delay, attempts = self._policy.first_delay_seconds, 0
        while True:
            try:
                attempts += 1
                with anyio.fail_after(self._policy.connect_deadline_seconds):
                    self._handshake = None
                    hello = self.standing.hello = await self._greet(pool)
                    offer = await self._read_offer(pool, hello)
            except (SuiteError, RpcError, TimeoutError, OSError) as error:
                self.standing.away(*reasons(error, self._policy.connect_deadline_seconds))
                # A slow start goes on where it was; what stays silent, or answers with errors, is begun anew.
                if not isinstance(error, TimeoutError) or attempts % _SLOW_ATTEMPTS == 0:
                    self._retire_own_links(pool)
                await anyio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
                delay = min(delay * 2, self._policy.longest_delay_seconds)
                continue
            delay, attempts = self._policy.first_delay_seconds, 0
            self._breaker.close()
            self.standing.healthy(offer)
            if (problem := await self._stay(pool, hello)) is not None:
                self.standing.away(*problem)
            self._retire_own_links(pool)

    async def _stay(self, pool: LinkPool, hello: Hello) -> tuple[str, str] | None:
        """Watch and listen; return why the upstream counts as away, None when it is to be greeted anew."""
        async with anyio.create_task_group() as watching:
            self._listening = Listening(
                pool, self.hub_key(hello.era), hello, self._heard, lambda: self._reports.followed(self)
            )
            watching.start_soon(self._listening.run)
            problem = await self._watch(pool, hello)
            self._listening = None
            watching.cancel_scope.cancel()
        return problem

    def _retire_own_links(self, pool: LinkPool) -> None:
        """Let the next greeting be a fresh one: what answers there may be another server, or another version."""
        for era in ("modern", "handshake"):
            pool.retire(self.hub_key(era))

    async def _watch(self, pool: LinkPool, hello: Hello) -> tuple[str, str] | None:
        """Check again and again; return as `_stay` does."""
        failed = 0
        while True:
            with anyio.move_on_after(self._policy.check_interval_seconds):
                await self._check_now.wait()
            self._check_now = anyio.Event()
            if self._asleep(pool) or self._shown_by_callers(pool, hello):
                continue
            try:
                with anyio.fail_after(self._policy.check_deadline_seconds):
                    if await self._is_another(pool, hello):
                        return None
                    offer = await self._read_offer(pool, hello)
            except (SuiteError, RpcError, TimeoutError, OSError) as error:
                failed += 1
                problem = reasons(error, self._policy.check_deadline_seconds)
                if failed >= self._policy.failed_checks_until_away:
                    return problem
                self.standing.doubtful(*problem)
                self._check_soon()
            else:
                failed = 0
                self._breaker.answers_again()
                self.standing.healthy(offer)
            await anyio.sleep(self._policy.shortest_pause_seconds)

    async def _is_another(self, pool: LinkPool, hello: Hello) -> bool:
        """Whether another server, or a new version, answers now: without a conversation nothing breaks."""
        if hello.era != "modern" or self._transport != "http":
            return False
        params = {"_meta": hub_envelope()}
        result = await pool.request(self.hub_key("modern"), "server/discover", params, NoPeer(), repeatable=True)
        return hello_from_discover(result) != hello

    def _shown_by_callers(self, pool: LinkPool, hello: Hello) -> bool:
        """Whether a check would have to end a caller's link, or wait for one, while callers do get answers."""
        if not pool.crowded_out(self.hub_key(hello.era)):
            return False
        return not pool.has_idle_links or time.monotonic() - self._last_answered < self.config.idle_seconds

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
            raise self.standing.refusal()
        try:
            with anyio.fail_after(self._policy.connect_deadline_seconds):
                async with self._pool.lease(self.hub_key("handshake")):
                    self._handshake = True
        except RpcError as error:
            if error.code != UNSUPPORTED_PROTOCOL_VERSION:
                raise
            self._handshake = False
        except TimeoutError:
            return False  # not for good: it may only have been slow
        return self._handshake

    async def _read_offer(self, pool: LinkPool, hello: Hello) -> Offer:
        async def ask(method: str, params: Json) -> Json:
            full = {**params, "_meta": hub_envelope()} if hello.era == "modern" else params
            return await pool.request(self.hub_key(hello.era), method, full, NoPeer(), repeatable=True)

        return await read_offer(ask, hello.capabilities)

    def hub_key(self, era: Era) -> LinkKey:
        """Return the key of the link the hub itself uses: for lists, checks and following changes."""
        if self.config.credentials and not self.config.headers:
            return LinkKey(era, next(iter(self.config.credentials)))
        return LinkKey("modern", "shared") if era == "modern" else LinkKey("handshake", "hub", _LISTING)

    async def _prepare(self, key: LinkKey, link: Link) -> None:
        """Bring a fresh handshake session to the state its predecessor had."""
        if key.era != "handshake":
            return
        await self._levels.restore(key, link)
        if self._listening is not None:
            await self._listening.resume(key, link)

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
