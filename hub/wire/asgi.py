"""The hub as an ASGI application: one MCP endpoint for both protocol eras, and a few pages for machines.

Which era a request belongs to follows 2026-07-28 basic/versioning: a modern `_meta` or version header means a
request of its own, `initialize` or a session id means the handshake era.
"""

import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio

from quantum_suite.hub.call import HANDSHAKE_VERSIONS, INVALID_REQUEST, Era, Hub, RpcError
from quantum_suite.hub.hooks import PREFIX, Hooks
from quantum_suite.hub.settings import HubSettings
from quantum_suite.hub.wire.handshake import HandshakeEndpoint
from quantum_suite.hub.wire.http import (
    MODERN_STATUS,
    Disconnected,
    HttpRequest,
    Receive,
    Scope,
    Send,
    check_accept,
    check_content_type,
    collect_headers,
    read_body,
    send_empty,
    send_plain,
    send_rejection,
)
from quantum_suite.hub.wire.in_flight import CallsInFlight
from quantum_suite.hub.wire.limits import decode_json
from quantum_suite.hub.wire.messages import is_modern, request_id_of
from quantum_suite.hub.wire.modern import ModernEndpoint
from quantum_suite.hub.wire.rejection import Headers, Rejection
from quantum_suite.hub.wire.security import Gate

logger = logging.getLogger(__name__)

ENDPOINT = "/mcp"
ABORT = "quantum.abort"
"""ASGI extension: `abort`, a callable that drops the connection at once."""

_SWEEP_SECONDS = 5.0
_PROBES = frozenset({"/healthz", "/readyz"})
_ALLOW = [(b"allow", b"GET, POST, DELETE")]
_VERSIONS_OF_HANDSHAKE = frozenset(version.encode() for version in HANDSHAKE_VERSIONS)
_PREFLIGHT = [
    (b"access-control-allow-methods", b"GET, POST, DELETE"),
    (b"access-control-allow-headers", b"*, authorization"),
    (b"access-control-max-age", b"600"),
]

Page = Callable[[], Awaitable[tuple[int, str, bytes]]]
"""Returns status, content type and body."""


def era_of(headers: Mapping[bytes, bytes], message: Any) -> Era:
    """Say which era a POST belongs to."""
    version = headers.get(b"mcp-protocol-version")
    if version is not None:
        version = version.strip()
    if version in _VERSIONS_OF_HANDSHAKE:
        # On an open session stray keys in `_meta` change nothing; without one, a client that contradicts itself
        # is told so by the modern era's checks.
        return "modern" if b"mcp-session-id" not in headers and is_modern(message) else "handshake"
    if version is None:
        return "modern" if is_modern(message) else "handshake"
    return "modern"


class HubApp:
    """Serves a hub. `routes` are further pages by exact path, for GET and HEAD; `hooks` what is posted beside MCP.

    Pages other than `/healthz` and `/readyz` (which probes call by address) need a proper Host header and an
    authenticated caller, too.
    `on_drain` is called when shutdown begins, so that the hub can end its subscriptions.
    """

    def __init__(
        self,
        hub: Hub,
        settings: HubSettings,
        *,
        routes: Mapping[str, Page] | None = None,
        hooks: Hooks | None = None,
        on_drain: Callable[[], None] | None = None,
    ) -> None:
        self._hub = hub
        self._limits = settings.limits
        self._gate = Gate(settings)
        self._routes = dict(routes or {})
        self._hooks = hooks
        self._on_drain = on_drain
        self._calls = CallsInFlight()
        self._modern = ModernEndpoint(hub, self._calls)
        self._handshake = HandshakeEndpoint(hub, settings.limits, self._calls)

    @property
    def in_flight(self) -> int:
        """How many calls are being answered."""
        return len(self._calls)

    @property
    def session_count(self) -> int:
        """How many handshake sessions are open."""
        return self._handshake.session_count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "http":
            try:
                await self._serve(scope, receive, send)
            except Rejection as rejection:
                await send_rejection(send, rejection)
            except Disconnected:
                logger.debug("A client went away in the middle of its request")
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = collect_headers(scope["headers"], self._limits.max_header_bytes)
        path: str = scope["path"]
        if path not in _PROBES:
            self._gate.check_host(headers.get(b"host"))
        origin = headers.get(b"origin")
        if origin is not None:
            self._gate.check_origin(origin)
            if self._gate.may_read(origin):
                send = _readable_by(origin, send)
        method: str = scope["method"]
        if self._hooks is not None and path.startswith(PREFIX):
            await self._hook(self._hooks, path, method, self._request(scope, headers, receive, send))
        elif path != ENDPOINT:
            await self._page(scope, headers, path, method, send)
        elif method == "POST":
            await self._post(self._request(scope, headers, receive, send))
        else:
            await self._other(scope, headers, receive, send)

    def _request(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, send: Send) -> HttpRequest:
        extension = (scope.get("extensions") or {}).get(ABORT)
        credentials = self._gate.credentials(scope.get("client"), headers)
        return HttpRequest(headers, credentials, receive, send, extension["abort"] if extension else None)

    async def _post(self, request: HttpRequest) -> None:
        check_content_type(request.headers.get(b"content-type"))
        check_accept(request.headers.get(b"accept"))
        body = await read_body(request.headers, request.receive, self._limits)
        message: Any = None
        try:
            message = decode_json(body, self._limits.max_nesting)
            if era_of(request.headers, message) == "modern":
                await self._modern.post(request, message)
            else:
                await self._handshake.post(request, message)
        except RpcError as error:
            raise _as_rejection(error, message) from None

    async def _hook(self, hooks: Hooks, path: str, method: str, request: HttpRequest) -> None:
        if method != "POST":
            await send_plain(request.send, 405, "text/plain", b"A hook takes POST.\n", [(b"allow", b"POST")])
            return

        async def read() -> Any:
            check_content_type(request.headers.get(b"content-type"))
            body = await read_body(request.headers, request.receive, self._limits)
            return decode_json(body, self._limits.max_nesting)

        try:
            status, body, after = await hooks.answer(path, request.credentials, read)
        except RpcError as error:
            raise _as_rejection(error, None) from None
        extra: Headers = [] if after is None else [(b"retry-after", b"%d" % math.ceil(after))]
        await send_plain(request.send, status, "application/json", body, extra)

    async def _other(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, send: Send) -> None:
        method: str = scope["method"]
        if method == "OPTIONS" and b"access-control-request-method" in headers:
            await send_empty(send, 204, _PREFLIGHT)
            return
        if method not in ("GET", "DELETE"):
            raise Rejection(405, RpcError(INVALID_REQUEST, "The endpoint takes POST, GET and DELETE."), _ALLOW)
        version = headers.get(b"mcp-protocol-version")
        if version is not None and version.strip() not in _VERSIONS_OF_HANDSHAKE:
            raise Rejection(
                405,
                RpcError(INVALID_REQUEST, "Only the handshake revisions have GET and DELETE."),
                [(b"allow", b"POST")],
            )
        request = self._request(scope, headers, receive, send)
        try:
            await (self._handshake.get(request) if method == "GET" else self._handshake.delete(request))
        except RpcError as error:
            raise _as_rejection(error, None) from None

    async def _page(self, scope: Scope, headers: dict[bytes, bytes], path: str, method: str, send: Send) -> None:
        page = self._routes.get(path)
        if page is None:
            # Plain text: a JSON-RPC error in a 404 would pass for a modern endpoint that lacks a method.
            await send_plain(
                send, 404, "text/plain", f"There is nothing here; the endpoint is {ENDPOINT}.\n".encode()
            )
            return
        if method not in ("GET", "HEAD"):
            await send_plain(
                send, 405, "text/plain", b"This page takes GET and HEAD.\n", [(b"allow", b"GET, HEAD")]
            )
            return
        if path not in _PROBES:
            try:
                await self._hub.authenticate(self._gate.credentials(scope.get("client"), headers))
            except RpcError as error:
                raise _as_rejection(error, None) from None
        status, content_type, body = await page()
        await send_plain(send, status, content_type, body)

    # life

    async def _live(self, receive: Receive, send: Send) -> None:
        """Sweep sessions between the lifespan's startup and shutdown."""
        await receive()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._sweep)
            await send({"type": "lifespan.startup.complete"})
            await receive()
            tasks.cancel_scope.cancel()
        await self._handshake.close_all()
        await send({"type": "lifespan.shutdown.complete"})

    async def _sweep(self) -> None:
        while True:
            await anyio.sleep(_SWEEP_SECONDS)
            await self._handshake.sweep(time.monotonic())

    async def sweep(self, now: float) -> None:
        """End the sessions that are idle at `now` (monotonic seconds)."""
        await self._handshake.sweep(now)

    async def drain(self, seconds: float | None = None) -> None:
        """Stop: refuse new calls with 503, wait for those in flight, cancel what is left, end the sessions.

        Messages that calls in flight wait for (responses, cancellations) are still taken. Waits the settings'
        `drain_seconds` unless told otherwise.
        """
        self._calls.draining = True
        if self._on_drain is not None:
            self._on_drain()
        self._handshake.end_standalone_streams()
        left = await self._calls.drain(self._limits.drain_seconds if seconds is None else seconds)
        if left:
            logger.warning("%d calls were cancelled because they outlasted the shutdown's patience", left)
        await self._handshake.close_all()


def _as_rejection(error: RpcError, message: Any) -> Rejection:
    return Rejection(MODERN_STATUS.get(error.code, 400), error, request_id=request_id_of(message))


def _readable_by(origin: bytes, send: Send) -> Send:
    """Add what a browser asks for before it lets a page of an allowed origin read the answer (Fetch, CORS)."""
    extra: Headers = [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", b"mcp-session-id, www-authenticate, retry-after"),
        (b"vary", b"origin"),
    ]

    async def send_readable(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *extra]}
        await send(message)

    return send_readable
