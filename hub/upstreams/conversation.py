"""What a JSON-RPC message of a server means for the requests in flight on a link.

Shared by stdio, where everything arrives on one channel, and HTTP, where most arrives on the stream of the request
it belongs to. A link belongs to one identity or, in the modern era, to everybody who shares it; what cannot be
attributed is handed on only where nobody else's request could be meant.
"""

import logging
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable

from quantum_suite.hub.call import (
    META_LOG_LEVEL,
    META_SUBSCRIPTION_ID,
    NO_BACK_CHANNEL,
    UPSTREAM_UNAVAILABLE,
    Era,
    Json,
    NoPeer,
    Peer,
    RpcError,
)
from quantum_suite.hub.tasks.extension import RELATED_TASK
from quantum_suite.hub.upstreams.inbox import Inbox, Question, stamped
from quantum_suite.hub.upstreams.interface import Announce, UpstreamFailed

MAX_ERROR_TEXT = 2_000
_MAX_ANNOUNCEMENTS = 1_024
_ABANDONED_KEPT = 1_024
_FLOOD = 10_000
_FLOOD_SECONDS = 10.0
_UPDATED = "notifications/resources/updated"

logger = logging.getLogger(__name__)


def protocol_broken(what: str) -> RpcError:
    """Return the error of a request whose server broke the protocol; `what` completes "The server ..."."""
    return UpstreamFailed(UPSTREAM_UNAVAILABLE, f"The server {what}.")


class Announcer:
    """Hands announcements on, one at a time, and merges those that say the same while one is being heard."""

    def __init__(self, announce: Announce, start_soon: Callable[[Callable[[], Awaitable[None]]], bool]) -> None:
        self._announce = announce
        self._start_soon = start_soon
        self._waiting: OrderedDict[tuple[str, object], Json] = OrderedDict()
        self._running = False

    def __call__(self, method: str, params: Json) -> None:
        """Announce soon; never waits."""
        uri = params.get("uri")
        self._waiting[method, uri if isinstance(uri, str) else None] = params
        if len(self._waiting) > _MAX_ANNOUNCEMENTS:
            self._waiting.popitem(last=False)
        if not self._running:
            self._running = self._start_soon(self._run)

    async def _run(self) -> None:
        try:
            while self._waiting:
                (method, _), params = self._waiting.popitem(last=False)
                try:
                    await self._announce(method, params)
                except Exception:
                    logger.exception("an announcement could not be handed on")
        finally:
            self._running = False


class Conversation:
    """The requests in flight on one link, and what its messages do to them."""

    def __init__(
        self, era: Era, *, shared: bool, reply: Callable[[Json], None], announce: Callable[[str, Json], None]
    ) -> None:
        """`shared` says that callers of different identities use the link; `reply` sends a response, without
        waiting and without raising."""
        self.in_flight: dict[int, Inbox] = {}
        self._era = era
        self._shared = shared
        self._reply = reply
        self._announce = announce
        self._last_id = 0
        self._abandoned: deque[int] = deque(maxlen=_ABANDONED_KEPT)
        self._undelivered = 0
        self._undelivered_since = time.monotonic()

    def begin(self, method: str, params: Json, peer: Peer, request_id: str | int | None) -> tuple[Inbox, Json]:
        """Register a request; returns its inbox and the params to send.

        A progress token is replaced by the request's own id on the link: tokens of different callers may be equal.
        """
        self._last_id = id_ = self._last_id + 1
        inbox = self.in_flight[id_] = Inbox(id_, peer)
        if method == "subscriptions/listen":
            inbox.request_id = request_id
        if method.startswith("tasks/"):
            inbox.task_id = params.get("taskId")
        meta = params.get("_meta")
        if isinstance(meta, dict):
            if self._era == "modern":
                inbox.wants_logs = META_LOG_LEVEL in meta
            if (token := meta.get("progressToken")) is not None:
                inbox.token = token
                params = {**params, "_meta": {**meta, "progressToken": id_}}
        return inbox, params

    def end(self, inbox: Inbox, *, abandoned: bool = False) -> None:
        """Forget a request; where it was abandoned, its late answer is expected and discarded."""
        self.in_flight.pop(inbox.id, None)
        if abandoned:
            self._abandoned.append(inbox.id)

    def fail_all(self, error: Callable[[], BaseException]) -> None:
        """Fail every request in flight."""
        for inbox in list(self.in_flight.values()):
            inbox.fail(error())

    def flooded(self) -> bool:
        """Whether notifications that nobody takes come so fast that reading them is a burden to others."""
        if self._undelivered <= _FLOOD:
            return False
        now = time.monotonic()
        if now - self._undelivered_since < _FLOOD_SECONDS:
            return True
        self._undelivered, self._undelivered_since = 0, now
        return False

    def receive(self, message: object, size: int, stream: Inbox | None = None) -> str | None:
        """Act on one message; returns what is wrong with it (completing "The server ..."), or None.

        `stream` is the request whose own stream carried it; None for a channel that all share.
        """
        if type(message) is not dict:
            return "sent a message that is not a JSON object"
        method = message.get("method")
        if method is None:
            return self._response(message, stream)
        params = message.get("params")
        if params is None:
            params = {}
        if type(method) is not str or type(params) is not dict:
            return "sent a message whose method or params have the wrong type"
        if "id" in message:
            return self._question(message["id"], method, params, stream)
        self._notification(method, params, size, stream)
        return None

    # -- responses --------------------------------------------------------------------------------------------

    def _response(self, message: Json, stream: Inbox | None) -> str | None:
        id_ = message.get("id")
        if type(id_) is str and id_.isdecimal() and len(id_) < 20:
            id_ = int(id_)
        if stream is not None:
            # An error that could not be tied to the request has no id; on its own stream it can mean nothing else.
            inbox = stream if id_ == stream.id or (id_ is None and "error" in message) else None
        else:
            inbox = self.in_flight.get(id_) if type(id_) is int else None
        if inbox is None:
            return None if id_ in self._abandoned else "answered a request that was not sent"
        settle(inbox, message)
        return None

    # -- questions --------------------------------------------------------------------------------------------

    def _question(self, id_: object, method: str, params: Json, stream: Inbox | None) -> str | None:
        if type(id_) is not str and type(id_) is not int:
            return "sent a request whose id is neither a string nor an integer"
        if self._era == "modern":
            return "sent a request, which its protocol revision does not allow"
        question = Question(id_, method, params, self._reply)
        if method == "ping":
            question.answer({})
            return None
        inbox = stream
        if inbox is None:
            candidates = self._by_peer(params)
            if len(candidates) != 1:
                question.refuse(_nobody_to_ask(method, len(candidates)))
                return None
            inbox = candidates[0]
        inbox.ask(question)
        return None

    def _by_peer(self, params: Json) -> list[Inbox]:
        """Return one request in flight, the latest, for each requester that a message may be meant for.

        What a server says of a task is for whoever asks about that task; others' tasks are none of its business.
        """
        asking = [inbox for inbox in self.in_flight.values() if not isinstance(inbox.peer, NoPeer)]
        if (task := _task_of(params)) is not None:
            about_it = [inbox for inbox in asking if inbox.task_id == task]
            asking = about_it or [inbox for inbox in asking if inbox.task_id is None]
        return list({id(inbox.peer): inbox for inbox in asking}.values())

    # -- notifications ----------------------------------------------------------------------------------------

    def _notification(self, method: str, params: Json, size: int, stream: Inbox | None) -> None:
        if method == _UPDATED or method.endswith("/list_changed"):
            inbox = stream or self._subscriber(params)
            if inbox is not None:
                self._note(inbox, method, params, size)
            else:
                self._announce(method, params)
                self._undelivered += 1  # Changes are merged; a flood of them is one all the same.
        elif method == "notifications/progress":
            token = params.get("progressToken")
            self._note(self.in_flight.get(token) if type(token) is int else None, method, params, size)
        elif method == "notifications/cancelled":
            question = params.get("requestId")
            if isinstance(question, str | int):
                for inbox in list(self.in_flight.values()):
                    inbox.withdraw(question)
        elif (inbox := stream or self._subscriber(params)) is not None:
            self._note(inbox, method, params, size)
        else:
            self._uncorrelated(method, params, size)

    def _note(self, inbox: Inbox | None, method: str, params: Json, size: int) -> None:
        if inbox is None or not inbox.note(method, params, size):
            self._undelivered += 1

    def _subscriber(self, params: Json) -> Inbox | None:
        meta = params.get("_meta")
        subscription = meta.get(META_SUBSCRIPTION_ID) if isinstance(meta, dict) else None
        return self.in_flight.get(subscription) if type(subscription) is int else None

    def _uncorrelated(self, method: str, params: Json, size: int) -> None:
        """Log messages and the like name no request: to whom else could they belong?"""
        candidates = self._by_peer(params)
        if method == "notifications/message":
            candidates = [inbox for inbox in candidates if inbox.wants_logs]
        if len(candidates) > 1 and self._shared:
            candidates = []
        for inbox in candidates:
            self._note(inbox, method, params, size)
        self._undelivered += not candidates


def settle(inbox: Inbox, message: Json) -> None:
    """Answer a request from the response that came for it."""
    error = message.get("error")
    if error is not None:
        inbox.fail(
            _error(error) if "result" not in message else protocol_broken("sent both a result and an error")
        )
        return
    result = message.get("result")
    if type(result) is not dict:
        inbox.fail(protocol_broken("sent a response whose result is not an object"))
        return
    inbox.settle(result if inbox.request_id is None else stamped(result, inbox.request_id))


def _task_of(params: Json) -> str | None:
    """Return the id of the task that a message of 2025-11-25 says it belongs to."""
    meta = params.get("_meta")
    related = meta.get(RELATED_TASK) if isinstance(meta, dict) else None
    task = related.get("taskId") if isinstance(related, dict) else None
    return task if isinstance(task, str) else None


def _error(error: object) -> RpcError:
    if not isinstance(error, dict) or type(error.get("code")) is not int:
        return protocol_broken("sent an error without a code")
    text = error.get("message")
    return RpcError(error["code"], text[:MAX_ERROR_TEXT] if isinstance(text, str) else "", error.get("data"))


def _nobody_to_ask(method: str, requesters: int) -> RpcError:
    if requesters:
        return RpcError(
            NO_BACK_CHANNEL,
            f"{method} cannot be attributed: several clients have a request in flight. "
            "Send it on the stream of the request it belongs to, or use multi-round-trip requests.",
        )
    return RpcError(NO_BACK_CHANNEL, f"{method} belongs to no request in flight: nobody is there to ask.")
