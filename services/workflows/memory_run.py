"""The context a run in memory works with."""

import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

import anyio

from quantum_suite.core.errors import Unavailable
from quantum_suite.services.workflows.failures import failure_of, worth_retrying
from quantum_suite.services.workflows.interface import (
    ONCE,
    PROGRESS_STATUS,
    Branch,
    Failure,
    Json,
    Owner,
    Retry,
    Run,
    StepContext,
    StepFailed,
    Verdict,
)
from quantum_suite.services.workflows.memory_record import (
    PlacedFailure,
    Question,
    RunMemory,
    Undo,
    as_json,
    show_question,
)

UNDO_SECONDS = 60.0
"""How long taking back one step may take."""

Work = Callable[[StepContext], Awaitable[Json]]
Progress = Callable[[float, float | None, str | None], Awaitable[None]]


class Children(Protocol):
    """Runs a child and returns it when it is final."""

    async def __call__(
        self, parent: "RunMemory", child_id: str, workflow: str, arguments: Json, queue: str | None
    ) -> Run: ...


class MemoryRunContext:
    """`RunContext` for one run, or for one branch of it."""

    def __init__(self, memory: RunMemory, children: Children, prefix: str = "") -> None:
        self._memory = memory
        self._children = children
        self._prefix = prefix
        self._count = 0

    @property
    def run_id(self) -> str:
        return self._memory.run.id

    @property
    def owner(self) -> Owner:
        return self._memory.run.owner

    async def step(
        self,
        name: str,
        work: Work,
        *,
        retry: Retry = ONCE,
        deadline_seconds: float | None = None,
        undo: Undo | None = None,
    ) -> Json:
        place = self._next_place()

        async def attempts() -> Json:
            return await self._attempts(place, name, work, retry, deadline_seconds)

        result = await self._once(place, name, attempts)
        if undo is not None:
            self._memory.undos.append((place, name, undo, result))
        return result

    async def report(self, key: str, value: Json) -> None:
        self._memory.change(status={key: as_json(value)})

    async def wait_for_signal(self, topic: str, *, timeout_seconds: float) -> Json:
        async def wait() -> Json:
            arrived = self._memory.signals[topic]
            with anyio.move_on_after(timeout_seconds):
                while not arrived:
                    await self._memory.changed.wait()
                return arrived.popleft()
            return None

        return await self._once(self._next_place(), f"signal {topic}", wait, waits=True)

    async def approval(
        self, question: str, *, approvers: Sequence[str] = (), timeout_seconds: float, details: Json = None
    ) -> Verdict:
        async def ask() -> Json:
            expires_at = datetime.now(UTC) + timedelta(seconds=timeout_seconds)
            asked = Question(
                {
                    "question": question,
                    "approvers": list(approvers),
                    "details": as_json(details),
                    "expires_at": expires_at.isoformat(),
                }
            )
            self._memory.questions.append(asked)
            show_question(self._memory)
            try:
                with anyio.move_on_after(timeout_seconds):
                    await asked.answered.wait()
            finally:
                self._memory.questions.remove(asked)
                show_question(self._memory)
            said = asked.verdict or Verdict(False, None, "Nobody answered in time.")
            return {"approved": said.approved, "by": said.by, "reason": said.reason}

        return Verdict(**await self._once(self._next_place(), "approval", ask, waits=True))

    async def sleep(self, seconds: float) -> None:
        async def wait() -> None:
            await anyio.sleep(seconds)

        await self._once(self._next_place(), "sleep", wait, waits=True)

    async def child(self, workflow: str, arguments: Json, *, queue: str | None = None) -> Json:
        place = self._next_place()
        child_id = f"{self.run_id}.{place}"

        async def run() -> Json:
            ended = await self._children(self._memory, child_id, workflow, as_json(arguments), queue)
            if ended.state == "completed":
                return ended.result
            failure = ended.failure or Failure("cancelled", f"The run {child_id} of {workflow} was cancelled.")
            raise StepFailed(workflow, failure)

        return await self._once(place, f"child {workflow}", run, child=child_id)

    async def parallel(self, branches: Sequence[Branch], *, concurrency: int | None = None) -> list[Json]:
        place = self._next_place()
        results: list[Json] = [None] * len(branches)
        failures: dict[int, BaseException] = {}
        limit = anyio.CapacityLimiter(concurrency or max(len(branches), 1))

        async def run(index: int, branch: Branch) -> None:
            async with limit:
                context = MemoryRunContext(self._memory, self._children, f"{place}.{index + 1}.")
                try:
                    results[index] = as_json(await branch(context))
                except Exception as error:
                    failures[index] = error

        async with anyio.create_task_group() as tasks:
            for index, branch in enumerate(branches):
                tasks.start_soon(run, index, branch)
        if failures:
            raise failures[min(failures)]
        return results

    def _next_place(self) -> str:
        self._count += 1
        return f"{self._prefix}{self._count}"

    async def _once(
        self,
        place: str,
        name: str,
        work: Callable[[], Awaitable[Json]],
        *,
        waits: bool = False,
        child: str | None = None,
    ) -> Json:
        """Do what was not done yet; return or raise what is remembered otherwise."""
        known = self._memory.steps.get(place)
        if known is not None and known.state == "completed":
            return known.result
        if known is not None and known.state == "failed" and known.failure is not None:
            raise PlacedFailure(name, known.failure, place)
        while self._memory.gate is not None:
            await self._memory.gate.wait()
        self._memory.record(place, name, "running", child=child)
        try:
            with _Waiting(self._memory, waits):
                result = as_json(await work())
        except Exception as error:
            failure = failure_of(error, f"The step {name} of run {self.run_id}")
            self._memory.record(place, name, "failed", failure=failure)
            raise PlacedFailure(name, failure, place) from error
        self._memory.record(place, name, "completed", result=result)
        return result

    async def _attempts(self, place: str, name: str, work: Work, retry: Retry, deadline: float | None) -> Json:
        attempt = 1
        while True:
            context = StepContext(
                run_id=self.run_id,
                step=name,
                attempt=attempt,
                idempotency_key=f"{self.run_id}:{place}",
                check=_never_fenced,
                progress=_progress(self._memory, name),
            )
            try:
                return await within(deadline, name, work(context))
            except Exception as error:
                if attempt >= retry.attempts or not worth_retrying(error):
                    raise
            await anyio.sleep(delay_seconds(retry, attempt))
            attempt += 1


class _Waiting:
    """Shows the run as waiting for as long as one of its branches waits for the world."""

    def __init__(self, memory: RunMemory, waits: bool) -> None:
        self._memory = memory
        self._waits = waits

    def __enter__(self) -> None:
        if self._waits:
            self._memory.waiting += 1
            if self._memory.run.state == "running":
                self._memory.change(state="waiting")

    def __exit__(self, *error: object) -> None:
        if self._waits:
            self._memory.waiting -= 1
            if self._memory.run.state == "waiting" and not self._memory.waiting:
                self._memory.change(state="running")


def delay_seconds(retry: Retry, attempt: int) -> float:
    """Return how long to wait after the `attempt`-th try: exponential, with full jitter."""
    longest = min(retry.longest_delay_seconds, retry.first_delay_seconds * retry.backoff ** (attempt - 1))
    return random.uniform(0, longest)  # noqa: S311 - spreads load, guards nothing


async def within(seconds: float | None, name: str, work: Awaitable[Json]) -> Json:
    """Await `work`; raises Unavailable once it has taken longer than `seconds`."""
    if seconds is None:
        return await work
    with anyio.move_on_after(seconds):
        return await work
    raise Unavailable(
        f"The step {name} took longer than {seconds:g} seconds.", "Give it more time, or less to do."
    )


async def undo_all(memory: RunMemory) -> None:
    """Take back what was done, last first. What cannot be taken back stays on the record as a failed step."""
    for place, name, undo, result in reversed(memory.undos):
        memory.undone = True
        undo_place, step = f"undo {place}", f"undo {name}"
        memory.record(undo_place, step, "running")
        context = StepContext(
            memory.run.id, step, 1, f"{memory.run.id}:{undo_place}", _never_fenced, _progress(memory, step)
        )
        try:
            await within(UNDO_SECONDS, step, undo(context, result))
            memory.record(undo_place, step, "completed")
        except Exception as error:
            memory.record(undo_place, step, "failed", failure=failure_of(error, step))


def _progress(memory: RunMemory, step: str) -> Progress:
    async def progress(done: float, total: float | None, message: str | None) -> None:
        said = {"step": step, "progress": done, "total": total, "message": message}
        memory.change(status={PROGRESS_STATUS: said})

    return progress


async def _never_fenced() -> None:
    return None
