"""Both protocol eras over one pair of byte streams, one JSON-RPC message a line.

A request with a modern `_meta` is served by itself, even between those of a handshake session on the same streams
(2026-07-28 basic/versioning allows both at once).
"""

import logging
import secrets
from typing import Any

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from quantum_suite.core.ids import new_id
from quantum_suite.hub.call import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    META_CLIENT_CAPABILITIES,
    META_VERSION,
    MODERN_VERSIONS,
    NO_BACK_CHANNEL,
    RATE_LIMITED,
    Call,
    Credentials,
    Hub,
    Json,
    NoPeer,
    RpcError,
    Session,
)
from quantum_suite.hub.settings import HubSettings, Limits
from quantum_suite.hub.wire.conversation import Conversation, initialize_call, session_call
from quantum_suite.hub.wire.limits import MAX_BATCH, decode_json
from quantum_suite.hub.wire.lines import LineReader, LineTooLong
from quantum_suite.hub.wire.messages import (
    RequestId,
    answer,
    encode,
    error_bytes,
    internal_error,
    is_modern,
    kind_of,
    notification_bytes,
    open_envelope,
    outcome,
    params_of,
    request_id_of,
    unsupported_version,
)
from quantum_suite.hub.wire.outbox import Outbox
from quantum_suite.hub.wire.standard_streams import standard_streams

logger = logging.getLogger(__name__)

MAX_CALLS = 1000
"""Most requests answered at once."""

_MAX_NOTIFICATIONS = 1000
_FLUSH_SECONDS = 2.0
_BATCH_VERSION = "2025-03-26"
_CREDENTIALS = Credentials("stdio", loopback=True)


async def serve_stdio(
    hub: Hub,
    settings: HubSettings,
    stdin: ByteReceiveStream | None = None,
    stdout: ByteSendStream | None = None,
) -> None:
    """Serve one client until its end of the streams closes; then everything it asked for is cancelled.

    Without streams of its own it takes the process's stdin and stdout, which nothing else can write to meanwhile.
    """
    if stdin is not None and stdout is not None:
        await _StdioConversation(hub, settings.limits, stdout).run(stdin)
        return
    with standard_streams() as (wire_in, wire_out):
        await _StdioConversation(hub, settings.limits, stdout or wire_out).run(stdin or wire_in)


class _SharedPeer:
    """The way back to the client. `over` closes it: nothing is sent for a request that ended."""

    __slots__ = ("_modern", "_owner", "over")

    def __init__(self, owner: "_StdioConversation", *, modern: bool) -> None:
        self._owner = owner
        self._modern = modern
        self.over = False

    async def notify(self, method: str, params: Json) -> None:
        """Send a notification; dropped once the request is over."""
        if not self.over:
            await self._owner.send(notification_bytes(method, params))

    async def request(self, method: str, params: Json) -> Json:
        """Ask the client, in the era that has such a direction."""
        if self._modern:
            raise RpcError(
                NO_BACK_CHANNEL, f"2026-07-28 carries no {method} to the client; return an input request."
            )
        return await self._owner.conversation.ask(method, params, self._owner.send)


class _StdioConversation:
    def __init__(self, hub: Hub, limits: Limits, stdout: ByteSendStream) -> None:
        self.conversation = Conversation()
        self._hub = hub
        self._limits = limits
        self._stdout = stdout
        self._outbox = Outbox()
        self._written = anyio.Event()
        self._session: Session | None = None
        self._tasks: TaskGroup
        self._notifications: MemoryObjectSendStream[Json]

    async def run(self, stdin: ByteReceiveStream) -> None:
        """Read until the end, then cancel what is left."""
        self._notifications, heard = anyio.create_memory_object_stream[Json](_MAX_NOTIFICATIONS)
        try:
            async with self._notifications, heard, anyio.create_task_group() as self._tasks:
                self._tasks.start_soon(self._write)
                self._tasks.start_soon(self._tell, heard)
                await self._read(LineReader(stdin, self._limits.max_body_bytes))
                self.conversation.close()
                self._outbox.close()
                with anyio.move_on_after(_FLUSH_SECONDS):
                    await self._written.wait()
                self._tasks.cancel_scope.cancel()
        finally:
            self.conversation.close()
            if self._session is not None:
                with anyio.CancelScope(shield=True):
                    await self._hub.session_closed(self._session)

    async def send(self, message: bytes) -> None:
        """Queue a message; waits while the client lags behind."""
        await self._outbox.put(message + b"\n")

    async def _write(self) -> None:
        try:
            while (data := await self._outbox.take()) is not None:
                await self._stdout.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            logger.info("The client closed its end of stdout")
            self._outbox.close()
            self._tasks.cancel_scope.cancel()
        self._written.set()

    # what comes in

    async def _read(self, lines: LineReader) -> None:
        while True:
            message: Any = None
            try:
                line = await lines.read()
                if line is None:
                    return
                if line.strip():
                    message = decode_json(line, self._limits.max_nesting)
                    await self._take(message)
            except LineTooLong:
                error = RpcError(INVALID_REQUEST, f"The line is longer than {self._limits.max_body_bytes} bytes.")
                await self.send(error_bytes(None, error))
            except RpcError as error:
                await self.send(error_bytes(request_id_of(message), error))

    async def _take(self, message: Any) -> None:
        if isinstance(message, list):
            self._take_batch(message)
            return
        kind = kind_of(message)
        if kind == "response":
            self.conversation.resolve(message)
        elif kind == "notification":
            self._take_notification(message)
        elif not is_modern(message) and message["method"] == "initialize":
            await self._initialize(message)
        else:
            call, peer = self._call(message)
            scope = self._begin(message)
            self._tasks.start_soon(self._answer, message["id"], call, peer, scope)

    def _begin(self, message: Json) -> anyio.CancelScope:
        if len(self.conversation) >= MAX_CALLS:
            raise RpcError(
                RATE_LIMITED, f"{MAX_CALLS} requests are being answered; wait for some.", {"retryAfterSeconds": 1}
            )
        return self.conversation.begin(message["id"])

    def _call(self, message: Json) -> tuple[Call, _SharedPeer]:
        if is_modern(message):
            envelope = open_envelope(message)
            if envelope.version not in MODERN_VERSIONS:
                raise unsupported_version(envelope.version)
            peer = _SharedPeer(self, modern=True)
            call = Call(
                id=new_id("call"),
                method=message["method"],
                params=envelope.params,
                era="modern",
                protocol_version=envelope.version,
                credentials=_CREDENTIALS,
                peer=peer,
                client_capabilities=envelope.capabilities,
                client_info=envelope.client_info,
                request_id=message["id"],
            )
            return call, peer
        if self._session is None:
            raise RpcError(
                INVALID_PARAMS,
                f"params._meta lacks {META_VERSION} and {META_CLIENT_CAPABILITIES}; or send initialize first.",
            )
        peer = _SharedPeer(self, modern=False)
        return session_call(message, _CREDENTIALS, peer, self._session), peer

    async def _answer(
        self, request_id: RequestId, call: Call, peer: _SharedPeer, scope: anyio.CancelScope
    ) -> None:
        try:
            with scope:
                reply = await answer(self._hub, call)
                peer.over = True
                await self.send(reply.body)
        finally:
            peer.over = True
            self.conversation.end(request_id)

    def _take_notification(self, message: Json) -> None:
        params = params_of(message)
        if message["method"] == "notifications/cancelled":
            self.conversation.cancel(params)
        elif self._session is not None:
            if message["method"] == "notifications/initialized":
                self._session.initialized = True
            try:
                self._notifications.send_nowait(message)
            except anyio.WouldBlock:
                logger.warning("Dropped a notification: %d are waiting", _MAX_NOTIFICATIONS)

    async def _tell(self, heard: MemoryObjectReceiveStream[Json]) -> None:
        """Hand notifications to the hub in order, beside the reader: the hub may ask the client something."""
        async for message in heard:
            if self._session is not None:
                try:
                    await self._hub.session_notified(self._session, message["method"], params_of(message))
                except RpcError as error:
                    logger.info("Notification %s was not taken: %s", message["method"][:100], error.message)
                except Exception:
                    logger.exception("Notification %s failed by a bug", message["method"][:100])

    async def _initialize(self, message: Json) -> None:
        if self._session is not None:
            raise RpcError(INVALID_REQUEST, "The session is initialized already.")
        call = initialize_call(message, _CREDENTIALS, NoPeer())
        result = await outcome(self._hub, call)
        if isinstance(result, RpcError):
            raise result
        version = result.get("protocolVersion")
        if not isinstance(version, str):
            logger.error("The hub's initialize result names no protocolVersion (call %s)", call.id)
            raise internal_error(call)
        principal = call.principal or await self._hub.authenticate(_CREDENTIALS)
        self._session = Session(
            id=secrets.token_urlsafe(24),
            protocol_version=version,
            capabilities=call.client_capabilities,
            client_info=call.client_info or {},
            principal=principal,
            peer=_SharedPeer(self, modern=False),
        )
        await self.send(encode({"jsonrpc": "2.0", "id": message["id"], "result": result}))
        self._hub.session_opened(self._session)

    # batches

    def _take_batch(self, messages: list[Any]) -> None:
        if self._session is None or self._session.protocol_version != _BATCH_VERSION:
            raise RpcError(
                INVALID_REQUEST, f"Only a {_BATCH_VERSION} session has batches; send one message a line."
            )
        if not 0 < len(messages) <= MAX_BATCH:
            raise RpcError(INVALID_REQUEST, f"A batch holds 1 to {MAX_BATCH} messages.")
        kinds = [kind_of(message) for message in messages]
        requests = [message for message, kind in zip(messages, kinds, strict=True) if kind == "request"]
        if any(message["method"] == "initialize" for message in requests):
            raise RpcError(INVALID_REQUEST, "initialize must not be in a batch.")
        for message, kind in zip(messages, kinds, strict=True):
            if kind == "response":
                self.conversation.resolve(message)
            elif kind == "notification":
                self._take_notification(message)
        if requests:
            self._tasks.start_soon(self._answer_batch, requests)

    async def _answer_batch(self, requests: list[Json]) -> None:
        replies: list[bytes] = []

        async def one(message: Json) -> None:
            try:
                call, peer = self._call(message)
                scope = self._begin(message)
            except RpcError as error:
                replies.append(error_bytes(message["id"], error))
                return
            try:
                with scope:
                    replies.append((await answer(self._hub, call)).body)
            finally:
                peer.over = True
                self.conversation.end(message["id"])

        async with anyio.create_task_group() as tasks:
            for message in requests:
                tasks.start_soon(one, message)
        if replies:
            await self.send(b"[" + b",".join(replies) + b"]")
