"""2025-03-26 to 2025-11-25 over Streamable HTTP: sessions, streams both ways, resumption."""

import asyncio
import logging
from typing import Any

import anyio

from quantum_suite.hub.access.revocation import until_refused
from quantum_suite.hub.call import (
    HANDSHAKE_VERSIONS,
    INVALID_REQUEST,
    MODERN_VERSIONS,
    RATE_LIMITED,
    SESSION_NOT_FOUND,
    Hub,
    Json,
    NoPeer,
    RpcError,
    Session,
)
from quantum_suite.hub.settings import Limits
from quantum_suite.hub.wire.conversation import initialize_call
from quantum_suite.hub.wire.event_stream import EventStreamResponse
from quantum_suite.hub.wire.http import (
    HANDSHAKE_STATUS,
    HttpRequest,
    check_accept,
    send_body,
    send_empty,
    send_error,
)
from quantum_suite.hub.wire.in_flight import CallsInFlight
from quantum_suite.hub.wire.limits import MAX_BATCH
from quantum_suite.hub.wire.messages import (
    encode,
    error_bytes,
    internal_error,
    kind_of,
    outcome,
    params_of,
)
from quantum_suite.hub.wire.post_exchange import PostExchange, watching
from quantum_suite.hub.wire.rejection import Rejection, shutting_down
from quantum_suite.hub.wire.sessions import HttpSession, StandalonePeer

logger = logging.getLogger(__name__)

_BATCH_VERSION = "2025-03-26"


class HandshakeEndpoint:
    """Answers POST, GET and DELETE of the handshake era, and keeps its sessions."""

    def __init__(self, hub: Hub, limits: Limits, calls: CallsInFlight) -> None:
        self._hub = hub
        self._limits = limits
        self._calls = calls
        self._sessions: dict[str, HttpSession] = {}
        self._opening = 0

    @property
    def session_count(self) -> int:
        """How many sessions are open."""
        return len(self._sessions)

    async def post(self, request: HttpRequest, message: Any) -> None:
        """Answer one decoded message, or a batch; raises `Rejection` or `RpcError` when it is not a proper one."""
        self._check_version(request)
        if isinstance(message, list):
            session = self._session(request)
            self._check_batch(session, message)
            await self._take(request, session, message, batch=True)
        elif kind_of(message) == "request" and message["method"] == "initialize":
            await self._initialize(request, message)
        else:
            await self._take(request, self._session(request), [message], batch=False)

    @staticmethod
    def _check_version(request: HttpRequest) -> None:
        version = request.text(b"mcp-protocol-version")
        if version is not None and version not in HANDSHAKE_VERSIONS:
            listed = ", ".join(HANDSHAKE_VERSIONS)
            raise RpcError(
                INVALID_REQUEST, f"MCP-Protocol-Version {version[:40]!r} has no sessions; these have: {listed}."
            )

    @staticmethod
    def _check_batch(session: HttpSession, messages: list[Any]) -> None:
        if session.session.protocol_version != _BATCH_VERSION:
            raise RpcError(INVALID_REQUEST, f"Only {_BATCH_VERSION} has batches; send one message a POST.")
        if not 0 < len(messages) <= MAX_BATCH:
            raise RpcError(INVALID_REQUEST, f"A batch holds 1 to {MAX_BATCH} messages.")
        for message in messages:
            if kind_of(message) == "request" and message["method"] == "initialize":
                raise RpcError(INVALID_REQUEST, "initialize must not be in a batch.")

    def _session(self, request: HttpRequest) -> HttpSession:
        session_id = request.text(b"mcp-session-id")
        if session_id is None:
            versions = ", ".join(MODERN_VERSIONS)
            raise RpcError(
                INVALID_REQUEST,
                "The Mcp-Session-Id header is missing. Send initialize first and use the session it opens, or "
                f"speak {versions} with the MCP-Protocol-Version header and its _meta.",
            )
        session = self._sessions.get(session_id)
        if session is None:
            raise self._not_found()
        session.touch()
        return session

    @staticmethod
    def _not_found() -> Rejection:
        error = RpcError(SESSION_NOT_FOUND, "There is no such session, or it ended; initialize again.")
        return Rejection(404, error)

    async def _check_owner(self, request: HttpRequest, session: HttpSession) -> None:
        """Answer anybody but the session's principal as if the session did not exist."""
        principal = await self._hub.authenticate(request.credentials)
        if principal.id != session.session.principal.id:
            raise self._not_found()

    def _refuse_while_draining(self) -> None:
        if self._calls.draining:
            raise shutting_down()

    # initialize

    async def _initialize(self, request: HttpRequest, message: Json) -> None:
        if b"mcp-session-id" in request.headers:
            raise RpcError(INVALID_REQUEST, "initialize opens a session; send it without Mcp-Session-Id.")
        self._refuse_while_draining()
        if len(self._sessions) + self._opening >= self._limits.max_sessions:
            raise Rejection(
                503,
                RpcError(
                    RATE_LIMITED,
                    f"{self._limits.max_sessions} sessions are open, which is the limit "
                    "(QUANTUM_LIMITS_MAX_SESSIONS). End one with DELETE, or speak 2026-07-28, which needs none.",
                ),
                [(b"retry-after", b"30")],
                request_id=message["id"],
            )
        self._opening += 1
        scope = anyio.CancelScope()
        self._calls.add(scope)
        opened: HttpSession | RpcError | None = None
        try:
            with scope, watching(request, scope.cancel):
                opened, result = await self._open(request, message)
        finally:
            self._opening -= 1
            self._calls.discard(scope)
        if opened is None:
            if self._calls.draining:
                self._refuse_while_draining()
        elif isinstance(opened, RpcError):
            await send_error(request, HANDSHAKE_STATUS, opened, error_bytes(message["id"], opened))
        else:
            self._sessions[opened.id] = opened
            self._hub.session_opened(opened.session)
            body = encode({"jsonrpc": "2.0", "id": message["id"], "result": result})
            await send_body(request.send, 200, body, [(b"mcp-session-id", opened.id.encode())])

    async def _open(self, request: HttpRequest, message: Json) -> tuple[HttpSession | RpcError, Json]:
        call = initialize_call(message, request.credentials, NoPeer())
        result = await outcome(self._hub, call)
        if isinstance(result, RpcError):
            return result, {}
        version = result.get("protocolVersion")
        if not isinstance(version, str):
            logger.error("The hub's initialize result names no protocolVersion (call %s)", call.id)
            return internal_error(call), {}
        try:
            principal = call.principal or await self._hub.authenticate(request.credentials)
        except RpcError as error:
            return error, {}
        opened = HttpSession()
        opened.session = Session(
            id=opened.id,
            protocol_version=version,
            capabilities=call.client_capabilities,
            client_info=call.client_info or {},
            principal=principal,
            peer=StandalonePeer(opened),
        )
        return opened, result

    # messages on a session

    async def _take(
        self, request: HttpRequest, session: HttpSession, messages: list[Json], *, batch: bool
    ) -> None:
        requests: list[Json] = []
        notifications: list[Json] = []
        responses: list[Json] = []
        for message in messages:
            kind = kind_of(message)
            (requests if kind == "request" else notifications if kind == "notification" else responses).append(
                message
            )
        if notifications or responses:
            await self._check_owner(request, session)
        for message in responses:
            session.resolve(message)
        session.busy += 1
        try:
            heard = [message for message in notifications if not self._obeyed(session, message)]
            if requests:
                await self._tell(session, heard)
                await self._answer(request, session, requests, batch=batch)
            else:
                # Accepted first: the hub may ask the client about it, who answers only after this response.
                await send_empty(request.send, 202)
                await self._tell(session, heard)
        finally:
            session.busy -= 1
            session.touch()

    @staticmethod
    def _obeyed(session: HttpSession, message: Json) -> bool:
        if message["method"] == "notifications/cancelled":
            session.cancel(message.get("params"))
            return True
        if message["method"] == "notifications/initialized":
            session.session.initialized = True
        return False

    async def _tell(self, session: HttpSession, notifications: list[Json]) -> None:
        for message in notifications:
            async with session.notifying:
                try:
                    await self._hub.session_notified(session.session, message["method"], params_of(message))
                except RpcError as error:
                    logger.info("Notification %s was not taken: %s", message["method"][:100], error.message)
                except Exception:
                    logger.exception("Notification %s failed by a bug", message["method"][:100])

    async def _answer(
        self, request: HttpRequest, session: HttpSession, requests: list[Json], *, batch: bool
    ) -> None:
        self._refuse_while_draining()
        exchange = PostExchange(self._hub, request, session)
        exchange.reserve(requests)
        self._calls.add(exchange.stream.scope)
        try:
            await exchange.run(requests, batch=batch)
        finally:
            self._calls.discard(exchange.stream.scope)
            exchange.release(requests)

    # GET, DELETE

    async def get(self, request: HttpRequest) -> None:
        """Open the standalone stream, or take up a broken one by `Last-Event-ID`."""
        self._check_version(request)
        check_accept(request.headers.get(b"accept"), (b"text/event-stream",))
        session = self._session(request)
        await self._check_owner(request, session)
        self._refuse_while_draining()
        event_id = request.text(b"last-event-id")
        point = (session.standalone, None) if event_id is None else session.resume_point(event_id)
        if point is None:
            raise RpcError(
                INVALID_REQUEST, "The stream of that Last-Event-ID is unknown or too old; send the request again."
            )
        stream, after = point
        if after is None and stream.response is not None:
            raise Rejection(
                409, RpcError(INVALID_REQUEST, "This session has a GET stream already; one is the limit.")
            )
        response = EventStreamResponse(request)
        stream.attach(response, after)
        guard = asyncio.get_running_loop().create_task(self._drop_when_refused(request, session, response))
        try:
            with watching(request, response.drop):
                await response.run()
        finally:
            guard.cancel()
            stream.detach(response)
            session.touch()

    async def _drop_when_refused(
        self, request: HttpRequest, session: HttpSession, response: EventStreamResponse
    ) -> None:
        await until_refused(self._hub.authenticate, request.credentials, session.session.principal)
        response.drop()

    async def delete(self, request: HttpRequest) -> None:
        """End a session."""
        self._check_version(request)
        session = self._session(request)
        await self._check_owner(request, session)
        await self._close(session)
        await send_empty(request.send, 204)

    async def _close(self, session: HttpSession) -> None:
        if self._sessions.pop(session.id, None) is not None:
            session.close()
            try:
                await self._hub.session_closed(session.session)
            except Exception:
                logger.exception("Closing a session failed by a bug")

    async def sweep(self, now: float) -> None:
        """End idle sessions, and forget events that nobody came back for."""
        for session in list(self._sessions.values()):
            if session.idle_seconds(now) >= self._limits.session_idle_seconds:
                await self._close(session)
            else:
                session.forget_old(now)

    def end_standalone_streams(self) -> None:
        """Close every GET stream: the hub is going."""
        for session in self._sessions.values():
            session.standalone.finish()

    async def close_all(self) -> None:
        """End every session."""
        for session in list(self._sessions.values()):
            await self._close(session)
