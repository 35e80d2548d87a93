"""What arrives for one request in flight, and how it reaches the requester.

The task that awaits the answer delivers what comes before it, so a request costs one future and no task of its
own. Only questions of a server run beside it, in a group that ends with the request.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import anyio

from quantum_suite.hub.call import (
    CONNECTION_CLOSED,
    INTERNAL_ERROR,
    META_SUBSCRIPTION_ID,
    Json,
    Peer,
    RpcError,
)

MAX_WAITING = 256
MAX_WAITING_BYTES = 4 * 1024 * 1024
MAX_QUESTIONS = 16

_PROGRESS = "notifications/progress"
logger = logging.getLogger(__name__)


class _Note(NamedTuple):
    method: str
    params: Json
    size: int


class Question:
    """A server's request to the client, until it is answered or withdrawn."""

    __slots__ = ("_reply", "id", "method", "params", "scope", "withdrawn")

    def __init__(self, id_: str | int, method: str, params: Json, reply: Callable[[Json], None]) -> None:
        self.id = id_
        self.method = method
        self.params = params
        self.scope = anyio.CancelScope()
        self.withdrawn = False
        self._reply = reply

    def answer(self, result: Json) -> None:
        """Send the result to the server."""
        self._reply({"jsonrpc": "2.0", "id": self.id, "result": result})

    def refuse(self, error: RpcError) -> None:
        """Send an error to the server."""
        self._reply({"jsonrpc": "2.0", "id": self.id, "error": error.as_json()})


class Inbox:
    """One request in flight.

    Arrivals (`note`, `ask`, `settle`, `fail`) never wait and never raise; `outcome` hands them on. What arrives
    after the answer is discarded.
    """

    __slots__ = (
        "_answered",
        "_error",
        "_notes",
        "_questions",
        "_result",
        "_waiting_bytes",
        "_wake",
        "asked",
        "id",
        "peer",
        "request_id",
        "task_id",
        "token",
        "wants_logs",
    )

    def __init__(self, id_: int, peer: Peer) -> None:
        self.id = id_
        self.peer = peer
        self.token: str | int | None = None
        """The caller's own progress token."""
        self.request_id: str | int | None = None
        """The caller's own request id; set for a subscription, whose messages carry it."""
        self.task_id: object = None
        """The server's id of the task that is asked about."""
        self.wants_logs = True
        self.asked: dict[str | int, Question] = {}
        self._notes: deque[_Note] = deque()
        self._questions: deque[Question] = deque()
        self._waiting_bytes = 0
        self._wake: asyncio.Future[None] | None = None
        self._result: Json | None = None
        self._error: BaseException | None = None
        self._answered = False

    @property
    def answered(self) -> bool:
        """Whether the answer, or an error in its place, has arrived."""
        return self._answered

    # -- arrivals ---------------------------------------------------------------------------------------------

    def settle(self, result: Json) -> None:
        """Take the answer."""
        if not self._answered:
            self._answered, self._result = True, result
            self._awake()

    def fail(self, error: BaseException) -> None:
        """Take the error that answers the request."""
        if not self._answered:
            self._answered, self._error = True, error
            self._awake()

    def note(self, method: str, params: Json, size: int) -> bool:
        """Take a notification of `size` bytes; dropped where too many wait, progress before anything else.

        Returns whether it was taken.
        """
        if self._answered:
            return False
        if method == _PROGRESS:
            if self.token is None:
                return False
            params = {**params, "progressToken": self.token}
        elif self.request_id is not None:
            params = stamped(params, self.request_id)
        note = _Note(method, params, size)
        if self._full() and not self._make_room(note):
            return False
        self._notes.append(note)
        self._waiting_bytes += size
        self._awake()
        return True

    def ask(self, question: Question) -> None:
        """Take a question of the server's."""
        if self._answered:
            question.refuse(RpcError(CONNECTION_CLOSED, "The request this belongs to is answered."))
        elif len(self.asked) >= MAX_QUESTIONS:
            question.refuse(RpcError(INTERNAL_ERROR, f"More than {MAX_QUESTIONS} questions are open at once."))
        else:
            self.asked[question.id] = question
            self._questions.append(question)
            self._awake()

    def withdraw(self, question_id: str | int) -> None:
        """Take note that the server no longer wants an answer."""
        if (question := self.asked.get(question_id)) is not None:
            question.withdrawn = True
            question.scope.cancel()

    def reopen(self) -> None:
        """Forget a failure, so that `outcome` can be awaited again: the answer comes by another way."""
        self._answered, self._error = False, None

    def _full(self) -> bool:
        return len(self._notes) >= MAX_WAITING or self._waiting_bytes >= MAX_WAITING_BYTES

    def _make_room(self, note: _Note) -> bool:
        if self.request_id is not None and any(
            n.method == note.method and n.params == note.params for n in self._notes
        ):
            return False  # The same change is told by one that waits.
        for index, waiting in enumerate(self._notes):
            if waiting.method == _PROGRESS:
                del self._notes[index]
                self._waiting_bytes -= waiting.size
                return not self._full()
        return False

    def _awake(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    # -- the requester's side ---------------------------------------------------------------------------------

    async def outcome(self) -> Json:
        """Deliver what arrives, in order, until the answer; return it, or raise the error it is."""
        while not self._questions:
            if self._notes:
                await self._deliver()
            elif self._answered:
                return self._unwrap()
            else:
                await self._more()
        return await self._outcome_with_questions()

    async def _outcome_with_questions(self) -> Json:
        async with anyio.create_task_group() as tasks:
            while True:
                while self._questions:
                    tasks.start_soon(self._answer, self._questions.popleft())
                if self._notes:
                    await self._deliver()
                elif self._answered:
                    tasks.cancel_scope.cancel()
                    break
                else:
                    await self._more()
        return self._unwrap()

    def _unwrap(self) -> Json:
        if self._error is not None:
            raise self._error
        return self._result or {}

    async def _more(self) -> None:
        self._wake = asyncio.get_running_loop().create_future()
        try:
            await self._wake
        finally:
            self._wake = None

    async def _deliver(self) -> None:
        note = self._notes.popleft()
        self._waiting_bytes -= note.size
        try:
            await self.peer.notify(note.method, note.params)
        except Exception:
            logger.exception("a notification could not be handed to the requester")

    async def _answer(self, question: Question) -> None:
        try:
            with question.scope:
                try:
                    question.answer(await self.peer.request(question.method, question.params))
                except RpcError as error:
                    question.refuse(error)
                except Exception:
                    logger.exception("a question of a server could not be handed to the requester")
                    question.refuse(RpcError(INTERNAL_ERROR, "The question could not be handed on."))
                except asyncio.CancelledError:
                    if not question.withdrawn:
                        question.refuse(RpcError(CONNECTION_CLOSED, "The request this belongs to has ended."))
                    raise
        finally:
            self.asked.pop(question.id, None)


def stamped(message: Json, subscription_id: str | int) -> Json:
    """Return a subscription's message or result under another subscription id (2026-07-28, subscriptions)."""
    meta = message.get("_meta")
    return {
        **message,
        "_meta": {**(meta if isinstance(meta, dict) else {}), META_SUBSCRIPTION_ID: subscription_id},
    }
