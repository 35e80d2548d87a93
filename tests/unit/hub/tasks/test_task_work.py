"""The work of a task, through workflows in memory: what is done again, what is in doubt, what is left open."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from quantum_suite.core.principals import LOCAL
from quantum_suite.hub.call import INVALID_PARAMS, Call, Credentials, Handler, Json, NoPeer, RpcError
from quantum_suite.hub.target import Target
from quantum_suite.hub.tasks.handles import TaskHandles
from quantum_suite.hub.tasks.policy import TaskPolicy
from quantum_suite.hub.tasks.work import MAX_ROUNDS, TaskWork
from quantum_suite.services.workflows.interface import FINAL, Run
from quantum_suite.services.workflows.memory import MemoryWorkflows

pytestmark = pytest.mark.anyio

Answer = Callable[[Call], Awaitable[Json]]


def complete(text: str = "done") -> Json:
    return {"resultType": "complete", "content": [{"type": "text", "text": text}]}


def asking(*keys: str, state: str | None = None) -> Json:
    requests = {key: {"method": "elicitation/create", "params": {}} for key in keys}
    return {
        "resultType": "input_required",
        "inputRequests": requests,
        **({"requestState": state} if state else {}),
    }


@dataclass
class Servers:
    """Stands for everything below the pipeline: a server that answers as a test says."""

    answer: Answer
    target: Target
    calls: list[Call] = field(default_factory=list)
    let: list[tuple[Any, Json | None]] = field(default_factory=list)

    async def handle(self, call: Call) -> Json:
        self.calls.append(call)
        return await self.answer(call)

    def find(self, call: Call) -> Target | None:
        return self.target

    async def let_go(self, call: Call, target: Target, server_task: Json | None) -> None:
        self.let.append((call.params.get("requestState"), server_task))


@dataclass
class Bench:
    servers: Servers
    work: TaskWork
    workflows: MemoryWorkflows
    handles: TaskHandles

    async def start(self, *, server_task: Json | None = None, **params: Any) -> Run:
        call = Call(
            id="call_1",
            method="tools/call",
            params={"name": "t", "arguments": {}, **params},
            era="modern",
            protocol_version="2026-07-28",
            credentials=Credentials("http", loopback=True, bearer="qs_secret"),
            peer=NoPeer(),
            principal=LOCAL,
            target=self.servers.target,
        )
        return await self.handles.start(call, ttl_seconds=None, server_task=server_task)

    async def until(self, run: Run, condition: Callable[[Run], Any] = lambda run: run.state in FINAL) -> Run:
        with anyio.fail_after(25):
            while not condition(run := await self.workflows.get(run.id)):
                await anyio.sleep(0.005)
        return run


@asynccontextmanager
async def a_bench(answer: Answer, **target: Any) -> AsyncIterator[Bench]:
    servers = Servers(answer, Target("tool", "t", "up", "t", **target))

    async def resolve(call: Call, handler: Handler) -> Json:
        call.target = servers.target
        return await handler(call)

    work = TaskWork([resolve], servers)
    workflows = MemoryWorkflows([work.definition])

    async def opened() -> MemoryWorkflows:
        return workflows

    async with workflows:
        yield Bench(servers, work, workflows, TaskHandles(opened, TaskPolicy()))


def waits(run: Run) -> bool:
    return bool(run.status.get("input"))


async def test_a_call_that_only_reads_is_made_again_under_the_same_key_after_the_process_ended() -> None:
    gate = anyio.Event()

    async def answer(call: Call) -> Json:
        await gate.wait()
        return complete()

    async with a_bench(answer, read_only=True) as bench:
        run = await bench.start()
        await bench.until(run, lambda _: bench.servers.calls)
        await bench.workflows.__aexit__(None, None, None)
        gate.set()
        await bench.workflows.__aenter__()
        run = await bench.until(run)

    assert run.result == {"result": complete()}
    keys = [call.params["_meta"]["quantum/idempotencyKey"] for call in bench.servers.calls]
    assert len(keys) == 2
    assert len(set(keys)) == 1


@pytest.mark.parametrize(
    ("marked", "calls"), [({}, 1), ({"takes_idempotency_key": True}, 2), ({"idempotent": True}, 2)]
)
async def test_a_call_that_may_have_taken_effect_is_not_made_twice(marked, calls) -> None:
    gate = anyio.Event()

    async def answer(call: Call) -> Json:
        await gate.wait()
        return complete()

    async with a_bench(answer, **marked) as bench:
        run = await bench.start()
        await bench.until(run, lambda _: bench.servers.calls)
        await bench.workflows.__aexit__(None, None, None)
        gate.set()
        bench.work._process = "another process"  # what a restart changes
        await bench.workflows.__aenter__()
        run = await bench.until(run)

    assert len(bench.servers.calls) == calls
    assert run.state == ("failed" if calls == 1 else "completed")
    if calls == 1:
        assert run.status["error"]["data"] == {"code": "in_doubt", "retryable": False}


async def test_no_credential_is_stored_and_the_call_keeps_its_id() -> None:
    async def answer(call: Call) -> Json:
        assert call.credentials.bearer is None
        assert call.id == "call_1"
        return complete()

    async with a_bench(answer, read_only=True) as bench:
        run = await bench.until(await bench.start(_meta={"authorization": "Bearer x", "progressToken": 7}))
    assert "qs_secret" not in str(run.arguments)
    assert "Bearer" not in str(run.arguments)
    assert run.state == "completed"


async def test_answers_arrive_one_by_one_and_the_state_goes_back_with_them() -> None:
    async def answer(call: Call) -> Json:
        if "inputResponses" not in call.params:
            return asking("a", "b", state="s1")
        return complete(str([call.params["inputResponses"], call.params["requestState"]]))

    async with a_bench(answer, read_only=True) as bench:
        run = await bench.until(await bench.start(), waits)
        assert set(run.status["input"]) == {"1.a", "1.b"}
        await bench.handles.answer(run, {"1.b": {"n": 2}})
        run = await bench.workflows.get(run.id)
        assert set(run.status["input"]) == {"1.a"}
        await bench.handles.answer(run, {"1.b": {"n": 3}, "1.a": {"n": 1}, "2.a": {"n": 4}})
        run = await bench.until(run)
    assert run.result["result"]["content"][0]["text"] == "[{'b': {'n': 2}, 'a': {'n': 1}}, 's1']"


async def test_a_state_that_did_not_outlive_its_process_is_asked_for_anew_once() -> None:
    async def answer(call: Call) -> Json:
        if call.params.get("requestState") == "s1" and len(bench.servers.calls) < 3:
            raise RpcError(INVALID_PARAMS, "unknown state")
        return complete() if "requestState" in call.params else asking("a", state="s1")

    async with a_bench(answer, read_only=True) as bench:
        run = await bench.until(await bench.start(), waits)
        await bench.handles.answer(run, {"1.a": {}})
        run = await bench.until(run, lambda run: "3.a" in (run.status.get("input") or {}))
        await bench.handles.answer(run, {"3.a": {}})
        run = await bench.until(run)
    assert run.state == "completed"


async def test_wrong_params_that_are_the_callers_own_fail_the_task() -> None:
    async def answer(call: Call) -> Json:
        raise RpcError(INVALID_PARAMS, "bad arguments", {"argument": "x"})

    async with a_bench(answer, read_only=True) as bench:
        run = await bench.until(await bench.start())
    assert run.status["error"] == {"code": INVALID_PARAMS, "message": "bad arguments", "data": {"argument": "x"}}


async def test_a_call_that_never_stops_asking_is_given_up() -> None:
    async def answer(call: Call) -> Json:
        return asking()

    async with a_bench(answer, read_only=True) as bench:
        run = await bench.until(await bench.start())
    assert len(bench.servers.calls) == MAX_ROUNDS
    assert run.state == "failed"


async def test_what_a_server_left_open_is_let_go_when_the_task_is_cancelled() -> None:
    made = {"resultType": "task", "taskId": "theirs"}

    async def answer(call: Call) -> Json:
        return asking("a", state="parked") if call.server_task else made

    async with a_bench(answer, read_only=True) as bench:
        run = await bench.until(await bench.start(), waits)
        await bench.handles.cancel(run)
        other = await bench.until(await bench.start(server_task=made), waits)
        await bench.handles.cancel(other)
    assert bench.servers.let == [("parked", made), (None, made)] * 2


async def test_one_principal_has_only_so_many_tasks_at_work() -> None:
    gate = anyio.Event()

    async def answer(call: Call) -> Json:
        await gate.wait()
        return complete()

    async with a_bench(answer, read_only=True) as bench:
        bench.work._most_per_principal = 1
        run = await bench.start()
        await bench.until(run, lambda _: bench.servers.calls)
        assert not bench.work.has_room("local")
        assert bench.work.has_room("key:other")
        gate.set()
        await bench.until(run)
        assert bench.work.has_room("local")
