"""The port to servers behind the hub: one `Connector` a transport, one `Link` a conversation.

A link speaks one era and carries many requests at once. In the modern era requests are independent and the
link holds no conversation state; in the handshake era the link is one initialised session. The pool decides
which link a call takes; a link never does.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from quantum_suite.core.principals import Caller
from quantum_suite.hub.call import CONNECTION_CLOSED, Era, Json, Peer, RpcError


@dataclass(frozen=True, slots=True)
class Hello:
    """What a server said of itself, by `server/discover` or `initialize`."""

    era: Era
    protocol_version: str
    capabilities: Json
    server_info: Json
    instructions: str | None = None


@dataclass(slots=True)
class Diagnostics:
    """What is known about an upstream beyond its answers, for inspection."""

    stderr_tail: list[str] = field(default_factory=list)
    """The last lines its children wrote to stderr, secrets masked; those of children that ended included."""


Announce = Callable[[str, Json], Awaitable[None]]
"""Takes `(method, params)` of a notification that belongs to no request: `list_changed`, resource updates."""


@dataclass(frozen=True, slots=True)
class LinkKey:
    """Whose conversation a link is. Links are shared by calls with equal keys and by no others.

    `identity` is the principal's id where the upstream tells callers apart (own credentials, or any handshake
    session), else `shared`. `capabilities` is the canonical JSON of what the client can do.
    """

    era: Era
    identity: str
    capabilities: str = "{}"


class UpstreamFailed(RpcError):
    """A request found no answer: the way to the server broke, or what came was none. Never the server's own error.

    Servers choose their codes as they like, so a code alone does not tell the two apart.
    """

    answered = False
    """Whether the other end did answer, outside the protocol: it refused a credential, or is asked too often."""


class LinkLost(UpstreamFailed):
    """A request found no answer because the way to the server broke.

    `never_processed` says that the server provably did not begin the request, so that repeating it is safe.
    `session_lost` says that the server forgot the session; `data` is then `{"sessionLost": True}`.
    """

    def __init__(self, message: str, *, never_processed: bool = False, session_lost: bool = False) -> None:
        super().__init__(CONNECTION_CLOSED, message, {"sessionLost": True} if session_lost else None)
        self.never_processed = never_processed
        self.session_lost = session_lost


class Link(Protocol):
    """An open conversation with an upstream."""

    @property
    def hello(self) -> Hello:
        """What the server said of itself when the link was opened."""
        ...

    @property
    def in_flight(self) -> int:
        """How many requests are waiting for an answer."""
        ...

    @property
    def closed(self) -> bool:
        """Whether the link can carry nothing more (the child ended, the session was lost)."""
        ...

    async def request(
        self,
        method: str,
        params: Json,
        peer: Peer,
        *,
        caller: Caller | None = None,
        headers: dict[str, str] | None = None,
        request_id: str | int | None = None,
    ) -> Json:
        """Send a request and return its result.

        `params` carry the upstream's own names and, in the modern era, the complete `_meta` envelope. Progress
        and log messages that belong to the request go to `peer.notify`, in order, with the caller's own
        progress token; a question of a handshake-era server goes to `peer.request`. Cancelling the awaiting
        task tells the server (`notifications/cancelled`, or closing the response) and frees the request.
        Messages that arrive faster than the peer takes them are dropped, progress first; the answer never is.

        `caller` reaches the tools of an in-process server (`ctx.request_context.request`); other transports
        ignore it. `headers` are extra HTTP request headers (`mcp-param-*`); other transports ignore them.
        `request_id` is the caller's own JSON-RPC id: what a `subscriptions/listen` stream sends carries it as
        subscription id, whatever id the link used.

        Raises `RpcError` with the server's own error; `LinkLost` when the link broke before an answer; and
        `RpcError` with `UPSTREAM_UNAVAILABLE` when the server broke the protocol (oversized or undecodable
        message), in bounded text that names what it did.
        """
        ...

    async def notify(self, method: str, params: Json) -> None:
        """Send a notification; dropped when the link is closed."""
        ...

    async def aclose(self) -> None:
        """End the conversation: the session is deleted, the child's whole process group ended. Idempotent."""
        ...


class Connector(Protocol):
    """Opens links to one upstream over one transport."""

    async def connect(self, key: LinkKey, announce: Announce) -> Link:
        """Open a link in `key.era`, declaring `key.capabilities` as the client's.

        Raises `RpcError` with `UNSUPPORTED_PROTOCOL_VERSION` when the server does not speak the era, and
        `Unavailable` (core.errors) when it cannot be reached or started, saying why and what it printed.
        Bounded in time; leaves nothing behind when it fails or is cancelled.
        """
        ...

    def diagnostics(self) -> Diagnostics:
        """Return what is known about the upstream beyond its answers."""
        ...

    async def aclose(self) -> None:
        """Release what links share (connections, background tasks, a mounted server's lifespan). Idempotent.

        Links are closed by their owner, before this.
        """
        ...
