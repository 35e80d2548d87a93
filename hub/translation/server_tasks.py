"""Following a task that a server behind the hub has made, in the form of the server's era.

Modern (the extension): `tasks/get` says everything, `tasks/update` answers questions. 2025-11-25: `tasks/get` says
how it stands, `tasks/result` gives the result, and puts its questions while it is awaited.
"""

import logging
from collections.abc import Awaitable, Callable

import anyio

from quantum_suite.core.errors import Unavailable
from quantum_suite.hub.call import (
    CONNECTION_CLOSED,
    INTERNAL_ERROR,
    UPSTREAM_UNAVAILABLE,
    Era,
    Json,
    Peer,
    RpcError,
)
from quantum_suite.hub.tasks.extension import RELATED_TASK
from quantum_suite.hub.upstreams.interface import UpstreamFailed

logger = logging.getLogger(__name__)

Ask = Callable[[str, Json, Peer], Awaitable[Json]]
"""Sends `(method, params)` to the task's server on the conversation that made it."""

SHORTEST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 30.0
AWAY_SECONDS = 60.0
"""How long a server may be out of reach while its task is followed."""

_USUAL_PAUSE_SECONDS = 1.0
_CANCEL_SECONDS = 5.0
_MAX_MESSAGE = 1_000


def task_augmented(params: Json, ttl_seconds: float) -> Json:
    """Return the params of a call that a 2025-11-25 server takes as a task."""
    return {**params, "task": {"ttl": int(ttl_seconds * 1000)}}


def made_task(result: Json) -> Json | None:
    """Return the task that a server answered a call with, in either form; None for any other result."""
    if result.get("resultType") == "task":
        task = result
    elif isinstance(result.get("task"), dict) and "content" not in result:
        task = result["task"]
    else:
        return None
    if not isinstance(task.get("taskId"), str):
        raise RpcError(UPSTREAM_UNAVAILABLE, "The server answered with a task that has no id.")
    known = ("taskId", "status", "statusMessage", "ttlMs", "ttl", "pollIntervalMs", "pollInterval")
    return {"resultType": "task", **{key: task[key] for key in known if key in task}}


class ServerTask:
    """One task of a server, followed to its end."""

    def __init__(self, ask: Ask, era: Era, made: Json, progress_token: str | int | None = None) -> None:
        """`progress_token` is the caller's: under it the peer is told what the task says of itself."""
        self._ask = ask
        self._token = progress_token
        self._tellings = 0
        self._era = era
        self._id: str = made["taskId"]
        self._task = made
        self._told: str | None = None
        self._answered: set[str] = set()
        self._missed_since: float | None = None

    async def result(self, peer: Peer, *, cancel_with_us: bool) -> Json:
        """Return the task's result once there is one; `peer` is asked its questions and told its messages.

        Raises `RpcError` with the task's error, and when it was cancelled over there. With `cancel_with_us`, being
        cancelled here cancels it there.
        """
        try:
            return await self._follow(peer)
        except anyio.get_cancelled_exc_class():
            if cancel_with_us:
                with anyio.move_on_after(_CANCEL_SECONDS, shield=True):
                    await self.cancel(peer)
            raise

    async def cancel(self, peer: Peer) -> None:
        """Have the server stop; an error it answers with means that there is nothing to stop any more.

        A server that is out of reach is asked again, until the caller gives up.
        """
        while True:
            try:
                await self._ask("tasks/cancel", {"taskId": self._id}, peer)
            except (UpstreamFailed, Unavailable) as error:
                logger.debug("a server does not hear that its task is cancelled: %s", error)
            except RpcError:
                return
            else:
                return
            await anyio.sleep(_USUAL_PAUSE_SECONDS)

    async def _follow(self, peer: Peer) -> Json:
        while True:
            status = self._task.get("status")
            await self._tell(peer)
            if self._era == "handshake":
                if status in ("completed", "failed", "input_required"):
                    return _without_related(await self._ask("tasks/result", {"taskId": self._id}, peer))
            elif status == "completed":
                return _result_of(self._task)
            elif status == "failed":
                raise _error_of(self._task)
            elif status == "input_required":
                await self._answer(peer)
            if status == "cancelled":
                raise RpcError(CONNECTION_CLOSED, "The server cancelled the task.")
            await anyio.sleep(self._pause())
            self._task = await self._look(peer)

    async def _look(self, peer: Peer) -> Json:
        while True:
            try:
                task = await self._ask("tasks/get", {"taskId": self._id}, peer)
            except (UpstreamFailed, Unavailable):
                now = anyio.current_time()
                self._missed_since = self._missed_since or now
                if now - self._missed_since > AWAY_SECONDS:
                    raise
                await anyio.sleep(_USUAL_PAUSE_SECONDS)
            else:
                self._missed_since = None
                return task

    def _pause(self) -> float:
        said = self._task.get("pollIntervalMs", self._task.get("pollInterval"))
        if isinstance(said, bool) or not isinstance(said, int | float) or not said > 0:
            return _USUAL_PAUSE_SECONDS
        return min(max(said / 1000, SHORTEST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)

    async def _tell(self, peer: Peer) -> None:
        message = self._task.get("statusMessage")
        if self._token is None or not isinstance(message, str) or not message or message == self._told:
            return
        self._told = message
        self._tellings += 1
        progress = {"progressToken": self._token, "progress": self._tellings, "message": message[:_MAX_MESSAGE]}
        await peer.notify("notifications/progress", progress)

    async def _answer(self, peer: Peer) -> None:
        requests = self._task.get("inputRequests")
        fresh = {
            key: request
            for key, request in (requests if isinstance(requests, dict) else {}).items()
            if key not in self._answered
        }
        answers: Json = {}

        async def put(key: str, request: object) -> None:
            if not isinstance(request, dict) or not isinstance(request.get("method"), str):
                raise RpcError(UPSTREAM_UNAVAILABLE, "The server sent an input request without a method.")
            params = request.get("params")
            answers[key] = await peer.request(request["method"], params if isinstance(params, dict) else {})

        if fresh:
            try:
                async with anyio.create_task_group() as tasks:
                    for key, request in fresh.items():
                        tasks.start_soon(put, key, request)
            except ExceptionGroup as group:
                raise group.exceptions[0] from group
            await self._ask("tasks/update", {"taskId": self._id, "inputResponses": answers}, peer)
            self._answered |= fresh.keys()


def _result_of(task: Json) -> Json:
    result = task.get("result")
    if not isinstance(result, dict):
        raise RpcError(UPSTREAM_UNAVAILABLE, "The server completed the task without a result.")
    return {"resultType": "complete", **_without_related(result)}


def _error_of(task: Json) -> RpcError:
    error = task.get("error")
    error = error if isinstance(error, dict) else {}
    code, message = error.get("code"), error.get("message")
    return RpcError(
        code if type(code) is int else INTERNAL_ERROR,
        message[:2_000] if isinstance(message, str) else "The server failed the task without saying why.",
        error.get("data"),
    )


def _without_related(result: Json) -> Json:
    """The server's own task id stays between the server and the hub."""
    meta = result.get("_meta")
    if not isinstance(meta, dict) or RELATED_TASK not in meta:
        return result
    rest = {key: value for key, value in meta.items() if key != RELATED_TASK}
    kept = {key: value for key, value in result.items() if key != "_meta"}
    return {**kept, "_meta": rest} if rest else kept
