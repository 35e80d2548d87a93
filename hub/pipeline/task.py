"""Makes tasks of tool calls that take long."""

from quantum_suite.hub.call import INVALID_PARAMS, METHOD_NOT_FOUND, RATE_LIMITED, Call, Handler, Json, RpcError
from quantum_suite.hub.param_checks import checked_headers
from quantum_suite.hub.target import Target
from quantum_suite.hub.tasks.extension import HANDSHAKE_REVISION, declares_tasks, tasks_missing
from quantum_suite.hub.tasks.forms import create_result, handshake_task
from quantum_suite.hub.tasks.handles import TaskHandles
from quantum_suite.hub.tasks.news import TaskNews
from quantum_suite.hub.tasks.work import TaskWork
from quantum_suite.services.workflows.interface import Run


class TaskStage:
    """Answers a long-running tool's call with a task, where the client takes one; else the call goes on inline.

    Stands below everything that may refuse the call or ask about it first, and above the deadline: a task has its
    own. A task that the server behind makes by itself becomes one of the hub's own, which follows it.

    In the modern era the client declares the extension and the hub decides. In 2025-11-25 the client asks for a
    task, of tools that say they run as one.
    """

    def __init__(self, handles: TaskHandles, work: TaskWork, news: TaskNews) -> None:
        self._handles = handles
        self._work = work
        self._news = news

    async def __call__(self, call: Call, handler: Handler) -> Json:
        """Answer with a task, or call on."""
        target = call.target
        if call.method != "tools/call" or target is None:
            return await handler(call)
        asked = call.params.get("task")
        if asked is not None:
            call.params = {name: value for name, value in call.params.items() if name != "task"}
        if call.era == "handshake":
            return await self._handshake(call, target, asked, handler)
        if not declares_tasks(call.client_capabilities):
            if target.long_running == "required":
                raise tasks_missing(target.name)
            return await handler(call)
        call.takes_task = True
        if target.long_running != "no" and (not target.asks_first or _continued(call)):
            return create_result(await self._start(call, target))
        result = await handler(call)
        if result.get("resultType") == "task":
            return create_result(await self._start(call, target, server_task=result))
        return result

    async def _handshake(self, call: Call, target: Target, asked: object, handler: Handler) -> Json:
        if call.protocol_version != HANDSHAKE_REVISION:
            return await handler(call)
        if asked is None:
            if target.long_running == "required":
                raise RpcError(METHOD_NOT_FOUND, f"{target.name} runs as a task alone: call it with params.task.")
            return await handler(call)
        if target.long_running == "no":
            raise RpcError(METHOD_NOT_FOUND, f"{target.name} does not run as a task: call it without params.task.")
        run = await self._start(call, target, ttl_seconds=_ttl(asked))
        if call.session is not None:
            self._news.follow(call.session, run)
        return {"task": handshake_task(run)}

    async def _start(
        self, call: Call, target: Target, *, ttl_seconds: float | None = None, server_task: Json | None = None
    ) -> Run:
        checked_headers(call, target)
        if call.principal is not None and not self._work.has_room(call.principal.id):
            raise RpcError(
                RATE_LIMITED,
                f"{call.principal.id} has too many tasks at work; wait for some to end, or cancel them.",
                {"code": "rate_limited", "retryable": True, "retryAfterSeconds": 10},
            )
        return await self._handles.start(call, ttl_seconds=ttl_seconds, server_task=server_task)


def _continued(call: Call) -> bool:
    """Whether the call answers what the tool asked before."""
    return "inputResponses" in call.params or "requestState" in call.params


def _ttl(asked: object) -> float | None:
    ttl = asked.get("ttl") if isinstance(asked, dict) else None
    if ttl is None and isinstance(asked, dict):
        return None
    if isinstance(ttl, bool) or not isinstance(ttl, int | float) or not 0 < ttl < float("inf"):
        raise RpcError(
            INVALID_PARAMS, "params.task must be an object, and its ttl a positive number (milliseconds)."
        )
    return max(ttl / 1000, 0.001)
