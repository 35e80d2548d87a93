"""Servers reached over Streamable HTTP, in either era.

Modern (2026-07-28): every request is a POST by itself; closing its response cancels it. Handshake (2025-11-25 and
before): a session opened by `initialize`, a standing GET stream for what belongs to no request, resumable
streams, DELETE at the end. The HTTP+SSE transport of 2024-11-05 is not spoken.
"""

import asyncio
import logging
import re
from collections.abc import Mapping
from contextlib import AsyncExitStack

import anyio
import orjson

from quantum_suite.core.errors import Unavailable
from quantum_suite.core.principals import Caller
from quantum_suite.hub.call import INVALID_PARAMS, LATEST_MODERN, Json, NoPeer, Peer, RpcError
from quantum_suite.hub.upstreams import handshake
from quantum_suite.hub.upstreams.conversation import Announcer, Conversation
from quantum_suite.hub.upstreams.host import Host
from quantum_suite.hub.upstreams.http_client import Endpoint, HttpClient
from quantum_suite.hub.upstreams.http_connection import HttpConnection, HttpError, HttpLimits
from quantum_suite.hub.upstreams.http_reply import HttpRefusal, Reply, StreamEnded, as_rpc_error
from quantum_suite.hub.upstreams.http_request import configured_headers, head, mirrored, post
from quantum_suite.hub.upstreams.http_standing import StandingStream
from quantum_suite.hub.upstreams.interface import Announce, Diagnostics, Hello, Link, LinkKey, LinkLost

_SESSION_ID = re.compile(r"[\x21-\x7e]{1,1024}")
_EVENT_ID = re.compile(r"[\x20-\x7e]+")
_RESUME_ATTEMPTS = 5
_LONGEST_RETRY_SECONDS = 30.0
_SIDE_SECONDS = 10.0
_LINGER_SECONDS = 1.0

logger = logging.getLogger(__name__)


def _lost() -> LinkLost:
    return LinkLost("The server ended its stream before it answered.")


class _HttpLink:
    """What links of both eras have in common."""

    def __init__(self, key: LinkKey, client: HttpClient, host: Host[HttpClient], announce: Announce) -> None:
        self._client = client
        self._host = host
        self._hello: Hello | None = None
        self._closed = False
        self._conversation = Conversation(
            key.era,
            shared=key.identity == "shared",
            reply=self._send_aside,
            announce=Announcer(announce, host.start_soon),
        )

    @property
    def hello(self) -> Hello:
        """What the server said of itself when the link was opened."""
        if self._hello is None:
            raise RuntimeError("The link is not open yet.")
        return self._hello

    @property
    def in_flight(self) -> int:
        """How many requests are waiting for an answer."""
        return len(self._conversation.in_flight)

    @property
    def closed(self) -> bool:
        """Whether the link can carry nothing more."""
        return self._closed

    def _send_aside(self, message: Json) -> None:
        """Send a message beside the requests, without waiting."""

    async def _send(self, request: bytes, reply: Reply, *, long_lived: bool) -> HttpConnection:
        if self._closed:
            raise LinkLost("The link is closed.", never_processed=True)
        try:
            return await self._client.send(request, reply, long_lived=long_lived)
        except HttpError as error:
            raise as_rpc_error(error) from error


class ModernHttpLink(_HttpLink):
    """Requests by themselves: it remembers nothing of the server."""

    def __init__(
        self,
        key: LinkKey,
        client: HttpClient,
        host: Host[HttpClient],
        announce: Announce,
        endpoint: Endpoint,
        configured: bytes,
    ) -> None:
        super().__init__(key, client, host, announce)
        self._key = key
        self._prefix = head("POST", endpoint, configured, {"MCP-Protocol-Version": LATEST_MODERN})

    async def open(self) -> None:
        """Ask `server/discover`; raises as `Connector.connect` does."""
        try:
            result = await self.request("server/discover", {"_meta": handshake.envelope(self._key)}, NoPeer())
        except HttpRefusal as error:
            if error.status in (401, 403, 429) or not 400 <= error.status < 500:
                raise Unavailable(error.message, "Check the entry's URL and headers.") from error
            raise handshake.wrong_era(error.message) from error
        except LinkLost as error:
            raise Unavailable(error.message, "Check that the server runs and its URL is right.") from error
        except RpcError as error:
            raise handshake.refused_discover(error) from error
        self._hello = handshake.hello_from_discover(result)

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
        """Send a request and return its result; see `Link.request`."""
        lines = mirrored(method, params, headers)
        inbox, params = self._conversation.begin(method, params, peer, request_id)
        reply = Reply(inbox, self._conversation)
        connection: HttpConnection | None = None
        try:
            request = post(self._prefix, encode(inbox.id, method, params), lines)
            connection = await self._send(request, reply, long_lived=method == "subscriptions/listen")
            return await inbox.outcome()
        except StreamEnded:
            raise _lost() from None
        finally:
            self._conversation.end(inbox)
            if connection is not None and not reply.ended:
                if inbox.answered:
                    connection.finish_within(_LINGER_SECONDS)
                else:
                    connection.abort()

    async def notify(self, method: str, params: Json) -> None:
        """Do nothing: this revision has no notifications from client to server over HTTP."""

    async def aclose(self) -> None:
        """Give up what is in flight. Idempotent."""
        self._closed = True
        self._conversation.fail_all(lambda: LinkLost("The link was closed."))


class HandshakeHttpLink(_HttpLink):
    """One session."""

    def __init__(
        self,
        key: LinkKey,
        client: HttpClient,
        host: Host[HttpClient],
        announce: Announce,
        endpoint: Endpoint,
        configured: bytes,
    ) -> None:
        super().__init__(key, client, host, announce)
        self._key = key
        self._endpoint = endpoint
        self._configured = configured
        self._session_id: str | None = None
        self._extra: dict[str, str] = {}
        self._prefix = self._head("POST")
        self._standing: StandingStream | None = None

    def _head(self, verb: str, more: Mapping[str, str] | None = None) -> bytes:
        return head(verb, self._endpoint, self._configured, {**self._extra, **(more or {})})

    # -- opening ----------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Initialize a session; raises as `Connector.connect` does, and leaves no session behind then."""
        try:
            await self._initialize()
        except BaseException:
            await self.aclose()
            raise
        self._standing = StandingStream(
            self._client, self._conversation, self._listen_request, self._session_refused, _LONGEST_RETRY_SECONDS
        )
        self._host.start_soon(self._standing.run)

    async def _initialize(self) -> None:
        try:
            result = await self.request("initialize", handshake.initialize_params(self._key), NoPeer())
        except HttpRefusal as error:
            hint = "Check the entry's URL and headers."
            if error.status in (404, 405):
                hint = "Check the URL: no MCP endpoint is there, or one of the HTTP+SSE transport of 2024."
            raise Unavailable(error.message, hint) from error
        except LinkLost as error:
            raise Unavailable(error.message, "Check that the server runs and its URL is right.") from error
        except RpcError as error:
            raise handshake.refused_initialize(error) from error
        self._hello = handshake.hello_from_initialize(result)
        self._extra["MCP-Protocol-Version"] = self._hello.protocol_version
        self._prefix = self._head("POST")
        status = await self._post({"jsonrpc": "2.0", "method": "notifications/initialized"})
        if status is None or not 200 <= status < 300:
            raise Unavailable(
                f"The server did not accept that the session begins (HTTP {status or 'connection lost'}).",
                "It breaks the protocol; report it there.",
            )

    def _take_session(self, status: int, headers: dict[str, str]) -> RpcError | None:
        session_id = headers.get("mcp-session-id")
        if status == 200 and session_id is not None:
            if not _SESSION_ID.fullmatch(session_id):
                return HttpRefusal(status, "The server sent a session id that a header cannot carry.")
            self._session_id = self._extra["Mcp-Session-Id"] = session_id
        return None

    # -- requests ---------------------------------------------------------------------------------------------

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
        """Send a request and return its result; see `Link.request`."""
        inbox, params = self._conversation.begin(method, params, peer, request_id)
        on_status = self._take_session if method == "initialize" else self._session_gone
        reply = Reply(inbox, self._conversation, on_status)
        connection: HttpConnection | None = None
        try:
            request = post(self._prefix, encode(inbox.id, method, params))
            connection = await self._send(request, reply, long_lived=False)
            attempts = 0
            while True:
                try:
                    return await inbox.outcome()
                except StreamEnded:
                    attempts = 0 if reply.heard else attempts + 1
                    if reply.last_event_id is None or attempts > _RESUME_ATTEMPTS:
                        raise _lost() from None
                connection = await self._resume(reply)
        except asyncio.CancelledError:
            # A broken connection does not cancel in this era (2025-11-25, transports).
            if method != "initialize":
                self._send_aside(
                    {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": inbox.id}}
                )
            raise
        finally:
            self._conversation.end(inbox, abandoned=not inbox.answered)
            if connection is not None and not reply.ended:
                if inbox.answered:
                    connection.finish_within(_LINGER_SECONDS)
                else:
                    connection.abort()

    async def _resume(self, reply: Reply) -> HttpConnection:
        """Continue a broken stream behind the last event that came (2025-11-25, resumability)."""
        seconds = 1.0 if reply.retry_ms is None else reply.retry_ms / 1000
        reply.resume()
        await anyio.sleep(min(seconds, _LONGEST_RETRY_SECONDS))
        request = self._listen_request(reply.last_event_id)
        return await self._send(request, reply, long_lived=True)

    def _listen_request(self, last_event_id: str | None) -> bytes:
        more = {}
        if last_event_id is not None and _EVENT_ID.fullmatch(last_event_id):
            more["Last-Event-ID"] = last_event_id
        return self._head("GET", more) + b"\r\n"

    def _session_gone(self, status: int, headers: dict[str, str]) -> RpcError | None:
        """A session that the server does not know is over; it did not begin the request (2025-11-25, sessions)."""
        if status == 404 and self._session_id is not None:
            self._session_refused()
            return LinkLost("The server has forgotten the session.", never_processed=True, session_lost=True)
        return None

    def _session_refused(self) -> None:
        self._closed = True
        self._session_id = None

    # -- beside requests --------------------------------------------------------------------------------------

    async def notify(self, method: str, params: Json) -> None:
        """Send a notification; dropped when the link is closed."""
        if not self._closed:
            await self._post({"jsonrpc": "2.0", "method": method, **({"params": params} if params else {})})

    def _send_aside(self, message: Json) -> None:
        if not self._closed:
            self._host.start_soon(self._post, message)

    async def _post(self, message: Json) -> int | None:
        """Send a notification or response; returns the status, None when there was none."""
        try:
            response = await self._client.fetch(post(self._prefix, orjson.dumps(message)), seconds=_SIDE_SECONDS)
        except HttpError as error:
            logger.debug("a message beside the requests was lost: the server %s", error)
            return None
        self._session_gone(response.status, response.headers)
        return response.status

    async def aclose(self) -> None:
        """End the session on the server, and give up what is in flight. Idempotent, takes seconds at most."""
        already, self._closed = self._closed, True
        if self._standing is not None:
            self._standing.close()
        self._conversation.fail_all(lambda: LinkLost("The link was closed."))
        if already or self._session_id is None:
            return
        with anyio.CancelScope(shield=True):
            try:
                await self._client.fetch(self._head("DELETE") + b"\r\n", seconds=_SIDE_SECONDS / 2)
            except HttpError as error:
                logger.debug("a session was not ended: the server %s", error)


def encode(id_: int, method: str, params: Json) -> bytes:
    """Return a request as bytes; raises `RpcError` when its params cannot be written."""
    try:
        return orjson.dumps({"jsonrpc": "2.0", "id": id_, "method": method, "params": params})
    except TypeError as error:
        raise RpcError(INVALID_PARAMS, f"The params cannot be written as JSON: {error}.") from error


class HttpConnector:
    """Opens links to one URL."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        max_message_bytes: int = 16 * 1024 * 1024,
        connect_seconds: float = 30.0,
        tcp_connect_seconds: float = 10.0,
        stall_seconds: float = 30.0,
        idle_seconds: float = 60.0,
        max_connections: int = 128,
    ) -> None:
        """`headers` go with every request. `connect_seconds` bounds the greeting as a whole; for the rest see
        `HttpClient` and `HttpLimits`. Raises ConfigurationError."""
        self._endpoint = Endpoint.parse(url)
        self._configured = configured_headers(headers or {})
        self._limits = HttpLimits(max_body_bytes=max_message_bytes, stall_seconds=stall_seconds)
        self._connect_seconds = connect_seconds
        self._tcp_connect_seconds = tcp_connect_seconds
        self._idle_seconds = idle_seconds
        self._max_connections = max_connections
        self._host: Host[HttpClient] = Host(self._open_client)

    async def _open_client(self, stack: AsyncExitStack) -> HttpClient:
        client = HttpClient(
            self._endpoint,
            limits=self._limits,
            max_connections=self._max_connections,
            connect_seconds=self._tcp_connect_seconds,
            idle_seconds=self._idle_seconds,
        )
        stack.push_async_callback(client.aclose)
        return client

    async def connect(self, key: LinkKey, announce: Announce) -> Link:
        """Open a link; see `Connector.connect`."""
        client = await self._host.open()
        kind = ModernHttpLink if key.era == "modern" else HandshakeHttpLink
        link = kind(key, client, self._host, announce, self._endpoint, self._configured)
        try:
            with anyio.fail_after(self._connect_seconds):
                await link.open()
        except TimeoutError:
            raise Unavailable(
                f"The server did not answer within {self._connect_seconds:g} seconds.", "Check that it is healthy."
            ) from None
        return link

    def diagnostics(self) -> Diagnostics:
        """Return nothing: what such a server prints stays where it runs."""
        return Diagnostics()

    async def aclose(self) -> None:
        """Close every connection. Idempotent."""
        await self._host.aclose()
