"""One call on its way through the hub, and the port it is answered through.

The wire turns a message into a `Call`, the pipeline passes it down to the router, and a result (the JSON-RPC
`result` object, as a plain dict) or an `RpcError` comes up. Nothing below the wire knows HTTP or framing.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from quantum_suite.core.principals import Principal
from quantum_suite.hub.target import Target

Era = Literal["modern", "handshake"]
"""`modern`: 2026-07-28, every request by itself. `handshake`: 2025-11-25 and before, `initialize` first."""

Json = dict[str, Any]


class Peer(Protocol):
    """The way back to whoever sent a request, for as long as that request is in flight.

    What is sent here belongs to the request: it travels on its response stream (HTTP) or the shared channel
    (stdio). Messages keep the order they were sent in.
    """

    async def notify(self, method: str, params: Json) -> None:
        """Send a notification. Dropped, never raised, when the requester is gone."""
        ...

    async def request(self, method: str, params: Json) -> Json:
        """Ask the requester something (`elicitation/create`, `sampling/createMessage`, `roots/list`).

        Raises `RpcError` with code `NO_BACK_CHANNEL` in the modern era, which has no such direction, and
        `RpcError` with the requester's own error where it refuses.
        """
        ...


class NoPeer:
    """A peer that hears nothing and answers nothing: for calls the hub makes on its own account."""

    async def notify(self, method: str, params: Json) -> None:
        """Drop the notification."""

    async def request(self, method: str, params: Json) -> Json:
        """Refuse: there is nobody to ask."""
        raise RpcError(NO_BACK_CHANNEL, f"Nobody is there to answer {method}.")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the transport knows about who is there, before anything is verified."""

    transport: Literal["stdio", "http", "inprocess"]
    loopback: bool
    """Whether the connection comes from this machine."""
    bearer: str | None = None
    """The token of an `Authorization: Bearer` header, unverified. Never logged."""


@dataclass(slots=True)
class Session:
    """One handshake-era conversation, from `initialize` to its end.

    `principal` is fixed at `initialize`; a request on the session by anybody else is answered as if the session
    did not exist.
    """

    id: str
    protocol_version: str
    capabilities: Json
    client_info: Json
    principal: Principal
    peer: Peer
    """The standalone channel: the GET stream (HTTP) or the shared one (stdio)."""
    log_level: str | None = None
    subscriptions: set[str] = field(default_factory=set)
    initialized: bool = False


@dataclass(slots=True)
class Call:
    """One request of a client, as the stages see it."""

    id: str
    """The call id: ties log, audit, metrics and the error a person reads."""
    method: str
    params: Json
    """As received, `_meta` included. A stage that changes it replaces it; the wire's object is never edited."""
    era: Era
    protocol_version: str
    credentials: Credentials
    peer: Peer
    client_capabilities: Json = field(default_factory=dict)
    client_info: Json | None = None
    request_id: str | int | None = None
    """The JSON-RPC id, verbatim."""
    session: Session | None = None
    """The handshake session; None in the modern era and for `initialize` itself."""
    principal: Principal | None = None
    """Set by the authentication stage; present for every stage after it."""
    target: Target | None = None
    """What the call's name resolved to in the catalogue; None for methods the hub answers itself."""
    headers: dict[str, str] = field(default_factory=dict)
    """`mcp-param-*` request headers of an HTTP call, lower-case names."""
    takes_task: bool = False
    """Whether the server may answer with a task of its own: somebody above will follow it."""
    server_task: Json | None = None
    """The server's task to follow, made by this same call earlier, instead of making the call."""
    question_seconds: float | None = None
    """How long a question of a server stays open; None for the usual time."""
    run: str | None = None
    """The workflow run that makes the call."""


Handler = Callable[[Call], Awaitable[Json]]
"""What answers a call: returns the result object or raises `RpcError` or `SuiteError`."""

Stage = Callable[[Call, Handler], Awaitable[Json]]
"""One stage of the pipeline: does its part and calls on, or answers, or raises."""


class Hub(Protocol):
    """What the wire needs of the hub."""

    async def handle(self, call: Call) -> Json:
        """Answer one request; cancelling the awaiting task cancels the work, child processes included.

        `initialize` is answered here too (its result names the negotiated version); the wire then opens a
        `Session`. Raises only `RpcError`: every other error was turned into one, or into an `isError` result.
        """
        ...

    async def authenticate(self, credentials: Credentials) -> Principal:
        """Say who is there, for requests that carry no call (opening the GET stream, ending a session).

        Raises `RpcError` with code `UNAUTHENTICATED`. Calls are authenticated by the pipeline, which also refuses
        a call on somebody else's session with `SESSION_NOT_FOUND`.
        """
        ...

    def session_opened(self, session: Session) -> None:
        """Start delivering this session's standalone notifications to `session.peer`."""
        ...

    async def session_notified(self, session: Session, method: str, params: Json) -> None:
        """Take a notification of the client's, other than `notifications/cancelled` (which the wire obeys)."""
        ...

    async def session_closed(self, session: Session) -> None:
        """Forget the session and what upstreams hold for it."""
        ...


class RpcError(Exception):
    """A JSON-RPC error, on its way to or from the wire."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    def as_json(self) -> Json:
        """Return the JSON-RPC `error` object."""
        body: Json = {"code": self.code, "message": self.message}
        if self.data is not None:
            body["data"] = self.data
        return body


PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603

# Implementation-defined band of the 2026-07-28 allocation policy (-32000 to -32019).
CONNECTION_CLOSED = -32000
REQUEST_TIMEOUT = -32001
LEGACY_RESOURCE_NOT_FOUND = -32002
NO_BACK_CHANNEL = -32010
UPSTREAM_UNAVAILABLE = -32011
REFUSED = -32012
UNAUTHENTICATED = -32013
RATE_LIMITED = -32014
SESSION_NOT_FOUND = -32015

# Defined by the 2026-07-28 revision.
HEADER_MISMATCH = -32020
MISSING_CLIENT_CAPABILITY = -32021
UNSUPPORTED_PROTOCOL_VERSION = -32022

ERROR_CODES = frozenset(
    {
        PARSE_ERROR,
        INVALID_REQUEST,
        METHOD_NOT_FOUND,
        INVALID_PARAMS,
        INTERNAL_ERROR,
        CONNECTION_CLOSED,
        REQUEST_TIMEOUT,
        LEGACY_RESOURCE_NOT_FOUND,
        NO_BACK_CHANNEL,
        UPSTREAM_UNAVAILABLE,
        REFUSED,
        UNAUTHENTICATED,
        RATE_LIMITED,
        SESSION_NOT_FOUND,
        HEADER_MISMATCH,
        MISSING_CLIENT_CAPABILITY,
        UNSUPPORTED_PROTOCOL_VERSION,
    }
)
"""The codes there are; servers may make up others."""

MODERN_VERSIONS = ("2026-07-28",)
HANDSHAKE_VERSIONS = ("2025-03-26", "2025-06-18", "2025-11-25")
LATEST_MODERN = MODERN_VERSIONS[-1]
LATEST_HANDSHAKE = HANDSHAKE_VERSIONS[-1]
SUPPORTED_VERSIONS = (*reversed(MODERN_VERSIONS), *reversed(HANDSHAKE_VERSIONS))
"""What `server/discover` and an `UnsupportedProtocolVersionError` list, newest first.

The handshake revisions are in it because a client of both eras that shares no modern version then learns that
`initialize` will work.
"""

META_VERSION = "io.modelcontextprotocol/protocolVersion"
META_CLIENT_INFO = "io.modelcontextprotocol/clientInfo"
META_CLIENT_CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
META_LOG_LEVEL = "io.modelcontextprotocol/logLevel"
META_SERVER_INFO = "io.modelcontextprotocol/serverInfo"
META_SUBSCRIPTION_ID = "io.modelcontextprotocol/subscriptionId"
