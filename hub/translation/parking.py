"""A modern client calls a tool of a handshake server: the server's questions become an `InputRequiredResult`.

The server's call stays open here while the client fetches the answers: the request is parked under an
unguessable token, given to the client as `requestState`. A parked call belongs to its principal and to the very
same request; it expires, and then the server's call is cancelled.
"""

import hashlib
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio
import orjson
from anyio.abc import TaskGroup

from quantum_suite.hub.call import (
    CONNECTION_CLOSED,
    INVALID_PARAMS,
    MISSING_CLIENT_CAPABILITY,
    RATE_LIMITED,
    Call,
    Json,
    Peer,
    RpcError,
)

Start = Callable[[Peer], Awaitable[Json]]
"""Carries out the call, asking its questions of the peer it is given."""

_NEEDS = {"elicitation/create": "elicitation", "sampling/createMessage": "sampling", "roots/list": "roots"}


@dataclass(slots=True)
class _Question:
    method: str
    params: Json
    answered: anyio.Event = field(default_factory=anyio.Event)
    answer: Json | None = None


@dataclass(slots=True, eq=False)
class _Parked:
    """One open call of a handshake server, and the client request it is attached to, if any."""

    owner: str
    fingerprint: str
    capabilities: Json
    peer: Peer | None
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    questions: dict[str, _Question] = field(default_factory=dict)
    result: Json | None = None
    error: BaseException | None = None
    news: anyio.Event = field(default_factory=anyio.Event)
    """Set when there is a question, a result or an error."""
    resumed: anyio.Event = field(default_factory=anyio.Event)
    """Set when a client came back for it."""
    question_seconds: float | None = None
    asked: int = 0

    async def notify(self, method: str, params: Json) -> None:
        """Pass on to whoever is attached; between two requests nobody is."""
        if self.peer is not None:
            await self.peer.notify(method, params)

    async def request(self, method: str, params: Json) -> Json:
        """Put a question and wait for its answer."""
        needed = _NEEDS.get(method)
        if needed is None or needed not in self.capabilities:
            raise RpcError(MISSING_CLIENT_CAPABILITY, f"The client cannot answer {method}.")
        self.asked += 1
        question = _Question(method, params)
        self.questions[f"question-{self.asked}"] = question
        self.news.set()
        await question.answered.wait()
        if question.answer is None:
            raise RpcError(CONNECTION_CLOSED, f"{method} was not answered.")
        return question.answer


class ParkingLot:
    """The calls of handshake servers that wait for a modern client's answers. Use as an async context manager."""

    def __init__(self, *, expiry_seconds: float = 300, max_parked: int = 500, max_per_principal: int = 50) -> None:
        """Nobody can park so many calls that others cannot: each principal has `max_per_principal` at most."""
        self._expiry_seconds = expiry_seconds
        self._max_parked = max_parked
        self._max_per_principal = max_per_principal
        self._waiting: dict[str, _Parked] = {}
        self._tasks: TaskGroup | None = None

    async def __aenter__(self) -> "ParkingLot":
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        tasks, self._tasks = self._tasks, None
        if tasks is not None:
            tasks.cancel_scope.cancel()
            await tasks.__aexit__(None, None, None)  # its answer would swallow the caller's exception

    async def carry(self, call: Call, start: Start) -> Json:
        """Carry out `call`, or go on with the one its `requestState` names.

        Returns the result, or an `InputRequiredResult` when the server asks something. Raises `RpcError` with
        `INVALID_PARAMS` for a state that is unknown, expired or somebody else's.
        """
        state = call.params.get("requestState")
        parked = self._start(call, start) if state is None else self._resume(call, state)
        parked.peer = call.peer
        try:
            await parked.news.wait()
        except BaseException:
            parked.scope.cancel()
            raise
        finally:
            parked.peer = None
        if parked.error is not None:
            raise parked.error
        if parked.result is not None:
            return parked.result
        return self._park(parked)

    def holds(self, state: object) -> bool:
        """Whether a call is parked under this state."""
        return isinstance(state, str) and state in self._waiting

    def drop(self, state: object) -> None:
        """Cancel the call parked under this state, if there is one."""
        if isinstance(state, str) and (parked := self._waiting.pop(state, None)) is not None:
            parked.resumed.set()
            parked.scope.cancel()

    def _start(self, call: Call, start: Start) -> _Parked:
        if self._tasks is None:
            raise RuntimeError("The parking lot is not open.")
        parked = _Parked(_owner(call), _fingerprint(call), call.client_capabilities, call.peer)
        parked.question_seconds = call.question_seconds
        self._tasks.start_soon(self._run, parked, start)
        return parked

    async def _run(self, parked: _Parked, start: Start) -> None:
        with parked.scope:
            try:
                parked.result = await start(parked)
            except Exception as error:
                parked.error = error
            parked.news.set()
        if parked.scope.cancel_called and parked.result is None:
            parked.error = parked.error or RpcError(CONNECTION_CLOSED, "The call was cancelled.")
            parked.news.set()

    def _park(self, parked: _Parked) -> Json:
        mine = sum(other.owner == parked.owner for other in self._waiting.values())
        if len(self._waiting) >= self._max_parked or mine >= self._max_per_principal:
            parked.scope.cancel()
            raise RpcError(RATE_LIMITED, "Too many calls wait for input already; answer those first.")
        parked.news = anyio.Event()
        parked.resumed = anyio.Event()
        token = secrets.token_urlsafe(24)
        self._waiting[token] = parked
        if self._tasks is not None:
            self._tasks.start_soon(self._expire, token, parked)
        requests = {key: {"method": q.method, "params": q.params} for key, q in parked.questions.items()}
        return {"resultType": "input_required", "inputRequests": requests, "requestState": token}

    def _resume(self, call: Call, state: object) -> _Parked:
        parked = self._waiting.get(state) if isinstance(state, str) else None
        if parked is None or parked.owner != _owner(call) or parked.fingerprint != _fingerprint(call):
            raise RpcError(
                INVALID_PARAMS,
                "requestState is unknown, expired or belongs to another request. Call again without it.",
            )
        del self._waiting[str(state)]
        parked.resumed.set()
        answers = call.params.get("inputResponses")
        answers = answers if isinstance(answers, dict) else {}
        for key in [key for key in parked.questions if isinstance(answers.get(key), dict)]:
            question = parked.questions.pop(key)
            question.answer = answers[key]
            question.answered.set()
        if parked.questions:
            parked.news.set()  # some answers are missing: ask for those again
        return parked

    async def _expire(self, token: str, parked: _Parked) -> None:
        seconds = self._expiry_seconds if parked.question_seconds is None else parked.question_seconds
        with anyio.move_on_after(seconds):
            await parked.resumed.wait()
            return
        if self._waiting.pop(token, None) is not None:  # it may be resumed in the moment it expires
            parked.scope.cancel()


def _owner(call: Call) -> str:
    return call.principal.id if call.principal is not None else ""


def _fingerprint(call: Call) -> str:
    salient = {k: v for k, v in call.params.items() if k not in ("_meta", "inputResponses", "requestState")}
    return hashlib.sha256(orjson.dumps([call.method, salient], option=orjson.OPT_SORT_KEYS)).hexdigest()
