"""Workflows in memory: for tests, and for a suite that should leave no trace."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import anyio
import anyio.abc
from croniter import croniter  # type: ignore[import-untyped]  # the package has no types

from quantum_suite.core.errors import CallerError, Conflict, NotFound
from quantum_suite.core.ids import new_id
from quantum_suite.services.workflows.failures import failure_of
from quantum_suite.services.workflows.interface import (
    FINAL,
    Body,
    Failure,
    Json,
    Owner,
    Queue,
    Run,
    RunQuery,
    Schedule,
    StepRecord,
    Verdict,
    Workflow,
)
from quantum_suite.services.workflows.memory_queue import MemoryQueue
from quantum_suite.services.workflows.memory_record import PlacedFailure, RunMemory, as_json, show_question
from quantum_suite.services.workflows.memory_run import MemoryRunContext, undo_all
from quantum_suite.services.workflows.replay import History, HistoryStep, history_of


class MemoryWorkflows:
    """Runs workflows as tasks while it is open, and remembers them for as long as it lives.

    Opening it again after it was closed is to it what a restart of the process is to the durable ones: runs that
    had not ended go on from the step they had come to.
    """

    def __init__(self, workflows: Sequence[Workflow], queues: Sequence[Queue] = ()) -> None:
        self._workflows = {workflow.name: workflow for workflow in workflows}
        self._queues = {queue.name: MemoryQueue(queue, self._execute) for queue in queues}
        self._runs: dict[str, RunMemory] = {}
        self._schedules: dict[str, Schedule] = {}
        self._clocks: dict[str, anyio.CancelScope] = {}
        self._tasks: anyio.abc.TaskGroup | None = None

    async def __aenter__(self) -> Self:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        for memory in list(self._runs.values()):
            if memory.run.state not in FINAL:
                self._enqueue(memory, 0)
        for schedule in self._schedules.values():
            self._tasks.start_soon(self._keep_time, schedule)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        tasks = self._open_tasks()
        self._tasks = None
        tasks.cancel_scope.cancel()
        ended = await tasks.__aexit__(kind, error, trace)
        for queue in self._queues.values():
            queue.clear()
        return ended

    async def start(
        self,
        workflow: str,
        arguments: Json,
        owner: Owner,
        *,
        run_id: str | None = None,
        queue: str | None = None,
        priority: int = 0,
        delay_seconds: float | None = None,
        deadline_seconds: float | None = None,
    ) -> Run:
        if run_id is not None and run_id in self._runs:
            return self._runs[run_id].run
        memory = self._new(workflow, arguments, owner, run_id=run_id, queue=queue)
        tasks = self._open_tasks()
        if deadline_seconds is not None:
            tasks.start_soon(self._end_at_deadline, memory, deadline_seconds)
        if delay_seconds:
            tasks.start_soon(self._enqueue_later, memory, priority, delay_seconds)
        else:
            self._enqueue(memory, priority)
        return memory.run

    async def get(self, run_id: str) -> Run:
        return self._memory(run_id).run

    async def steps(self, run_id: str) -> list[StepRecord]:
        return sorted(self._memory(run_id).steps.values(), key=lambda step: step.number)

    async def history(self, run_id: str) -> History:
        """Return what a run did, for replays."""
        memory = self._memory(run_id)
        ended = [(place, step) for place, step in memory.steps.items() if step.state != "running"]
        ended.sort(key=lambda pair: pair[1].number)
        return history_of(
            memory.run, [HistoryStep(place, step.name, step.result, step.failure) for place, step in ended]
        )

    async def find(self, query: RunQuery) -> tuple[list[Run], str | None]:
        found = [memory.run for memory in reversed(self._runs.values()) if _wanted(memory.run, query)]
        if query.cursor is not None:
            ids = [run.id for run in found]
            if query.cursor not in ids:
                raise CallerError("The cursor names no run.", "Begin again without one.", argument="cursor")
            found = found[ids.index(query.cursor) + 1 :]
        page = found[: query.limit]
        return page, page[-1].id if len(found) > len(page) else None

    async def wait(self, run_id: str, timeout_seconds: float) -> Run:
        memory = self._memory(run_id)
        with anyio.move_on_after(timeout_seconds):
            while memory.run.state not in FINAL:
                await memory.changed.wait()
        return memory.run

    async def cancel(self, run_id: str) -> Run:
        memory = self._memory(run_id)
        if memory.run.state in FINAL:
            return memory.run
        for child in [other for other in self._runs.values() if other.run.parent == run_id]:
            await self.cancel(child.run.id)
        if memory.scope is None:
            self._leave_queue(memory)
            memory.change(state="cancelled")
        else:
            memory.scope.cancel()
        while memory.run.state not in FINAL:
            await memory.changed.wait()
        return memory.run

    async def pause(self, run_id: str) -> Run:
        memory = self._memory(run_id)
        if memory.run.state in FINAL:
            raise Conflict(f"Run {run_id} is {memory.run.state}: there is nothing to pause.", argument="run")
        if memory.gate is None:
            memory.gate = anyio.Event()
            self._leave_queue(memory)
            memory.change(state="paused")
        return memory.run

    async def resume(self, run_id: str) -> Run:
        memory = self._memory(run_id)
        state = memory.run.state
        if state == "completed":
            raise Conflict(f"Run {run_id} is completed.", "Start it anew, or fork it from a step.", argument="run")
        if state in ("failed", "cancelled"):
            self._revive(memory)
        elif memory.gate is not None:
            gate, memory.gate = memory.gate, None
            gate.set()
            if memory.scope is None:
                self._enqueue(memory, 0)
            else:
                memory.change(state="waiting" if memory.waiting else "running")
        return memory.run

    async def fork(self, run_id: str, from_step: int, owner: Owner) -> Run:
        source = self._memory(run_id)
        if from_step < 1:
            raise CallerError("Steps count from 1.", argument="from_step")
        memory = self._new(source.run.workflow, source.run.arguments, owner, queue=source.run.queue)
        memory.run = replace(memory.run, forked_from=run_id, version=source.run.version)
        memory.steps = {
            place: step
            for place, step in source.steps.items()
            if step.number < from_step and step.state == "completed" and f"undo {place}" not in source.steps
        }
        self._enqueue(memory, 0)
        return memory.run

    async def signal(self, run_id: str, topic: str, payload: Json, *, key: str | None = None) -> None:
        memory = self._memory(run_id)
        if key is not None:
            if f"{topic}\n{key}" in memory.signal_keys:
                return
            memory.signal_keys.add(f"{topic}\n{key}")
        memory.signals[topic].append(as_json(payload))
        memory.change()

    async def approve(self, run_id: str, verdict: Verdict) -> Run:
        memory = self._memory(run_id)
        waiting = [question for question in memory.questions if question.verdict is None]
        if not waiting:
            raise Conflict(f"Run {run_id} waits for no approval.", "Look at its status.", argument="run")
        waiting[0].verdict = verdict
        waiting[0].answered.set()
        show_question(memory)
        return memory.run

    async def schedule(self, schedule: Schedule) -> None:
        if not croniter.is_valid(schedule.cron, second_at_beginning=True):
            raise CallerError(
                f"'{schedule.cron}' is no schedule.",
                "Give five fields (minute, hour, day, month, weekday), or six with seconds first; UTC.",
                argument="cron",
            )
        self._definition(schedule.workflow)
        await self.unschedule(schedule.name)
        self._schedules[schedule.name] = schedule
        if self._tasks is not None:
            self._tasks.start_soon(self._keep_time, schedule)

    async def unschedule(self, name: str) -> None:
        self._schedules.pop(name, None)
        if name in self._clocks:
            self._clocks.pop(name).cancel()

    async def schedules(self) -> list[Schedule]:
        return sorted(self._schedules.values(), key=lambda schedule: schedule.name)

    async def forget(self, before: datetime) -> int:
        old = [
            run_id
            for run_id, memory in self._runs.items()
            if memory.run.state in FINAL and memory.run.updated_at < before
        ]
        for run_id in old:
            del self._runs[run_id]
        return len(old)

    def _open_tasks(self) -> anyio.abc.TaskGroup:
        if self._tasks is None:
            raise RuntimeError("MemoryWorkflows is used outside its `async with`")
        return self._tasks

    def _memory(self, run_id: str) -> RunMemory:
        try:
            return self._runs[run_id]
        except KeyError:
            raise NotFound(f"There is no run {run_id}.", "List the runs.", argument="run") from None

    def _definition(self, name: str) -> Workflow:
        try:
            return self._workflows[name]
        except KeyError:
            known = ", ".join(sorted(self._workflows)) or "none"
            raise NotFound(
                f"There is no workflow '{name}'.", f"Known are: {known}.", argument="workflow"
            ) from None

    def _body(self, run: Run) -> Body:
        workflow = self._definition(run.workflow)
        bodies = {**workflow.older, workflow.version: workflow.body}
        if run.version not in bodies:
            raise Conflict(
                f"Run {run.id} began with version {run.version} of {run.workflow}.",
                "This release does not hold that version: start it anew.",
                argument="run",
            )
        return bodies[run.version]

    def _new(
        self,
        workflow: str,
        arguments: Json,
        owner: Owner,
        *,
        run_id: str | None = None,
        queue: str | None = None,
        parent: str | None = None,
    ) -> RunMemory:
        if queue is not None and queue not in self._queues:
            raise NotFound(f"There is no queue '{queue}'.", argument="queue")
        now = datetime.now(UTC)
        run = Run(
            id=run_id or new_id("run"),
            workflow=workflow,
            version=self._definition(workflow).version,
            state="queued",
            owner=owner,
            arguments=as_json(arguments),
            created_at=now,
            updated_at=now,
            queue=queue,
            parent=parent,
        )
        memory = self._runs[run.id] = RunMemory(run)
        return memory

    def _enqueue(self, memory: RunMemory, priority: int) -> None:
        memory.change(state="paused" if memory.gate is not None else "queued")
        if memory.run.queue is None:
            self._open_tasks().start_soon(self._execute, memory)
            return
        self._queues[memory.run.queue].push(memory, priority, self._open_tasks())

    def _leave_queue(self, memory: RunMemory) -> None:
        if memory.run.queue is not None:
            self._queues[memory.run.queue].leave(memory)

    async def _enqueue_later(self, memory: RunMemory, priority: int, seconds: float) -> None:
        await anyio.sleep(seconds)
        if memory.run.state == "queued":
            self._enqueue(memory, priority)

    async def _execute(self, memory: RunMemory) -> None:
        """Run the code to its end, and note how it ended. When this object is closed the run stays as it is."""
        if memory.run.state in FINAL:
            return
        memory.undos.clear()
        memory.change(state="paused" if memory.gate is not None else "running")
        failure: Failure | None = None
        place: str | None = None
        result: Json = None
        try:
            body = self._body(memory.run)
            with anyio.CancelScope() as memory.scope:
                result = as_json(await body(MemoryRunContext(memory, self._run_child), memory.run.arguments))
        except Exception as error:
            failure = failure_of(error, f"The run {memory.run.id}")
            place = error.place if isinstance(error, PlacedFailure) else None
        finally:
            scope, memory.scope = memory.scope, None
        cancelled = scope is not None and scope.cancelled_caught
        memory.failed_at = place
        if cancelled or failure is not None:
            await undo_all(memory)
        if cancelled:
            memory.change(state="cancelled")
        elif failure is not None:
            memory.change(state="failed", failure=failure)
        else:
            memory.change(state="completed", result=result)

    def _revive(self, memory: RunMemory) -> None:
        if memory.undone:
            raise Conflict(
                f"Run {memory.run.id} has undone what it did.",
                "Fork it from a step, or start it anew.",
                argument="run",
            )
        self._body(memory.run)
        memory.forget_failures(memory.failed_at)
        memory.change(failure=None)
        self._enqueue(memory, 0)

    async def _run_child(
        self, parent: RunMemory, child_id: str, workflow: str, arguments: Json, queue: str | None
    ) -> Run:
        known = self._runs.get(child_id)
        if known is None:
            known = self._new(
                workflow, arguments, parent.run.owner, run_id=child_id, queue=queue, parent=parent.run.id
            )
            self._enqueue(known, 0)
        elif known.run.state in ("failed", "cancelled"):
            self._revive(known)
        while known.run.state not in FINAL:
            await known.changed.wait()
        return known.run

    async def _end_at_deadline(self, memory: RunMemory, seconds: float) -> None:
        await anyio.sleep(seconds)
        if memory.run.state not in FINAL:
            failure = Failure("deadline_exceeded", f"The run took longer than {seconds:g} seconds.")
            memory.change(failure=failure)
            await self.cancel(memory.run.id)

    async def _keep_time(self, schedule: Schedule) -> None:
        with anyio.CancelScope() as self._clocks[schedule.name]:
            while not schedule.paused:
                now = datetime.now(UTC)
                due = croniter(schedule.cron, now, second_at_beginning=True).get_next(datetime)
                await anyio.sleep((due - now).total_seconds())
                run_id = f"{schedule.name}-{due:%Y%m%dT%H%M%SZ}"
                await self.start(schedule.workflow, schedule.arguments, schedule.owner, run_id=run_id)


def _wanted(run: Run, query: RunQuery) -> bool:
    return (
        (query.owner is None or run.owner.principal == query.owner)
        and (query.workflow is None or run.workflow == query.workflow)
        and (query.state is None or run.state == query.state)
    )
