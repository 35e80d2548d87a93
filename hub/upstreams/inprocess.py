"""Servers of the SDK mounted in this process: no framing, no second event loop, no copy of the message.

Requests go through the SDK's own serving kernel (`mcp.server.runner`), so a mounted server answers exactly as it
would over a wire. A link gives the kernel what a transport would: a connection, and a dispatch context a request.

All that is private or provisional in the SDK and used by the hub is named in this file.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import anyio
import orjson
from mcp.server.connection import Connection
from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import MCPServer

# The kernel is not re-exported by a public package; `Server.run` drives it over streams only, which would frame,
# copy and validate each message twice more.
from mcp.server.runner import ServerRunner, aclose_shielded, modern_error_data
from mcp.shared.dispatcher import CallOptions
from mcp.shared.exceptions import MCPError, NoBackChannelError
from mcp.shared.message import MessageMetadata, ServerMessageMetadata
from mcp.shared.transport_context import TransportContext
from mcp.types import ClientCapabilities, InitializeRequestParams
from pydantic import ValidationError

from quantum_suite.core.errors import Unavailable
from quantum_suite.core.principals import Caller
from quantum_suite.hub.call import (
    LATEST_MODERN,
    META_CLIENT_CAPABILITIES,
    META_CLIENT_INFO,
    META_VERSION,
    MODERN_VERSIONS,
    NO_BACK_CHANNEL,
    Json,
    NoPeer,
    Peer,
    RpcError,
)
from quantum_suite.hub.upstreams import handshake
from quantum_suite.hub.upstreams.conversation import Announcer
from quantum_suite.hub.upstreams.host import Host
from quantum_suite.hub.upstreams.interface import Announce, Diagnostics, Hello, Link, LinkKey, LinkLost

_MAX_CLIENTS_KEPT = 256
_CHANGES = {"toolsListChanged": True, "promptsListChanged": True, "resourcesListChanged": True}
_MODERN_TRANSPORT = TransportContext(kind="inprocess", can_send_request=False)
_HANDSHAKE_TRANSPORT = TransportContext(kind="inprocess", can_send_request=True)

logger = logging.getLogger(__name__)


class _Standalone:
    """The way out of a connection for what belongs to no request."""

    def __init__(self, link: "_InProcessLink") -> None:
        self._link = link

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """Ask the only requester there is; who else could be meant?"""
        peers = self._link.peers()
        if len(peers) != 1:
            raise NoBackChannelError(method)
        return await _ask(peers[0], method, params)

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> None:
        """Announce a change; hand anything else to the requesters, who are one identity in the handshake era."""
        if method == "notifications/resources/updated" or method.endswith("/list_changed"):
            self._link.announce(method, dict(params or {}))
            return
        peers = self._link.peers()
        if len(peers) == 1 or self._link.hello.era == "handshake":
            for peer in peers:
                await peer.notify(method, dict(params or {}))


class _Exchange:
    """The SDK's dispatch context of one request."""

    __slots__ = ("_cancel_requested", "_peer", "_token", "message_metadata", "request_id", "transport")

    def __init__(
        self,
        peer: Peer,
        params: Json,
        *,
        transport: TransportContext,
        request_id: str | int | None,
        caller: Caller | None,
    ) -> None:
        meta = params.get("_meta")
        self._peer = peer
        self._token = meta.get("progressToken") if type(meta) is dict else None
        self.transport = transport
        self.request_id = request_id
        self.message_metadata: MessageMetadata = ServerMessageMetadata(request_context=caller)
        self._cancel_requested: anyio.Event | None = None

    @property
    def cancel_requested(self) -> anyio.Event:
        """An event that is never set: cancellation reaches the task that serves the request."""
        if self._cancel_requested is None:
            self._cancel_requested = anyio.Event()
        return self._cancel_requested

    @property
    def can_send_request(self) -> bool:
        """Whether the requester can be asked something."""
        return self.transport.can_send_request

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """Ask the requester; raises MCPError with its refusal."""
        if not self.transport.can_send_request:
            raise NoBackChannelError(method)
        timeout = (opts or {}).get("timeout")
        try:
            with anyio.fail_after(timeout):
                return await _ask(self._peer, method, params)
        except TimeoutError:
            raise MCPError(-32001, f"Timed out after {timeout} seconds waiting for {method}.") from None

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> None:
        """Tell the requester something."""
        await self._peer.notify(method, dict(params or {}))

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """Report progress, where the requester gave a token."""
        if self._token is None:
            return
        params: Json = {"progressToken": self._token, "progress": progress}
        if total is not None:
            params["total"] = total
        if message is not None:
            params["message"] = message
        await self._peer.notify("notifications/progress", params)


async def _ask(peer: Peer, method: str, params: Mapping[str, Any] | None) -> dict[str, Any]:
    try:
        return await peer.request(method, dict(params or {}))
    except RpcError as error:
        if error.code == NO_BACK_CHANNEL:
            raise NoBackChannelError(method) from error
        raise MCPError(error.code, error.message, error.data) from error


class _InProcessLink(ABC):
    """What links of both eras have in common."""

    def __init__(self, server: Server[Any], state: Any, key: LinkKey, announce: Announcer) -> None:
        self._server = server
        self._state = state
        self._key = key
        self._hello: Hello | None = None
        self._closed = False
        self._last_id = 0
        self._in_flight: dict[int, tuple[Peer, anyio.CancelScope]] = {}
        self._standalone = _Standalone(self)
        self.announce = announce

    @property
    def hello(self) -> Hello:
        """What the server said of itself when the link was opened."""
        if self._hello is None:
            raise RuntimeError("The link is not open yet.")
        return self._hello

    @property
    def in_flight(self) -> int:
        """How many requests are waiting for an answer."""
        return len(self._in_flight)

    @property
    def closed(self) -> bool:
        """Whether the link was closed."""
        return self._closed

    def peers(self) -> list[Peer]:
        """Return the requesters that wait for an answer, each once."""
        return list(
            {id(peer): peer for peer, _ in self._in_flight.values() if not isinstance(peer, NoPeer)}.values()
        )

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
        """Serve a request and return its result; see `Link.request`."""
        if self._closed:
            raise LinkLost("The link is closed.", never_processed=True)
        self._last_id = id_ = self._last_id + 1
        scope = anyio.CancelScope()
        self._in_flight[id_] = (peer, scope)
        try:
            with scope:
                return await self._serve(
                    method,
                    params,
                    _Exchange(
                        peer,
                        params,
                        transport=_MODERN_TRANSPORT if self._key.era == "modern" else _HANDSHAKE_TRANSPORT,
                        # What a subscription sends carries its request's id.
                        request_id=id_ if request_id is None else request_id,
                        caller=caller,
                    ),
                )
        except (MCPError, ValidationError) as error:
            raise _as_rpc_error(error) from error
        except RpcError:
            raise
        except Exception as error:
            # Logged there with its traceback; the requester learns nothing of a bug's insides.
            raise _as_rpc_error(error) from error
        finally:
            del self._in_flight[id_]
        raise LinkLost("The link was closed.")

    @abstractmethod
    async def _serve(self, method: str, params: Json, exchange: _Exchange) -> Json:
        """Have the SDK's kernel answer the request, in the link's era."""

    async def aclose(self) -> None:
        """Cancel what is in flight. Idempotent."""
        self._closed = True
        for _, scope in list(self._in_flight.values()):
            scope.cancel()


def _as_rpc_error(error: Exception) -> RpcError:
    data = modern_error_data(error)
    return RpcError(data.code, data.message, data.data)


class _Clients:
    """Who calls, as the SDK's models: clients are few and calls are many, so each is validated once."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[ClientCapabilities | None, InitializeRequestParams | None]] = {}

    def connection(self, meta: Json, standalone: _Standalone) -> Connection:
        """Return a connection as `Connection.from_envelope` would make it."""
        version = meta.get(META_VERSION)
        version = version if version in MODERN_VERSIONS else LATEST_MODERN
        claimed = (meta.get(META_CLIENT_CAPABILITIES), meta.get(META_CLIENT_INFO), version)
        key = orjson.dumps(claimed)
        if (known := self._known.get(key)) is None:
            if len(self._known) >= _MAX_CLIENTS_KEPT:
                self._known.clear()
            model = Connection.from_envelope(version, claimed[1], claimed[0])
            known = self._known[key] = (model.client_capabilities, model.client_params)
        connection = Connection(standalone, protocol_version=version, client_params=known[1])
        connection.client_capabilities = known[0]
        connection.initialized.set()
        return connection


class _ModernLink(_InProcessLink):
    """Requests by themselves."""

    def __init__(self, server: Server[Any], state: Any, key: LinkKey, announce: Announcer) -> None:
        super().__init__(server, state, key, announce)
        self._clients = _Clients()

    async def open(self) -> None:
        """Ask the server what it is."""
        try:
            result = await self.request("server/discover", {"_meta": handshake.envelope(self._key)}, NoPeer())
        except RpcError as error:
            raise handshake.refused_discover(error) from error
        self._hello = handshake.hello_from_discover(result)

    async def _serve(self, method: str, params: Json, exchange: _Exchange) -> Json:
        meta = params.get("_meta")
        connection = self._clients.connection(meta if type(meta) is dict else {}, self._standalone)
        try:
            return await ServerRunner(self._server, connection, self._state).on_request(exchange, method, params)
        finally:
            await aclose_shielded(connection)

    async def notify(self, method: str, params: Json) -> None:
        """Do nothing: this revision has no notifications from client to server but cancellation."""


class _HandshakeLink(_InProcessLink):
    """One session."""

    def __init__(self, server: Server[Any], state: Any, key: LinkKey, announce: Announcer) -> None:
        super().__init__(server, state, key, announce)
        self._connection = Connection.for_loop(self._standalone)
        self._runner = ServerRunner(server, self._connection, state)

    async def open(self) -> None:
        """Shake hands."""
        try:
            result = await self.request("initialize", handshake.initialize_params(self._key), NoPeer())
        except RpcError as error:
            raise handshake.refused_initialize(error) from error
        self._hello = handshake.hello_from_initialize(result)
        await self.notify("notifications/initialized", {})

    async def _serve(self, method: str, params: Json, exchange: _Exchange) -> Json:
        return await self._runner.on_request(exchange, method, params)

    async def notify(self, method: str, params: Json) -> None:
        """Hand a notification to the server; dropped when the link is closed."""
        if not self._closed:
            exchange = _Exchange(NoPeer(), params, transport=_HANDSHAKE_TRANSPORT, request_id=None, caller=None)
            await self._runner.on_notify(exchange, method, params)

    async def aclose(self) -> None:
        """Cancel what is in flight and run what handlers left to do at the session's end. Idempotent."""
        if not self._closed:
            await super().aclose()
            await aclose_shielded(self._connection)


class InProcessConnector:
    """Mounts a server: its lifespan is entered on the first connection and left by `aclose`."""

    def __init__(self, server: MCPServer[Any] | Server[Any], *, close_seconds: float = 10.0) -> None:
        """`close_seconds` bounds the end of the server's lifespan."""
        # An MCPServer is a layer over the low-level server, which is what the kernel serves; it has no accessor.
        self._server: Server[Any] = server._lowlevel_server if isinstance(server, MCPServer) else server
        self._host: Host[Any] = Host(self._open)
        self._close_seconds = close_seconds
        self._followed: list[Announce] = []

    async def _open(self, stack: AsyncExitStack) -> Any:
        return await stack.enter_async_context(self._server.lifespan(self._server))

    async def connect(self, key: LinkKey, announce: Announce) -> Link:
        """Open a link; see `Connector.connect`."""
        try:
            state = await self._host.open()
        except Exception as error:
            raise Unavailable(f"The server did not start: {error}", "See the log.") from error
        kind = _ModernLink if key.era == "modern" else _HandshakeLink
        link = kind(self._server, state, key, Announcer(announce, self._host.start_soon))
        await link.open()
        if announce not in self._followed:
            self._followed.append(announce)
            self._host.start_soon(self._follow, state, announce)
        return link

    async def _follow(self, state: Any, announce: Announce) -> None:
        """Announce the changes a server publishes, whether or not a client listens for them."""
        link = _ModernLink(
            self._server, state, LinkKey("modern", "hub"), Announcer(announce, self._host.start_soon)
        )
        params = {"_meta": handshake.envelope(LinkKey("modern", "hub")), "notifications": _CHANGES}
        try:
            await link.request("subscriptions/listen", params, _Follower(link.announce))
        except RpcError as error:
            logger.debug("a mounted server publishes no changes: %s", error)

    def diagnostics(self) -> Diagnostics:
        """Return nothing: what a mounted server logs is in the hub's log."""
        return Diagnostics()

    async def aclose(self) -> None:
        """Leave the server's lifespan. Idempotent."""
        await self._host.aclose(self._close_seconds)


class _Follower(NoPeer):
    """Turns what a subscription delivers into announcements."""

    def __init__(self, announce: Announcer) -> None:
        self._announce = announce

    async def notify(self, method: str, params: Json) -> None:
        """Announce a change, without the subscription's id."""
        if method.endswith("/list_changed"):
            self._announce(method, {})
