"""2026-07-28 over Streamable HTTP: every POST by itself.

The call runs in the request's own task. A second task waits for the client to go away; both are owned by
`_Exchange.run`, which ends them whatever happens. They are plain asyncio tasks, because a task group was measured
to add 50 microseconds a request (2 cores, uvloop), more than all the rest of the wire.
"""

import asyncio

import anyio

from quantum_suite.core.ids import new_id
from quantum_suite.hub.call import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    INVALID_REQUEST,
    MODERN_VERSIONS,
    NO_BACK_CHANNEL,
    Call,
    Hub,
    Json,
    RpcError,
)
from quantum_suite.hub.wire.event_stream import KEEPALIVE_SECONDS, EventStreamResponse, event
from quantum_suite.hub.wire.http import (
    MODERN_STATUS,
    HttpRequest,
    send_body,
    send_empty,
    send_error,
    until_disconnected,
)
from quantum_suite.hub.wire.in_flight import CallsInFlight
from quantum_suite.hub.wire.messages import (
    Answer,
    Envelope,
    answer,
    error_bytes,
    kind_of,
    notification_bytes,
    open_envelope,
    params_of,
    unsupported_version,
)
from quantum_suite.hub.wire.param_headers import PREFIX, decode_header_value
from quantum_suite.hub.wire.rejection import shutting_down

LISTEN = "subscriptions/listen"
_NAMED_BY = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}
_PREFIX = PREFIX.encode()


def _mismatch(text: str) -> RpcError:
    return RpcError(HEADER_MISMATCH, text)


def check_request_headers(request: HttpRequest, envelope: Envelope, method: str) -> None:
    """Compare the headers with the body (2026-07-28 Streamable HTTP, Server Validation).

    Raises `RpcError` with `HEADER_MISMATCH`. Comes before the version itself is judged, so that a client that
    contradicts itself is told that.
    """
    version = request.text(b"mcp-protocol-version")
    if version != envelope.version:
        said = "is missing" if version is None else f"says {version[:40]!r}"
        raise _mismatch(
            f"The MCP-Protocol-Version header {said}; the body's _meta says {envelope.version[:40]!r}."
        )
    header = request.text(b"mcp-method")
    if header != method:
        said = "is missing" if header is None else f"says {header[:100]!r}"
        raise _mismatch(f"The Mcp-Method header {said}; the body's method is {method[:100]!r}.")
    key = _NAMED_BY.get(method)
    if key is None:
        return
    value, header = envelope.params.get(key), request.text(b"mcp-name")
    if header is None:
        if value is not None:
            raise _mismatch(f"The Mcp-Name header is missing; it must mirror params.{key}.")
    elif decode_header_value(header) != value:
        raise _mismatch(f"The Mcp-Name header {header[:100]!r} does not match params.{key}, or is malformed.")


class _Exchange:
    """One request being answered: with JSON if the answer comes first, else with a stream of events."""

    __slots__ = ("_listening", "_lost", "_over", "_pump", "_request", "_scope", "_stream")

    def __init__(self, request: HttpRequest, *, listening: bool) -> None:
        self._request = request
        self._listening = listening
        self._scope = anyio.CancelScope()
        self._stream: EventStreamResponse | None = None
        self._pump: asyncio.Task[None] | None = None
        self._over = False
        self._lost = False

    async def notify(self, method: str, params: Json) -> None:
        """Send a notification on the response stream, which begins with the first one."""
        if self._over:
            return
        frame = event(notification_bytes(method, params))
        if self._listening:
            # Whoever announces a change announces it to others, too, and must not wait for this reader.
            self._begin_stream().offer(frame)
        else:
            await self._begin_stream().write(frame)

    async def request(self, method: str, params: Json) -> Json:
        """Refuse: this era has no requests to the client."""
        raise RpcError(NO_BACK_CHANNEL, f"2026-07-28 carries no {method} to the client; return an input request.")

    def _begin_stream(self) -> EventStreamResponse:
        if self._stream is None:
            self._stream = EventStreamResponse(self._request, on_stall=self._give_up)
            self._pump = asyncio.get_running_loop().create_task(self._stream.run())
        return self._stream

    def _begin_stream_unless_over(self) -> None:
        if not self._over:
            self._begin_stream()

    def _give_up(self) -> None:
        self._lost = True
        self._scope.cancel()

    async def _watch(self) -> None:
        await until_disconnected(self._request.receive)
        self._give_up()

    async def run(self, hub: Hub, call: Call, calls: CallsInFlight) -> None:
        """Answer `call`, and respond. The client's going away cancels the work."""
        loop = asyncio.get_running_loop()
        watcher = loop.create_task(self._watch())
        silence = loop.call_later(KEEPALIVE_SECONDS, self._begin_stream_unless_over)
        calls.add(self._scope)
        reply: Answer | None = None
        try:
            with self._scope:
                reply = await answer(hub, call)
            self._over = True
            silence.cancel()
            if not self._lost:
                await self._respond(call, reply)
        finally:
            self._over = True
            calls.discard(self._scope)
            silence.cancel()
            watcher.cancel()
            if self._pump is not None and not self._pump.done():
                self._pump.cancel()

    async def _respond(self, call: Call, reply: Answer | None) -> None:
        if reply is None:  # cancelled, though the client is there: shutdown
            rejection = shutting_down(call.request_id)
            if self._stream is None:
                raise rejection
            reply = Answer(error_bytes(call.request_id, rejection.error), rejection.error)
        if self._stream is None and (not self._listening or reply.error is not None):
            if reply.error is None:
                await send_body(self._request.send, 200, reply.body)
            else:
                await send_error(self._request, MODERN_STATUS, reply.error, reply.body)
            return
        stream = self._begin_stream()
        stream.write_now(event(reply.body))
        stream.close()
        if self._pump is not None:
            await self._pump


class ModernEndpoint:
    """Answers the POSTs of the modern era."""

    def __init__(self, hub: Hub, calls: CallsInFlight) -> None:
        self._hub = hub
        self._calls = calls

    async def post(self, request: HttpRequest, message: Json) -> None:
        """Answer one decoded message; raises `Rejection` or `RpcError` when it is not a proper one."""
        kind = kind_of(message)
        if kind == "request":
            await self._answer(request, message)
        elif kind == "notification":
            version = request.text(b"mcp-protocol-version")
            if version is not None and version not in MODERN_VERSIONS:
                raise unsupported_version(version)
            params_of(message)
            # Nothing to tell the hub: this revision defines no notification a client may send over HTTP.
            await send_empty(request.send, 202)
        else:
            raise RpcError(
                INVALID_REQUEST, "2026-07-28 has no requests to the client, so there is nothing to respond to."
            )

    async def _answer(self, request: HttpRequest, message: Json) -> None:
        method: str = message["method"]
        try:
            envelope = open_envelope(message)
        except RpcError as error:
            version = request.text(b"mcp-protocol-version")
            if error.code == INVALID_PARAMS and version is not None and version not in MODERN_VERSIONS:
                raise unsupported_version(version) from None
            raise
        check_request_headers(request, envelope, method)
        if envelope.version not in MODERN_VERSIONS:
            raise unsupported_version(envelope.version)
        if self._calls.draining:
            raise shutting_down(message["id"])
        exchange = _Exchange(request, listening=method == LISTEN)
        call = Call(
            id=new_id("call"),
            method=method,
            params=envelope.params,
            era="modern",
            protocol_version=envelope.version,
            credentials=request.credentials,
            peer=exchange,
            client_capabilities=envelope.capabilities,
            client_info=envelope.client_info,
            request_id=message["id"],
        )
        if method == "tools/call":
            call.headers = {
                name.decode("latin-1"): value.decode("latin-1").strip()
                for name, value in request.headers.items()
                if name.startswith(_PREFIX)
            }
        await exchange.run(self._hub, call, self._calls)
