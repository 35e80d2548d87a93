"""Telling clients how their tasks stand: `notifications/tasks`; in 2025-11-25 `notifications/tasks/status`."""

import logging
from collections.abc import Awaitable, Callable, Sequence

import anyio
from anyio.abc import TaskGroup

from quantum_suite.core.errors import SuiteError
from quantum_suite.core.principals import Principal
from quantum_suite.hub.call import INVALID_PARAMS, Call, Json, RpcError, Session
from quantum_suite.hub.tasks.extension import declares_tasks, tasks_missing
from quantum_suite.hub.tasks.forms import detailed, handshake_task
from quantum_suite.hub.tasks.handles import TaskHandles, owner
from quantum_suite.hub.tasks.policy import TaskPolicy
from quantum_suite.services.workflows.interface import FINAL, Run

MAX_FOLLOWED = 100
"""Tasks one request may follow, and one session is told of at once."""

Deliver = Callable[[str, Json], Awaitable[None]]

logger = logging.getLogger(__name__)


class TaskNews:
    """Looks at the tasks that are followed, again and again, wherever they work, and tells what changed."""

    def __init__(self, handles: TaskHandles, policy: TaskPolicy, tasks: TaskGroup) -> None:
        self._handles = handles
        self._pause = policy.watch_seconds
        self._tasks = tasks
        self._sessions: dict[str, list[anyio.CancelScope]] = {}

    async def agreed(self, call: Call) -> list[str]:
        """Return which of the tasks that a `subscriptions/listen` names its caller will be told of.

        Raises `RpcError`: the extension must be declared by whoever names any, and the names be a list of strings.
        """
        wanted = call.params.get("notifications")
        asked = wanted.get("taskIds") if isinstance(wanted, dict) else None
        if asked is None:
            return []
        if not isinstance(asked, list) or not all(isinstance(one, str) for one in asked):
            raise RpcError(INVALID_PARAMS, "notifications.taskIds must be a list of task ids.")
        if not declares_tasks(call.client_capabilities):
            raise tasks_missing("Following tasks")
        if len(asked) > MAX_FOLLOWED:
            raise RpcError(INVALID_PARAMS, f"At most {MAX_FOLLOWED} tasks can be followed by one request.")
        found = []
        for task_id in dict.fromkeys(asked):
            try:
                found.append((await self._handles.get(owner(call), task_id)).id)
            except RpcError as error:
                if error.code != INVALID_PARAMS:
                    raise
        return found

    async def tell(self, principal: Principal, task_ids: Sequence[str], deliver: Deliver) -> None:
        """Tell how each task stands now, and whenever that changes, until all have ended."""
        known: dict[str, Json] = {task_id: {} for task_id in task_ids}
        while known:
            for task_id, before in list(known.items()):
                run = await self._look(principal, task_id)
                if isinstance(run, Run):
                    known[task_id] = now = detailed(run)
                    if now != before:
                        await deliver("notifications/tasks", dict(now))
                    if run.state not in FINAL:
                        continue
                if run is not None:
                    del known[task_id]
            await anyio.sleep(self._pause)

    def follow(self, session: Session, run: Run) -> None:
        """Tell a session how the task it has just made goes on, unless it is told of `MAX_FOLLOWED` already."""
        scopes = self._sessions.setdefault(session.id, [])
        if len(scopes) < MAX_FOLLOWED:
            scope = anyio.CancelScope()
            scopes.append(scope)
            self._tasks.start_soon(self._tell_session, session, run, scope)

    def session_closed(self, session: Session) -> None:
        """Tell the session nothing more."""
        for scope in self._sessions.pop(session.id, []):
            scope.cancel()

    async def _tell_session(self, session: Session, run: Run, scope: anyio.CancelScope) -> None:
        before = handshake_task(run)
        with scope:
            while run.state not in FINAL:
                await anyio.sleep(self._pause)
                looked = await self._look(session.principal, run.id)
                if looked is _GONE:
                    break
                if isinstance(looked, Run):
                    run = looked
                    if (now := handshake_task(run)) != before:
                        before = now
                        await session.peer.notify("notifications/tasks/status", now)
        if scope in (scopes := self._sessions.get(session.id, [])):
            scopes.remove(scope)

    async def _look(self, principal: Principal, task_id: str) -> "Run | _Gone | None":
        """Return the task; `_GONE` when there is none any more, None when nobody can tell just now."""
        try:
            return await self._handles.get(principal, task_id)
        except RpcError:
            return _GONE
        except SuiteError as error:
            logger.debug("a followed task cannot be looked at: %s", error)
            return None


class _Gone:
    """A task that was followed and no longer exists."""


_GONE = _Gone()
