"""How one call reaches its server: the conversation it takes, and what the server may make of it."""

from typing import Any

from quantum_suite.core.principals import Caller
from quantum_suite.hub.call import META_CLIENT_CAPABILITIES, UPSTREAM_UNAVAILABLE, Call, Json, Peer, RpcError
from quantum_suite.hub.envelope import hub_envelope
from quantum_suite.hub.target import Target
from quantum_suite.hub.tasks.extension import declares_tasks, declaring_tasks
from quantum_suite.hub.translation.answering import answer_inputs
from quantum_suite.hub.translation.server_tasks import ServerTask, made_task, task_augmented
from quantum_suite.hub.upstream import Upstream
from quantum_suite.hub.upstreams.interface import LinkKey

_SERVER_TASK_SECONDS = 24 * 3600.0
"""For how long a 2025-11-25 server is asked to keep a task."""


class Way:
    """Carries one call, and follows the task its server makes of it.

    Where a server insists on tasks and nobody above takes one (`Call.takes_task`), the call waits here for the
    task's end; being cancelled then cancels the task.
    """

    def __init__(
        self,
        upstream: Upstream,
        key: LinkKey,
        call: Call,
        target: Target,
        caller: Caller,
        headers: dict[str, str] | None,
    ) -> None:
        self.key = key
        self._upstream = upstream
        self._call = call
        self._target = target
        self._caller = caller
        self._headers = headers

    async def send(self, params: Json, peer: Peer) -> Json:
        """Carry the call once; raises `RpcError` where the server makes a task that nobody takes."""
        result = await self._upstream.request(
            self.key,
            self._call.method,
            params,
            peer,
            repeatable=self._target.repeatable,
            caller=self._caller,
            headers=self._headers,
        )
        if result.get("resultType") == "task" and not self._declares(params):
            raise RpcError(UPSTREAM_UNAVAILABLE, "The server answered with a task, which this call does not take.")
        return result

    async def carry_handshake(self, params: Json, peer: Peer) -> Json:
        """Carry the call to a handshake server, as a task where the server wants that."""
        support = self._target.task_support
        if not (support == "required" or (support and self._call.takes_task)) or not self._offers_tasks():
            return await self.send(params, peer)
        result = await self.send(task_augmented(params, _SERVER_TASK_SECONDS), peer)
        made = made_task(result)
        if made is None or self._call.takes_task:
            return made or result
        return await self.follow(made, peer, ours=True)

    async def wait_modern(self, params: Json, peer: Peer) -> Json:
        """Carry the call to a modern server that answers it with a task alone, and wait for the task's end."""
        meta: dict[str, Any] = dict(params.get("_meta") or {})
        meta[META_CLIENT_CAPABILITIES] = declaring_tasks(meta.get(META_CLIENT_CAPABILITIES) or {})

        async def send(attempt: Json) -> Json:
            return await self.send(attempt, peer)

        result = await answer_inputs(send, {**params, "_meta": meta}, peer)
        made = made_task(result)
        return result if made is None else await self.follow(made, peer, ours=True)

    async def follow(self, made: Json, peer: Peer, *, ours: bool) -> Json:
        """Return the result of a task the server made; `ours` where nobody else will look after it."""
        return await self.server_task(made).result(peer, cancel_with_us=ours)

    def server_task(self, made: Json) -> ServerTask:
        """Return a task the server made."""
        meta = self._call.params.get("_meta")
        token = meta.get("progressToken") if isinstance(meta, dict) else None
        return ServerTask(self._ask, self.key.era, made, token)

    async def _ask(self, method: str, params: Json, peer: Peer) -> Json:
        if self.key.era == "modern":
            params = {**params, "_meta": hub_envelope(declaring_tasks(self._call.client_capabilities))}
        return await self._upstream.request(self.key, method, params, peer, repeatable=True, caller=self._caller)

    def _declares(self, params: Json) -> bool:
        meta = params.get("_meta")
        capabilities = meta.get(META_CLIENT_CAPABILITIES) if isinstance(meta, dict) else None
        return isinstance(capabilities, dict) and declares_tasks(capabilities)

    def _offers_tasks(self) -> bool:
        hello = self._upstream.hello
        tasks: Any = hello.capabilities if hello is not None else {}
        for key in ("tasks", "requests", "tools"):
            tasks = tasks.get(key) if isinstance(tasks, dict) else None
        return isinstance(tasks, dict) and "call" in tasks
