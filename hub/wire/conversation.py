"""What one handshake-era conversation has open in both directions."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from quantum_suite.core.ids import new_id
from quantum_suite.hub.call import (
    CONNECTION_CLOSED,
    INVALID_REQUEST,
    Call,
    Credentials,
    Json,
    Peer,
    RpcError,
    Session,
)
from quantum_suite.hub.wire.messages import RequestId, encode, notification_bytes, params_of

Emit = Callable[[bytes], Awaitable[None]]
"""Sends one message, written as JSON, to the client."""


class Conversation:
    """Requests of the client being answered, and requests to the client waiting for an answer."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Json]] = {}
        self._answering: dict[RequestId, anyio.CancelScope] = {}
        self._closed = False

    def __len__(self) -> int:
        """How many of the client's requests are being answered."""
        return len(self._answering)

    def begin(self, request_id: RequestId) -> anyio.CancelScope:
        """Register a request; raises `RpcError` when its id is in use."""
        if request_id in self._answering:
            raise RpcError(INVALID_REQUEST, f"Another request with the id {request_id!r} is still being answered.")
        scope = self._answering[request_id] = anyio.CancelScope()
        return scope

    def end(self, request_id: RequestId) -> None:
        """Forget a request that was answered or cancelled."""
        self._answering.pop(request_id, None)

    def cancel(self, params: Any) -> None:
        """Obey `notifications/cancelled`: an unknown or malformed id is ignored, as the specification asks."""
        request_id = params.get("requestId") if isinstance(params, dict) else None
        if isinstance(request_id, str | int) and not isinstance(request_id, bool):
            scope = self._answering.get(request_id)
            if scope is not None:
                scope.cancel()

    async def ask(self, method: str, params: Json, emit: Emit) -> Json:
        """Send a request to the client and return its result; raises `RpcError` with the client's own error.

        When the awaiting task is cancelled, the client is told.
        """
        if self._closed:
            raise RpcError(CONNECTION_CLOSED, f"The session ended; nobody answers {method}.")
        request_id = next(self._ids)
        future: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._asked[request_id] = future
        try:
            await emit(encode({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}))
            return await future
        except asyncio.CancelledError:
            if not self._closed:
                with anyio.move_on_after(1, shield=True):
                    await emit(notification_bytes("notifications/cancelled", {"requestId": request_id}))
            raise
        finally:
            del self._asked[request_id]

    def resolve(self, message: Json) -> None:
        """Take the client's response; one to a question nobody asks any more is dropped."""
        request_id = message["id"]
        future = self._asked.get(request_id) if type(request_id) is int else None
        if future is None or future.done():
            return
        if "result" in message:
            result = message["result"]
            if isinstance(result, dict):
                future.set_result(result)
            else:
                future.set_exception(RpcError(INVALID_REQUEST, "The client's result is no object."))
            return
        error = message["error"] if isinstance(message["error"], dict) else {}
        code, text = error.get("code"), error.get("message")
        future.set_exception(
            RpcError(
                code if type(code) is int else INVALID_REQUEST,
                text if isinstance(text, str) else "The client refused without saying why.",
                error.get("data"),
            )
        )

    def close(self) -> None:
        """Cancel what is being answered, and fail what is being asked."""
        self._closed = True
        for scope in list(self._answering.values()):
            scope.cancel()
        for future in self._asked.values():
            if not future.done():
                future.set_exception(RpcError(CONNECTION_CLOSED, "The session ended before the client answered."))


def initialize_call(message: Json, credentials: Credentials, peer: Peer) -> Call:
    """Return the call an `initialize` request makes; raises `RpcError` when its params are no object."""
    params = params_of(message)
    requested, capabilities, info = (params.get(key) for key in ("protocolVersion", "capabilities", "clientInfo"))
    return Call(
        id=new_id("call"),
        method="initialize",
        params=params,
        era="handshake",
        protocol_version=requested if isinstance(requested, str) else "",
        credentials=credentials,
        peer=peer,
        client_capabilities=capabilities if isinstance(capabilities, dict) else {},
        client_info=info if isinstance(info, dict) else None,
        request_id=message["id"],
    )


def session_call(message: Json, credentials: Credentials, peer: Peer, session: Session) -> Call:
    """Return the call a request on an open session makes; raises `RpcError` when its params are no object."""
    return Call(
        id=new_id("call"),
        method=message["method"],
        params=params_of(message),
        era="handshake",
        protocol_version=session.protocol_version,
        credentials=credentials,
        peer=peer,
        client_capabilities=session.capabilities,
        client_info=session.client_info,
        request_id=message["id"],
        session=session,
    )
