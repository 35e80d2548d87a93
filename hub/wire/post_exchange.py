"""The requests of one handshake-era POST being answered."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio

from quantum_suite.hub.call import CONNECTION_CLOSED, Hub, Json, RpcError
from quantum_suite.hub.wire.conversation import session_call
from quantum_suite.hub.wire.event_stream import KEEPALIVE_SECONDS, EventStreamResponse
from quantum_suite.hub.wire.http import HANDSHAKE_STATUS, HttpRequest, send_body, send_error, until_disconnected
from quantum_suite.hub.wire.messages import Answer, answer, error_bytes, request_id_of
from quantum_suite.hub.wire.rejection import shutting_down
from quantum_suite.hub.wire.sessions import HttpSession, PostPeer, PostStream

_TOO_LATE = RpcError(
    CONNECTION_CLOSED,
    "The stream broke and was not taken up again in time, so the call was cancelled; call again.",
)


@contextmanager
def watching(request: HttpRequest, on_lost: Callable[[], None]) -> Iterator[None]:
    """Call `on_lost` if the client goes away meanwhile."""

    async def watch() -> None:
        await until_disconnected(request.receive)
        on_lost()

    watcher = asyncio.get_running_loop().create_task(watch())
    try:
        yield
    finally:
        watcher.cancel()


class PostExchange:
    """The requests of one POST being answered: with JSON if the answers come first, else on a stream."""

    def __init__(self, hub: Hub, request: HttpRequest, session: HttpSession) -> None:
        self._hub = hub
        self._request = request
        self._session = session
        self._lost = False
        self._replies: list[Answer] = []
        self._scopes: list[anyio.CancelScope] = []
        self._response: EventStreamResponse | None = None
        self._pump: asyncio.Task[None] | None = None
        self.stream = PostStream(session, self._begin)

    def _begin(self, stream: PostStream) -> EventStreamResponse:
        self._response = EventStreamResponse(self._request, on_stall=self._connection_lost)
        self._pump = asyncio.get_running_loop().create_task(self._response.run())
        return self._response

    def _connection_lost(self) -> None:
        self._lost = True
        if self._response is None:
            self.stream.scope.cancel()
        else:
            self._response.drop()
            self.stream.detach(self._response)

    def reserve(self, requests: list[Json]) -> None:
        """Register every request's id; raises `RpcError`, with none registered, when one is in use."""
        for number, message in enumerate(requests):
            try:
                self._scopes.append(self._session.begin(message["id"]))
            except RpcError:
                self.release(requests[:number])
                raise

    def release(self, requests: list[Json]) -> None:
        """Forget the requests' ids."""
        for message in requests:
            self._session.end(message["id"])

    async def run(self, requests: list[Json], *, batch: bool) -> None:
        """Answer, and respond."""
        silence = asyncio.get_running_loop().call_later(KEEPALIVE_SECONDS, self.stream.begin)
        try:
            with self.stream.scope, watching(self._request, self._connection_lost):
                if batch:
                    async with anyio.create_task_group() as tasks:
                        for message, scope in zip(requests, self._scopes, strict=True):
                            tasks.start_soon(self._one, message, scope)
                else:
                    await self._one(requests[0], self._scopes[0])
                silence.cancel()
                await self._respond(batch=batch)
            if self.stream.scope.cancelled_caught:
                await self._respond_cancelled(requests)
        finally:
            silence.cancel()
            self.stream.finish()
            if self._pump is not None and not self._pump.done():
                self._pump.cancel()

    async def _one(self, message: Json, scope: anyio.CancelScope) -> None:
        with scope:
            try:
                peer = PostPeer(self._session, self.stream)
                call = session_call(message, self._request.credentials, peer, self._session.session)
            except RpcError as error:
                reply = Answer(error_bytes(request_id_of(message), error), error)
            else:
                reply = await answer(self._hub, call)
            if self.stream.begun:
                await self.stream.emit(reply.body)
            else:
                self._replies.append(reply)

    async def _respond(self, *, batch: bool) -> None:
        if self.stream.begun:
            for reply in self._replies:
                await self.stream.emit(reply.body)
        if self.stream.begun or not self._replies:
            # Without a reply the client cancelled, and is owed none: the stream ends empty.
            self.stream.begin()
            self.stream.finish()
            if self._pump is not None:
                await self._pump
        elif batch:
            await send_body(self._request.send, 200, b"[" + b",".join(r.body for r in self._replies) + b"]")
        elif self._replies[0].error is not None:
            await send_error(self._request, HANDSHAKE_STATUS, self._replies[0].error, self._replies[0].body)
        else:
            await send_body(self._request.send, 200, self._replies[0].body)

    async def _respond_cancelled(self, requests: list[Json]) -> None:
        """Say why nothing comes, to a client that is still there or comes back later."""
        if self.stream.begun:
            error = _TOO_LATE if self._lost else shutting_down().error
            for message in requests:
                await self.stream.emit(error_bytes(message["id"], error))
            self.stream.finish()
            if self._pump is not None:
                await self._pump
        elif not self._lost:
            raise shutting_down()
