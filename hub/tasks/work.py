"""A task's work: its call made again below the stages it has passed, as a durable workflow."""

import hashlib
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

import anyio

from quantum_suite.core.errors import SuiteError, Unavailable
from quantum_suite.hub.call import (
    CONNECTION_CLOSED,
    INVALID_PARAMS,
    REQUEST_TIMEOUT,
    UPSTREAM_UNAVAILABLE,
    Call,
    Handler,
    Json,
    NoPeer,
    RpcError,
    Stage,
)
from quantum_suite.hub.pipeline.chain import fold
from quantum_suite.hub.target import Target
from quantum_suite.hub.tasks.forms import ERROR_STATUS, INPUT_STATUS
from quantum_suite.hub.tasks.handles import INPUT_TOPIC, WORKFLOW
from quantum_suite.hub.tasks.peer import ProgressPeer
from quantum_suite.hub.tasks.record import TaskRecord, in_modern_form
from quantum_suite.services.workflows.interface import Owner, RunContext, StepContext, Workflow

MAX_ROUNDS = 40
"""Times a task may ask for input, or change hands between call and server, before it is given up."""

STARTING_SECONDS = 60.0
"""How long after the start of this process a task waits for a server that is not there yet."""

LET_GO_SECONDS = 30.0
"""How long a server that is away is told again and again to stop what a task left open there."""

_RETRY_SECONDS = 1.0

Undo = Callable[[StepContext, Any], Awaitable[None]]


class Servers(Protocol):
    """What a task's work needs of the router."""

    async def handle(self, call: Call) -> Json:
        """Make the call."""
        ...

    def find(self, call: Call) -> Target | None:
        """Return what the call's name stands for."""
        ...

    async def let_go(self, call: Call, target: Target, server_task: Json | None) -> None:
        """Cancel what the call left open."""
        ...


class TaskFailed(SuiteError):
    """The call ended in a JSON-RPC error."""

    code = "task_failed"


@dataclass(frozen=True, slots=True)
class _Round:
    """What is sent next: the call, an answer to its questions, or nothing because its server works on a task."""

    params: Json
    server_task: Json | None
    continued: bool = False

    def answered(self, result: Json, answers: Json) -> "_Round":
        params = {**_anew(self.params), "inputResponses": answers}
        if "requestState" in result:
            params["requestState"] = result["requestState"]
        return replace(self, params=params, continued=True)


class TaskWork:
    """Runs tasks in this process. `definition` is what the orchestrator has to know, before it is opened."""

    def __init__(self, stages: Sequence[Stage], servers: Servers, *, most_per_principal: int = 100) -> None:
        """`stages` is what the work still has to pass: audit, errors, who the owner is now, what the name stands
        for, and whether the owner may."""
        self._servers = servers
        self._call = fold(stages, self._carry)
        self._give_up = fold(stages, _in_doubt)
        self._most_per_principal = most_per_principal
        self._at_work: Counter[str] = Counter()
        self._process = secrets.token_hex(8)
        self._began_at: float | None = None
        self.definition = Workflow(WORKFLOW, self._run, "1", description="The work of an MCP task.")

    def has_room(self, principal_id: str) -> bool:
        """Whether this process takes on one more task of a principal."""
        return self._at_work[principal_id] < self._most_per_principal

    # -- the workflow: everything here is deterministic but for what steps return --------------------------------

    async def _run(self, run: RunContext, arguments: Any) -> Json:
        principal = run.owner.principal
        self._at_work[principal] += 1
        try:
            return await self._rounds(run, TaskRecord.from_json(arguments))
        finally:
            self._at_work[principal] -= 1

    async def _rounds(self, run: RunContext, record: TaskRecord) -> Json:
        next_round, begun_anew = _Round(record.params, record.server_task), False
        if record.server_task is not None:
            await self._adopt(run, record, record.server_task)
        for number in range(1, MAX_ROUNDS + 1):
            outcome = await self._round(run, record, next_round)
            if (error := outcome.get("error")) is not None:
                # What was asked, or its state, did not outlive the process that asked: ask again.
                lost = next_round.continued and not begun_anew and error["code"] == INVALID_PARAMS
                if not lost or not (record.repeatable or next_round.server_task):
                    raise await _failed(run, error)
                begun_anew = True
                next_round = _Round(_anew(next_round.params), next_round.server_task)
                continue
            result: Json = outcome["result"]
            if result.get("resultType") == "task":
                next_round = _Round(_anew(next_round.params), result)
            elif result.get("resultType") == "input_required":
                answers = await self._ask(run, record, number, _requests(result))
                next_round, begun_anew = next_round.answered(result, answers), False
            else:
                return {"result": result}
        raise await _failed(
            run, RpcError(UPSTREAM_UNAVAILABLE, f"The call did not end in {MAX_ROUNDS} rounds.").as_json()
        )

    async def _round(self, run: RunContext, record: TaskRecord, this: _Round) -> Json:
        begun: str | None = None
        if not record.repeatable and this.server_task is None:
            begun = await run.step("begin", self._begin)

        async def carry(step: StepContext) -> Json:
            await step.check()
            call = self._made(run, record, this, step)
            # Another process began this very call, in this very run, and its end was never recorded.
            doubt = begun is not None and begun.partition(":")[2] == run.run_id and begun != self._mark(run.run_id)
            return await self._outcome(call, self._give_up if doubt else self._call)

        undo = self._undo(run.owner, record, this.server_task)
        return dict(await run.step("follow" if this.server_task else "call", carry, undo=undo))

    async def _adopt(self, run: RunContext, record: TaskRecord, server_task: Json) -> None:
        """Be answerable for a task that the server has made before the run began."""

        async def adopt(_: StepContext) -> Json:
            return {"result": server_task}

        await run.step("adopt", adopt, undo=self._undo(run.owner, record, None))

    def _undo(self, owner: Owner, record: TaskRecord, server_task: Json | None) -> Undo:
        """Take back what a round left open: a question, and a task of the server's that it followed or made."""

        async def undo(_: StepContext, outcome: Any) -> None:
            result = outcome.get("result") or {}
            if result.get("resultType") == "task":
                await self._let_go(record, owner, record.params, result)
            elif result.get("resultType") == "input_required":
                params = {**record.params, "requestState": result.get("requestState")}
                await self._let_go(record, owner, params, server_task)

        return undo

    async def _ask(self, run: RunContext, record: TaskRecord, number: int, requests: Json) -> Json:
        """Have the client answer every request; keys are never used twice by one task."""
        waiting = {f"{number}.{key}": request for key, request in requests.items()}
        answers: Json = {}
        while waiting:
            await run.report(INPUT_STATUS, waiting)
            said = await run.wait_for_signal(INPUT_TOPIC, timeout_seconds=record.question_seconds)
            if said is None:
                error = RpcError(REQUEST_TIMEOUT, "Nobody answered what the task asked, in time.")
                raise await _failed(run, error.as_json())
            if said["key"] not in waiting:
                continue
            waiting = {key: request for key, request in waiting.items() if key != said["key"]}
            if "error" in said:
                raise await _failed(run, said["error"])
            answers[said["key"].partition(".")[2]] = said["answer"]
        await run.report(INPUT_STATUS, None)
        return answers

    # -- steps -------------------------------------------------------------------------------------------------

    async def _begin(self, step: StepContext) -> str:
        return self._mark(step.run_id)

    def _mark(self, run_id: str) -> str:
        return f"{self._process}:{run_id}"

    def _made(self, run: RunContext, record: TaskRecord, this: _Round, step: StepContext) -> Call:
        peer = ProgressPeer(step.progress)
        return record.call(run.owner, peer, this.params, this.server_task, _idempotency_key(run.run_id))

    async def _outcome(self, call: Call, handler: Handler) -> Json:
        """Make the call; errors are outcomes too, so that they are remembered as they were."""
        self._began_at = self._began_at or anyio.current_time()
        pause = _RETRY_SECONDS
        while True:
            try:
                return {"result": await handler(call)}
            except RpcError as error:
                if not self._may_yet_come(call, error):
                    return {"error": error.as_json()}
            await anyio.sleep(pause)
            pause *= 2

    def _may_yet_come(self, call: Call, error: RpcError) -> bool:
        """Whether the call was not begun, and its server may only be slower to start than this process."""
        if anyio.current_time() - (self._began_at or 0) > STARTING_SECONDS:
            return False
        away = isinstance(error.data, dict) and error.data.get("code") == "unavailable"
        return away or (type(error) is RpcError and error.code == INVALID_PARAMS and call.target is None)

    async def _carry(self, call: Call) -> Json:
        return await self._servers.handle(in_modern_form(call))

    async def _let_go(self, record: TaskRecord, owner: Owner, params: Json, server_task: Json | None) -> None:
        call = in_modern_form(record.call(owner, NoPeer(), params, None, ""))
        with anyio.move_on_after(LET_GO_SECONDS):
            while True:
                target = self._servers.find(call)
                with suppress(Unavailable):
                    if target is not None:
                        await self._servers.let_go(call, target, server_task)
                        return
                await anyio.sleep(_RETRY_SECONDS)


async def _in_doubt(_: Call) -> Json:
    raise RpcError(
        CONNECTION_CLOSED,
        "The process that made the call ended before the answer came: it may or may not have been carried out. "
        "Look at what it was to do, then decide whether to call again.",
        {"code": "in_doubt", "retryable": False},
    )


async def _failed(run: RunContext, error: Json) -> TaskFailed:
    await run.report(INPUT_STATUS, None)
    await run.report(ERROR_STATUS, error)
    return TaskFailed(error["message"])


def _anew(params: Json) -> Json:
    return {key: value for key, value in params.items() if key not in ("inputResponses", "requestState")}


def _requests(result: Json) -> Json:
    requests = result.get("inputRequests")
    if not isinstance(requests, dict):
        return {}
    return {key: request for key, request in requests.items() if isinstance(request, dict) and "method" in request}


def _idempotency_key(run_id: str) -> str:
    """The same for every attempt and every round; the task's id, which opens the task, stays here."""
    return hashlib.sha256(run_id.encode()).hexdigest()
