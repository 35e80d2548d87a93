"""The context that a durable run's code works with."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

import anyio

from quantum_suite.services.workflows.attempts import delay_seconds, within
from quantum_suite.services.workflows.dbos.session import Done, Session, Undo, as_json
from quantum_suite.services.workflows.failures import worth_retrying
from quantum_suite.services.workflows.interface import (
    ONCE,
    Branch,
    Failure,
    Json,
    Owner,
    Retry,
    StepContext,
    StepFailed,
    Verdict,
)


class DurableRunContext:
    """`RunContext` for one run, or for one branch of it.

    Attempts at a step are counted in memory: after a crash they are counted anew, under the same idempotency key.
    """

    def __init__(self, session: Session, prefix: str) -> None:
        self._session = session
        self._prefix = prefix
        self._count = 0

    @property
    def run_id(self) -> str:
        return self._session.claim.run_id

    @property
    def owner(self) -> Owner:
        return self._session.owner

    async def step(
        self,
        name: str,
        work: Callable[[StepContext], Awaitable[Json]],
        *,
        retry: Retry = ONCE,
        deadline_seconds: float | None = None,
        undo: Undo | None = None,
    ) -> Json:
        place = self._next_place()

        async def attempts() -> Json:
            attempt = 1
            while True:
                try:
                    return await within(
                        deadline_seconds, name, work(self._session.step_context(place, name, attempt))
                    )
                except Exception as error:
                    if attempt >= retry.attempts or not worth_retrying(error):
                        raise
                await anyio.sleep(delay_seconds(retry, attempt))
                attempt += 1

        kept = await self._session.once(place, name, attempts)
        if undo is not None:
            self._session.undos.append(Done(kept, undo))
        return kept.result

    async def report(self, key: str, value: Json) -> None:
        await self._session.report(key, as_json(value))

    async def wait_for_signal(self, topic: str, *, timeout_seconds: float) -> Json:
        spec = {"kind": "signal", "topic": topic}
        return await self._session.wait(self._next_place(), f"signal {topic}", timeout_seconds, spec)

    async def approval(
        self, question: str, *, approvers: Sequence[str] = (), timeout_seconds: float, details: Json = None
    ) -> Verdict:
        shown = {
            "question": question,
            "approvers": list(approvers),
            "details": as_json(details),
            "expires_at": (datetime.now(UTC) + timedelta(seconds=timeout_seconds)).isoformat(),
        }
        late = {"approved": False, "by": None, "reason": "Nobody answered in time."}
        spec = {"kind": "approval", "shown": shown}
        said = await self._session.wait(self._next_place(), "approval", timeout_seconds, spec, otherwise=late)
        return Verdict(**said)

    async def sleep(self, seconds: float) -> None:
        await self._session.wait(self._next_place(), "sleep", seconds, {"kind": "sleep"})

    async def child(self, workflow: str, arguments: Json, *, queue: str | None = None) -> Json:
        place = self._next_place()
        child_id = f"{self.run_id}.{place}"

        async def run() -> Json:
            ended = await self._session.run_child(child_id, workflow, as_json(arguments), queue)
            if ended.state == "completed":
                return ended.result
            failure = ended.failure or Failure("cancelled", f"The run {child_id} of {workflow} was cancelled.")
            raise StepFailed(workflow, failure)

        return (await self._session.once(place, f"child {workflow}", run, child=child_id)).result

    async def parallel(self, branches: Sequence[Branch], *, concurrency: int | None = None) -> list[Json]:
        place = self._next_place()
        results: list[Json] = [None] * len(branches)
        failures: dict[int, Exception] = {}
        limit = anyio.CapacityLimiter(concurrency or max(len(branches), 1))

        async def run(index: int, branch: Branch) -> None:
            async with limit:
                try:
                    results[index] = as_json(
                        await branch(DurableRunContext(self._session, f"{place}.{index + 1}."))
                    )
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
