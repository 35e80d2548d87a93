"""The standing GET stream of a handshake session: what the server says that belongs to no request."""

import asyncio
import logging
from collections.abc import Callable

import anyio

from quantum_suite.hub.upstreams.conversation import Conversation
from quantum_suite.hub.upstreams.event_stream import Event
from quantum_suite.hub.upstreams.http_client import HttpClient
from quantum_suite.hub.upstreams.http_connection import HttpError
from quantum_suite.hub.upstreams.http_reply import MAX_GARBAGE, receive

_FIRST_PAUSE_SECONDS = 1.0
_RETRIED = frozenset({408, 429, 500, 502, 503, 504})

logger = logging.getLogger(__name__)


class StandingStream:
    """Keeps the stream open until `close`, resuming it where the server numbers its events.

    A server without one (405) is left in peace; one that forgot the session is reported.
    """

    def __init__(
        self,
        client: HttpClient,
        conversation: Conversation,
        request: Callable[[str | None], bytes],
        session_lost: Callable[[], None],
        longest_pause_seconds: float,
    ) -> None:
        """`request` returns the GET to send, given the id of the last event."""
        self._client = client
        self._conversation = conversation
        self._request = request
        self._session_lost = session_lost
        self._longest_pause_seconds = longest_pause_seconds
        self._scope = anyio.CancelScope()
        self._last_event_id: str | None = None

    def close(self) -> None:
        """End the stream."""
        self._scope.cancel()

    async def run(self) -> None:
        """Keep the stream open."""
        with self._scope:
            pause = _FIRST_PAUSE_SECONDS
            while True:
                listener = _Listener(self._conversation)
                again = await self._listen(listener)
                if listener.last_event_id is not None:
                    self._last_event_id = listener.last_event_id
                if not again:
                    return
                pause = _FIRST_PAUSE_SECONDS if listener.heard else min(pause * 2, self._longest_pause_seconds)
                asked = pause if listener.retry_ms is None else listener.retry_ms / 1000
                await anyio.sleep(min(asked, self._longest_pause_seconds))

    async def _listen(self, listener: "_Listener") -> bool:
        """Hold one connection; returns whether to open another when it ended."""
        try:
            connection = await self._client.send(self._request(self._last_event_id), listener, long_lived=True)
        except HttpError as error:
            logger.debug("no standing stream: the server %s", error)
            return True
        try:
            await listener.ended
        finally:
            connection.abort()
        if listener.status == 404:
            self._session_lost()
        return listener.is_stream or listener.status == 0 or listener.status in _RETRIED


class _Listener:
    """Takes the messages of the stream."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._garbage = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.status = 0
        self.is_stream = False
        self.heard = False
        self.last_event_id: str | None = None
        self.retry_ms: int | None = None

    def on_head(self, status: int, headers: dict[str, str]) -> None:
        self.status = status
        self.is_stream = status == 200 and headers.get("content-type", "").lower().startswith("text/event-stream")

    def on_event(self, event: Event) -> None:
        self.heard = True
        self.last_event_id = event.id if event.id is not None else self.last_event_id
        self.retry_ms = event.retry_ms if event.retry_ms is not None else self.retry_ms
        if event.data:
            wrong = receive(self._conversation, event.data, None)
            self._garbage = self._garbage + 1 if wrong else 0
            if self._garbage > MAX_GARBAGE or self._conversation.flooded():
                self._end()

    def on_done(self, body: bytes) -> None:
        self._end()

    def on_lost(self, error: HttpError) -> None:
        self._end()

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)
