"""Handshake sessions over HTTP: their event streams, what those replay, and when they end."""

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Callable

import anyio

from quantum_suite.hub.call import CONNECTION_CLOSED, Json, Peer, RpcError, Session
from quantum_suite.hub.wire.conversation import Conversation
from quantum_suite.hub.wire.event_stream import EventStreamResponse, event, priming_event
from quantum_suite.hub.wire.messages import notification_bytes

RESUME_SECONDS = 30.0
"""How long a call goes on after its stream broke, if the client can resume it, and events are kept after it."""

RETRY_MILLISECONDS = 1000
_PRIMES_SINCE = "2025-11-25"
_RING_EVENTS = 256
_RING_BYTES = 1024 * 1024


class EventStream:
    """One stream of a session, which may outlive the connections that carry it.

    Every event has an id of the form `<stream>_<count>`, unique in the session; number 0 is the standalone stream.
    """

    def __init__(self, session: "HttpSession", number: int) -> None:
        self.number = number
        self.done_at: float | None = None
        self.response: EventStreamResponse | None = None
        self.events: deque[tuple[int, bytes]] = deque()
        self._session = session
        self._last = 0
        self._delivered = 0

    async def emit(self, message: bytes) -> None:
        """Send a message, now or to whoever attaches next."""
        if self.done_at is not None:
            return
        self._last += 1
        frame = event(message, f"{self.number}_{self._last}")
        self._session.remember(self, self._last, frame)
        response = self.response
        if response is not None and not response.closed:
            self._delivered = self._last
            await self.pass_on(response, frame)

    async def pass_on(self, response: EventStreamResponse, frame: bytes) -> None:
        """Hand a frame over without waiting: what travels on the standalone stream is announced to others, too."""
        response.offer(frame)

    def attach(self, response: EventStreamResponse, after: int | None) -> None:
        """Send from here on through `response`: first what came after event `after`, or what nobody was sent.

        A connection attached before ends: the client says that it broke.
        """
        if self.response is not None:
            self.response.close()
        if after is None and self._session.primes:
            response.write_now(priming_event(f"{self.number}_{self._delivered}", RETRY_MILLISECONDS))
        start = self._delivered if after is None else after
        for count, frame in self.events:
            if count > start:
                response.write_now(frame)
        self._delivered = self._last
        if self.done_at is not None:
            response.close()
        else:
            self.response = response

    def detach(self, response: EventStreamResponse) -> None:
        """Take note that a connection ended."""
        if self.response is response:
            self.response = None
            self.on_detached()

    def on_detached(self) -> None:
        """Nothing depends on the standalone stream's connection."""

    def finish(self) -> None:
        """End the stream: nothing is emitted any more."""
        self.done_at = time.monotonic()
        if self.response is not None:
            self.response.close()
            self.response = None


class StandalonePeer(Peer):
    """The way to a session's client that belongs to no request: the GET stream."""

    def __init__(self, session: "HttpSession") -> None:
        self._session = session

    async def notify(self, method: str, params: Json) -> None:
        """Send a notification; kept for the client's next GET while there is none."""
        await self._session.standalone.emit(notification_bytes(method, params))

    async def request(self, method: str, params: Json) -> Json:
        """Ask the client, on the GET stream."""
        return await self._session.ask(method, params, self._session.standalone.emit)


class HttpSession(Conversation):
    """One session: the hub's `Session`, its streams, and the last events of each."""

    session: Session

    def __init__(self) -> None:
        super().__init__()
        self.id = secrets.token_urlsafe(24)
        self.standalone = EventStream(self, 0)
        self.notifying = anyio.Lock()
        """Held while the hub takes a notification, so that they keep their order."""
        self.busy = 0
        """HTTP requests being answered."""
        self._used_at = time.monotonic()
        self._streams: dict[int, EventStream] = {0: self.standalone}
        self._order: deque[EventStream] = deque()
        self._kept_bytes = 0
        self._numbers = 0

    @property
    def primes(self) -> bool:
        """Whether the client understands an event without data, which lets it resume from the start."""
        return self.session.protocol_version >= _PRIMES_SINCE

    def touch(self) -> None:
        """Take note that the client was here."""
        self._used_at = time.monotonic()

    def idle_seconds(self, now: float) -> float:
        """How long nothing was asked, answered or connected."""
        if self.busy or len(self) or any(stream.response is not None for stream in self._streams.values()):
            return 0.0
        return now - self._used_at

    def next_number(self) -> int:
        """Return the number of the next stream."""
        self._numbers += 1
        return self._numbers

    def remember(self, stream: EventStream, count: int, frame: bytes) -> None:
        """Keep an event for replay; the session's oldest ones give way. The newest is kept whatever its size."""
        self._streams[stream.number] = stream
        stream.events.append((count, frame))
        self._order.append(stream)
        self._kept_bytes += len(frame)
        while len(self._order) > 1 and (len(self._order) > _RING_EVENTS or self._kept_bytes > _RING_BYTES):
            oldest = self._order.popleft()
            self._kept_bytes -= len(oldest.events.popleft()[1])
            self._forget_if_spent(oldest)

    def _forget_if_spent(self, stream: EventStream) -> None:
        if not stream.events and stream.done_at is not None:
            self._streams.pop(stream.number, None)

    def begin_stream(self, stream: EventStream) -> None:
        """Let a stream be resumed, even before its first event."""
        self._streams[stream.number] = stream

    def forget_old(self, now: float) -> None:
        """Drop the events of streams that ended a while ago."""
        old = {s for s in self._streams.values() if s.done_at is not None and now - s.done_at > RESUME_SECONDS}
        for stream in old:
            del self._streams[stream.number]
            self._kept_bytes -= sum(len(frame) for _, frame in stream.events)
        if old:
            self._order = deque(stream for stream in self._order if stream not in old)

    def resume_point(self, event_id: str) -> tuple[EventStream, int] | None:
        """Return the stream an event id is of, and its place in it; None when it is unknown or was let go."""
        number, _, count = event_id.partition("_")
        if not (number.isdecimal() and count.isdecimal() and len(event_id) < 40 and event_id.isascii()):
            return None
        stream = self._streams.get(int(number))
        return None if stream is None else (stream, int(count))

    def close(self) -> None:
        """End every stream, cancel what is being answered, fail what is being asked."""
        super().close()
        for stream in list(self._streams.values()):
            stream.finish()


class PostStream(EventStream):
    """The stream of one POST: begins with the first message that precedes the answer.

    When its connection breaks, the client may still come back if it has seen an event id; then the work goes on
    for `RESUME_SECONDS`, else it is cancelled at once.
    """

    def __init__(self, session: HttpSession, begin: Callable[["PostStream"], EventStreamResponse]) -> None:
        super().__init__(session, session.next_number())
        self.scope = anyio.CancelScope()
        self.begun = False
        self._begin = begin
        self._grace: asyncio.TimerHandle | None = None
        self._http_session = session

    def begin(self) -> None:
        """Commit the response to being a stream of events."""
        if not self.begun and self.done_at is None:
            self.begun = True
            self._http_session.begin_stream(self)
            super().attach(self._begin(self), None)

    async def emit(self, message: bytes) -> None:
        """Send a message on this request's response."""
        self.begin()
        await super().emit(message)

    async def pass_on(self, response: EventStreamResponse, frame: bytes) -> None:
        """Hand a frame over; waits while the reader lags, which slows down the call alone."""
        await response.write(frame)

    def attach(self, response: EventStreamResponse, after: int | None) -> None:
        """Take up the stream on another connection."""
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None
        super().attach(response, after)

    def on_detached(self) -> None:
        """Wait a while for the client to come back."""
        if self.done_at is None and self._grace is None:
            self._grace = asyncio.get_running_loop().call_later(RESUME_SECONDS, self.scope.cancel)

    def finish(self) -> None:
        """End the stream: nothing is emitted any more."""
        super().finish()
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None


class PostPeer(Peer):
    """The way back to the sender of a POST."""

    def __init__(self, session: HttpSession, stream: PostStream) -> None:
        self._session = session
        self._stream = stream

    async def notify(self, method: str, params: Json) -> None:
        """Send a notification on the response stream; dropped once that ended."""
        if self._stream.done_at is None:
            await self._stream.emit(notification_bytes(method, params))

    async def request(self, method: str, params: Json) -> Json:
        """Ask the client on the response stream; its answer comes in a POST of its own."""
        if self._stream.done_at is not None:
            raise RpcError(CONNECTION_CLOSED, f"The request was answered already; nobody answers {method}.")
        return await self._session.ask(method, params, self._stream.emit)
