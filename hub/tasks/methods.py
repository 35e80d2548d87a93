"""The methods of tasks: `tasks/get` and `tasks/cancel` in both forms, `tasks/update` of the extension, and
`tasks/result` and `tasks/list` of 2025-11-25.
"""

import anyio

from quantum_suite.hub.call import (
    CONNECTION_CLOSED,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    NO_BACK_CHANNEL,
    Call,
    Handler,
    Json,
    RpcError,
)
from quantum_suite.hub.envelope import HUB_META
from quantum_suite.hub.tasks.extension import HANDSHAKE_REVISION, declares_tasks, tasks_missing
from quantum_suite.hub.tasks.forms import detailed, handshake_result, handshake_task, outstanding, related
from quantum_suite.hub.tasks.handles import TaskHandles, owner
from quantum_suite.services.workflows.interface import FINAL, Run

PAGE_SIZE = 50
_LOOK_SECONDS = 0.25
_NOBODY_THERE = frozenset({CONNECTION_CLOSED, NO_BACK_CHANNEL})


class TaskMethods:
    """Answers what clients ask of their tasks."""

    def __init__(self, handles: TaskHandles) -> None:
        self._handles = handles

    def handlers(self) -> dict[str, Handler]:
        """Return the methods by name."""
        return {
            "tasks/get": self.get,
            "tasks/update": self.update,
            "tasks/cancel": self.cancel,
            "tasks/result": self.result,
            "tasks/list": self.page,
        }

    async def get(self, call: Call) -> Json:
        """Answer `tasks/get`."""
        _check_declared(call)
        run = await self._handles.get(owner(call), call.params.get("taskId"))
        if call.era == "handshake":
            return handshake_task(run)
        return {"resultType": "complete", **detailed(run), "_meta": HUB_META}

    async def update(self, call: Call) -> Json:
        """Answer `tasks/update`: hand the task what the client answers."""
        _check_declared(call)
        responses = call.params.get("inputResponses")
        if not isinstance(responses, dict):
            raise RpcError(INVALID_PARAMS, "params.inputResponses must be an object.")
        run = await self._handles.get(owner(call), call.params.get("taskId"))
        await self._handles.answer(run, responses)
        return {"resultType": "complete", "_meta": HUB_META}

    async def cancel(self, call: Call) -> Json:
        """Answer `tasks/cancel`. In 2025-11-25 a task that has ended cannot be cancelled."""
        _check_declared(call)
        run = await self._handles.get(owner(call), call.params.get("taskId"))
        if call.era == "handshake":
            if run.state in FINAL:
                status = handshake_task(run)["status"]
                raise RpcError(INVALID_PARAMS, f"Cannot cancel task: already in terminal status '{status}'")
            return handshake_task(await self._handles.cancel(run))
        if run.state not in FINAL:
            await self._handles.cancel(run)
        return {"resultType": "complete", "_meta": HUB_META}

    async def result(self, call: Call) -> Json:
        """Answer `tasks/result`: wait for the end, putting the task's questions to the client meanwhile."""
        _check_declared(call)
        run = await self._handles.get(owner(call), call.params.get("taskId"))
        asked: set[str] = set()
        async with anyio.create_task_group() as questions:
            while run.state not in FINAL:
                for key, request in outstanding(run).items():
                    if key not in asked:
                        asked.add(key)
                        questions.start_soon(self._put, call, run, key, request)
                await self._handles.wait(run, _LOOK_SECONDS)
                run = await self._handles.get(owner(call), run.id)
            questions.cancel_scope.cancel()
        return handshake_result(run)

    async def page(self, call: Call) -> Json:
        """Answer `tasks/list`."""
        _check_declared(call)
        cursor = call.params.get("cursor")
        if cursor is not None and not isinstance(cursor, str):
            raise RpcError(INVALID_PARAMS, "params.cursor must be a string.")
        runs, following = await self._handles.page(owner(call), PAGE_SIZE, cursor)
        page: Json = {"tasks": [handshake_task(run) for run in runs]}
        return page if following is None else {**page, "nextCursor": following}

    async def _put(self, call: Call, run: Run, key: str, request: Json) -> None:
        params = request.get("params")
        params = params if isinstance(params, dict) else {}
        meta = params.get("_meta")
        meta = {**(meta if isinstance(meta, dict) else {}), **related(run.id)}
        try:
            answer = await call.peer.request(request["method"], {**params, "_meta": meta})
        except RpcError as error:
            if error.code not in _NOBODY_THERE:  # then the next `tasks/result` asks again
                await self._handles.refuse(run, key, error)
        else:
            await self._handles.answer(run, {key: answer})


def _check_declared(call: Call) -> None:
    if call.era == "handshake":
        if call.protocol_version != HANDSHAKE_REVISION:
            raise RpcError(METHOD_NOT_FOUND, f"Method not found: {call.method}")
    elif not declares_tasks(call.client_capabilities):
        raise tasks_missing(call.method)
