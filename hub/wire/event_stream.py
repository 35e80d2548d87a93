"""One HTTP response that carries server-sent events."""

from collections.abc import Callable

import anyio

from quantum_suite.hub.wire.http import HttpRequest
from quantum_suite.hub.wire.outbox import Outbox

KEEPALIVE_SECONDS = 15.0
"""After this much silence a comment is sent, so that nothing between takes the connection for dead."""

STALL_SECONDS = 30.0
"""A reader that takes nothing for so long is given up."""

_HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
_PING = b": ping\n\n"


def event(message: bytes, event_id: str | None = None) -> bytes:
    """Return a JSON-RPC message (no line breaks in it) as an event."""
    if event_id is None:
        return b"event: message\ndata: " + message + b"\n\n"
    return b"event: message\nid: " + event_id.encode() + b"\ndata: " + message + b"\n\n"


def priming_event(event_id: str, retry_milliseconds: int) -> bytes:
    """Return the empty event from which a client can resume (2025-11-25 transports, SEP-1699)."""
    return b"id: %s\nretry: %d\ndata: \n\n" % (event_id.encode(), retry_milliseconds)


class EventStreamResponse:
    """Writes events to one connection until closed or until its reader stalls.

    `on_stall` is called once when the reader is given up; the connection is then dropped.
    """

    def __init__(self, request: HttpRequest, on_stall: Callable[[], None] | None = None) -> None:
        self._request = request
        self._on_stall = on_stall
        self._outbox = Outbox(stall_seconds=STALL_SECONDS, on_stall=self._stalled)
        self._scope = anyio.CancelScope()
        self.delivered = False
        """Whether the response was written to its end."""

    @property
    def closed(self) -> bool:
        """Whether nothing more is taken in."""
        return self._outbox.closed

    async def write(self, frame: bytes) -> None:
        """Queue an event; waits while the reader lags."""
        await self._outbox.put(frame)

    def offer(self, frame: bytes) -> None:
        """Queue an event without waiting; a reader that lags too far is given up."""
        self._outbox.offer(frame)

    def write_now(self, frame: bytes) -> None:
        """Queue an event without waiting, whatever is queued already."""
        self._outbox.put_now(frame)

    def close(self) -> None:
        """End the response once what is queued was written."""
        self._outbox.close()

    def drop(self) -> None:
        """Write nothing more: the reader is gone."""
        self._outbox.close()
        self._scope.cancel()

    def _stalled(self) -> None:
        self._scope.cancel()
        if self._on_stall is not None:
            self._on_stall()
        if self._request.abort is not None:
            self._request.abort()

    async def run(self) -> None:
        """Write until the end. When its reader stalls the response stays incomplete, and the connection breaks."""
        send = self._request.send
        with self._scope:
            await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
            while (data := await self._outbox.take(KEEPALIVE_SECONDS)) is not None:
                with anyio.move_on_after(STALL_SECONDS) as patience:
                    await send({"type": "http.response.body", "body": data or _PING, "more_body": True})
                if patience.cancelled_caught:
                    self._outbox.stall()
                    return
            await send({"type": "http.response.body", "body": b""})
            self.delivered = True
