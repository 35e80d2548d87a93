"""Turns HTTP responses into what happens to the request they answer."""

import logging
from collections.abc import Callable
from urllib.parse import urlsplit

import orjson

from quantum_suite.hub.call import UPSTREAM_UNAVAILABLE, RpcError
from quantum_suite.hub.upstreams.conversation import Conversation, protocol_broken, settle
from quantum_suite.hub.upstreams.event_stream import Event
from quantum_suite.hub.upstreams.http_connection import BadResponse, ConnectionLost, HttpError
from quantum_suite.hub.upstreams.inbox import Inbox
from quantum_suite.hub.upstreams.interface import LinkLost, UpstreamFailed

MAX_GARBAGE = 100
"""Events in a row that make no sense before a stream is given up."""

logger = logging.getLogger(__name__)


class HttpRefusal(UpstreamFailed):
    """The server answered with an HTTP status instead of a JSON-RPC message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(UPSTREAM_UNAVAILABLE, message)
        self.status = status
        self.answered = 400 <= status < 500


class StreamEnded(Exception):
    """An event stream ended before the answer came."""


def refusal(status: int, headers: dict[str, str]) -> HttpRefusal:
    """Return the error for a status other than 200; shows nothing of what was sent."""
    if status in (401, 403):
        text = (
            "The server asks for credentials, and the hub has none for it or they were refused. Its operator sets "
            f"them as headers of the entry in mcp.json. (HTTP {status})"
        )
    elif 300 <= status < 400:
        where = urlsplit(headers.get("location", ""))
        target = f"{where.scheme}://{where.hostname or ''}{where.path}" if where.hostname else where.path
        text = (
            f"The server redirects to {target[:200] or 'nowhere'}, and redirects are not followed. (HTTP {status})"
        )
    elif status == 429:
        text = "The server says that it is called too often. (HTTP 429)"
    else:
        text = f"The server answered with HTTP status {status} and no message of the protocol."
    return HttpRefusal(status, text)


def as_rpc_error(error: HttpError) -> RpcError:
    """Return what a broken exchange means for the request it carried."""
    if isinstance(error, BadResponse):
        return protocol_broken(str(error))
    never = error.never_processed if isinstance(error, ConnectionLost) else True
    return LinkLost(f"The server {error}.", never_processed=never)


class Reply:
    """Takes the response to one request and brings it to the request's inbox.

    `on_status` sees status and headers of every response first.
    """

    def __init__(
        self,
        inbox: Inbox,
        conversation: Conversation,
        on_status: Callable[[int, dict[str, str]], RpcError | None] | None = None,
    ) -> None:
        """`on_status` may return the error that a status means on this link."""
        self._inbox = inbox
        self._conversation = conversation
        self._on_status = on_status
        self._status = 0
        self._headers: dict[str, str] = {}
        self._garbage = 0
        self.ended = False
        self.is_stream = False
        self.last_event_id: str | None = None
        self.retry_ms: int | None = None
        self.heard = False
        """Whether an event came since the last `resume`."""

    def resume(self) -> None:
        """Make ready for another response that continues the stream."""
        self.ended = self.is_stream = self.heard = False
        self._inbox.reopen()

    def on_head(self, status: int, headers: dict[str, str]) -> None:
        """Take status and headers."""
        self._status, self._headers = status, headers
        kind = headers.get("content-type", "").lower()
        self.is_stream = status == 200 and kind.startswith("text/event-stream")
        if self._on_status is not None and (error := self._on_status(status, headers)) is not None:
            self._inbox.fail(error)

    def on_event(self, event: Event) -> None:
        """Take one message of the stream."""
        self.heard = True
        self.last_event_id = event.id if event.id is not None else self.last_event_id
        self.retry_ms = event.retry_ms if event.retry_ms is not None else self.retry_ms
        if not event.data:
            return
        wrong = receive(self._conversation, event.data, self._inbox)
        self._garbage = self._garbage + 1 if wrong else 0
        if wrong and self._garbage > MAX_GARBAGE:
            self._inbox.fail(protocol_broken(f"sent {self._garbage} events in a row that make no sense"))
        elif self._conversation.flooded():
            self._inbox.fail(protocol_broken("sent notifications faster than they can be handed on"))

    def on_done(self, body: bytes) -> None:
        """Take a JSON body, or the end of the stream."""
        self.ended = True
        if self.is_stream:
            self._inbox.fail(StreamEnded())
            return
        kind = self._headers.get("content-type", "").lower().partition(";")[0].strip()
        is_json = kind == "application/json" or kind.endswith("+json")
        if self._status != 200:
            self._refused(body if is_json else b"")
        elif not is_json:
            self._inbox.fail(protocol_broken(f"answered with {kind[:80] or 'something'} instead of JSON"))
        elif (wrong := receive(self._conversation, body, self._inbox)) is not None:
            self._inbox.fail(protocol_broken(wrong))
        else:
            self._inbox.fail(protocol_broken("answered with a message that is no response"))

    def on_lost(self, error: HttpError) -> None:
        """Take note that the response broke off."""
        self.ended = True
        broken = isinstance(error, ConnectionLost) and self.is_stream
        self._inbox.fail(StreamEnded() if broken else as_rpc_error(error))

    def _refused(self, body: bytes) -> None:
        """A modern server sends its protocol errors with status 400 or 404 (2026-07-28, streamable-http)."""
        if self._status not in (401, 403) and body:
            try:
                message = orjson.loads(body)
            except orjson.JSONDecodeError:
                message = None
            error = message.get("error") if isinstance(message, dict) else None
            if isinstance(error, dict) and type(error.get("code")) is int:
                settle(self._inbox, {"error": error})
        self._inbox.fail(refusal(self._status, self._headers))


def receive(conversation: Conversation, data: bytes, stream: Inbox | None) -> str | None:
    """Act on one message as bytes; returns what is wrong with it, completing "The server ..."."""
    try:
        message = orjson.loads(data)
    except orjson.JSONDecodeError:
        return "sent a message that is not JSON"
    # Revision 2025-03-26 has batches: a list of messages.
    for one in message if type(message) is list and message else (message,):
        if (wrong := conversation.receive(one, len(data), stream)) is not None:
            logger.debug("ignored: the server %s", wrong)
            return wrong
    return None
