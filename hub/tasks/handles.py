"""Tasks by their ids: begun, found by their owner alone, answered, cancelled."""

import re
import secrets
from collections.abc import Awaitable, Callable, Set
from contextlib import suppress
from datetime import UTC, datetime

import anyio

from quantum_suite.core.errors import Conflict, NotFound
from quantum_suite.core.principals import Principal
from quantum_suite.hub.call import INTERNAL_ERROR, INVALID_PARAMS, Call, Json, RpcError
from quantum_suite.hub.tasks.forms import expired, outstanding
from quantum_suite.hub.tasks.policy import TaskPolicy
from quantum_suite.hub.tasks.record import TaskRecord, owner_of
from quantum_suite.services.workflows.interface import FINAL, Run, RunQuery, Workflows

WORKFLOW = "hub.task"
INPUT_TOPIC = "input"

OpenWorkflows = Callable[[], Awaitable[Workflows]]
"""Returns the orchestrator, opened on first need: it costs half a second and some memory."""

_ID = re.compile(r"task_[A-Za-z0-9_-]{32}")
_RANDOM_BYTES = 24
_SETTLE_SECONDS = 5.0
_SETTLE_PAUSE_SECONDS = 0.02


class TaskHandles:
    """Every task of this hub, and of all hubs that share its database.

    A task belongs to the principal whose call it was. To anybody else it does not exist.
    """

    def __init__(
        self,
        workflows: OpenWorkflows,
        policy: TaskPolicy,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._workflows = workflows
        self._policy = policy
        self._now = now

    async def start(self, call: Call, *, ttl_seconds: float | None, server_task: Json | None) -> Run:
        """Begin a task for `call`; it is durable on return. `ttl_seconds` is what the client asks for."""
        longest = self._policy.longest_ttl_seconds
        ttl = self._policy.ttl_seconds if ttl_seconds is None else min(ttl_seconds, longest)
        deadline = min(self._policy.deadline_seconds, ttl)
        record = TaskRecord.of(call, ttl_seconds=ttl, question_seconds=deadline, server_task=server_task)
        workflows = await self._workflows()
        return await workflows.start(
            WORKFLOW,
            record.as_json(),
            owner_of(owner(call)),
            run_id=f"task_{secrets.token_urlsafe(_RANDOM_BYTES)}",
            deadline_seconds=deadline,
        )

    async def get(self, principal: Principal, task_id: object) -> Run:
        """Return a task as it stands.

        Raises `RpcError` with `INVALID_PARAMS`, the same for an id that is unknown, malformed or somebody else's.
        """
        if not isinstance(task_id, str) or not _ID.fullmatch(task_id):
            raise _not_found()
        workflows = await self._workflows()
        try:
            run = await workflows.get(task_id)
        except NotFound:
            raise _not_found() from None
        if run.workflow != WORKFLOW or run.owner.principal != principal.id:
            raise _not_found()
        if expired(run, self._now()):
            raise RpcError(INVALID_PARAMS, "Failed to retrieve task: Task has expired")
        return run

    async def wait(self, run: Run, seconds: float) -> Run:
        """Return the task when it has ended, or as it stands after a while."""
        return await (await self._workflows()).wait(run.id, seconds)

    async def page(self, principal: Principal, limit: int, cursor: str | None) -> tuple[list[Run], str | None]:
        """Return tasks of a principal, newest first, and the cursor of the next page."""
        query = RunQuery(owner=principal.id, workflow=WORKFLOW, limit=limit, cursor=cursor)
        runs, following = await (await self._workflows()).find(query)
        now = self._now()
        return [run for run in runs if not expired(run, now)], following

    async def cancel(self, run: Run) -> Run:
        """Stop a task wherever it works; one that has ended stays as it is. Waits a little for it to stop."""
        workflows = await self._workflows()
        with anyio.move_on_after(_SETTLE_SECONDS):
            return await workflows.cancel(run.id)
        return await workflows.get(run.id)

    async def answer(self, run: Run, responses: Json) -> None:
        """Hand a task answers to its open requests, by key; others are ignored. The first answer to a key counts.

        Waits a little until the task shows that it has taken them.
        """
        given = {key: responses[key] for key in outstanding(run) if key in responses}
        for key, response in given.items():
            if not isinstance(response, dict):
                raise RpcError(INVALID_PARAMS, f"inputResponses['{key}'] must be an object.")
        workflows = await self._workflows()
        with suppress(Conflict):  # it has ended meanwhile, and listens no more
            for key, response in given.items():
                await workflows.signal(run.id, INPUT_TOPIC, {"key": key, "answer": response}, key=key)
            await self._taken(workflows, run, given.keys())

    async def refuse(self, run: Run, key: str, error: RpcError) -> None:
        """Tell a task that the client refused one of its requests."""
        workflows = await self._workflows()
        with suppress(Conflict):
            await workflows.signal(run.id, INPUT_TOPIC, {"key": key, "error": error.as_json()}, key=key)

    async def _taken(self, workflows: Workflows, run: Run, keys: Set[str]) -> None:
        with anyio.move_on_after(_SETTLE_SECONDS):
            while keys & outstanding(run).keys() and run.state not in FINAL:
                await anyio.sleep(_SETTLE_PAUSE_SECONDS)
                run = await workflows.get(run.id)


def owner(call: Call) -> Principal:
    """Return whose call it is."""
    if call.principal is None:
        raise RpcError(INTERNAL_ERROR, "The call became a task without a principal.")
    return call.principal


def _not_found() -> RpcError:
    return RpcError(INVALID_PARAMS, "Failed to retrieve task: Task not found")
