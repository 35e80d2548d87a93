"""Following one upstream's changes, in whichever way its era has.

Modern: one `subscriptions/listen` request for the lists and the resources that clients follow; when those
change, a new one is opened before the old one ends, so nothing falls between. Handshake: `resources/subscribe`
on the hub's own session; list changes come unasked.

Where the upstream tells callers apart, each identity's resources are followed over its own link.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup

from quantum_suite.core.errors import SuiteError
from quantum_suite.hub.call import Json, NoPeer, RpcError
from quantum_suite.hub.envelope import hub_envelope
from quantum_suite.hub.upstreams.interface import Hello, Link, LinkKey
from quantum_suite.hub.upstreams.pool import LinkPool

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 5.0
_ASK_SECONDS = 10.0

Heard = Callable[[str, Json, str | None], None]
"""Takes `(method, params, identity)` of a change; identity is None where it concerns every follower."""

Followed = Callable[[], dict[str, frozenset[str]]]
"""Returns the resources to follow by identity."""


@dataclass(slots=True, eq=False)
class _Stream:
    """One open `subscriptions/listen`, and the one it replaces until it is acknowledged."""

    uris: frozenset[str]
    heard: Heard
    identity: str | None
    replaces: "_Stream | None"
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    async def notify(self, method: str, params: Json) -> None:
        if method == "notifications/subscriptions/acknowledged":
            if self.replaces is not None:
                self.replaces.scope.cancel()
                self.replaces = None
            return
        self.heard(method, params, self.identity)

    async def request(self, method: str, params: Json) -> Json:
        return await NoPeer().request(method, params)


class Listening:
    """Keeps the hub informed of one upstream while it is healthy."""

    def __init__(self, pool: LinkPool, hub_key: LinkKey, hello: Hello, heard: Heard, followed: Followed) -> None:
        self._pool = pool
        self._hub_key = hub_key
        self._capabilities = hello.capabilities
        self._heard = heard
        self._followed = followed
        self._streams: dict[str, _Stream] = {}
        self._subscribed: dict[str, frozenset[str]] = {}
        self._changed = anyio.Event()
        self._resting = False

    def renew(self) -> None:
        """Take note that other resources are followed now."""
        self._changed.set()

    def rest(self) -> None:
        """Let go of the upstream, so that it may be ended for idleness."""
        if not self._resting:
            self._resting = True
            self._changed.set()

    def wake(self) -> None:
        """Follow again after a rest."""
        if self._resting:
            self._resting = False
            self._changed.set()

    async def run(self) -> None:
        """Follow until cancelled."""
        async with anyio.create_task_group() as tasks:
            while True:
                self._changed = anyio.Event()
                if self._hub_key.era == "modern":
                    self._arrange_streams(tasks)
                else:
                    await self._arrange_subscriptions()
                await self._changed.wait()

    def _wanted(self) -> dict[str, frozenset[str]]:
        if self._resting:
            return {}
        resources = self._capabilities.get("resources")
        may_follow = isinstance(resources, dict) and bool(resources.get("subscribe"))
        wanted = dict(self._followed()) if may_follow else {}
        if self._hub_key.era == "modern" and self._list_filter():
            wanted.setdefault(self._hub_key.identity, frozenset())
        return wanted

    def _list_filter(self) -> Json:
        return {
            f"{kind}ListChanged": True
            for kind in ("tools", "prompts", "resources")
            if isinstance(self._capabilities.get(kind), dict) and self._capabilities[kind].get("listChanged")
        }

    def _arrange_streams(self, tasks: TaskGroup) -> None:
        wanted = self._wanted()
        for identity in [name for name in self._streams if name not in wanted]:
            self._streams.pop(identity).scope.cancel()
        for identity, uris in wanted.items():
            running = self._streams.get(identity)
            if running is not None and running.uris == uris:
                continue
            everybody = identity == self._hub_key.identity == "shared"
            stream = _Stream(uris, self._heard, None if everybody else identity, running)
            self._streams[identity] = stream
            tasks.start_soon(self._listen, identity, stream)

    async def _listen(self, identity: str, stream: _Stream) -> None:
        notifications = dict(self._list_filter()) if identity == self._hub_key.identity else {}
        if stream.uris:
            notifications["resourceSubscriptions"] = sorted(stream.uris)
        params: Json = {"notifications": notifications, "_meta": hub_envelope()}
        with stream.scope:
            while True:
                try:
                    await self._pool.request(
                        LinkKey("modern", identity), "subscriptions/listen", params, stream, repeatable=False
                    )
                except (RpcError, SuiteError) as error:
                    logger.debug("listening ended: %s", error)
                await anyio.sleep(_RETRY_SECONDS)

    async def _arrange_subscriptions(self) -> None:
        wanted = self._wanted()
        for identity in {*wanted, *self._subscribed}:
            now, before = wanted.get(identity, frozenset()), self._subscribed.get(identity, frozenset())
            key = self._session_of(identity)
            for uri in sorted(now - before):
                await self._tell(key, "resources/subscribe", uri)
            for uri in sorted(before - now):
                await self._tell(key, "resources/unsubscribe", uri)
        self._subscribed = wanted

    async def resume(self, key: LinkKey, link: Link) -> None:
        """Subscribe again on a session that replaces a lost one. Waits `_ASK_SECONDS` at most."""
        mine = [identity for identity in self._subscribed if self._session_of(identity) == key]
        with anyio.move_on_after(_ASK_SECONDS) as scope:
            for uri in sorted(uri for identity in mine for uri in self._subscribed[identity]):
                try:
                    await link.request("resources/subscribe", {"uri": uri}, NoPeer())
                except RpcError as error:
                    logger.warning("the upstream refused to go on with %s: %s", uri, error)
        if scope.cancelled_caught:
            logger.warning("the upstream did not take up its subscriptions within %g seconds", _ASK_SECONDS)

    def _session_of(self, identity: str) -> LinkKey:
        return self._hub_key if identity == "shared" else LinkKey("handshake", identity)

    async def _tell(self, key: LinkKey, method: str, uri: str) -> None:
        try:
            with anyio.fail_after(_ASK_SECONDS):
                await self._pool.request(key, method, {"uri": uri}, NoPeer(), repeatable=True)
        except (RpcError, SuiteError, TimeoutError) as error:
            logger.warning("the upstream refused %s of %s: %s", method, uri, error)
