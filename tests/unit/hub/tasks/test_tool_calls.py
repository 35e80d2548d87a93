"""Workflows call tools as their owner: with the rights left to it, and errors of the suite's own."""

from typing import Any

import pytest

from quantum_suite.core.errors import EngineError, NotFound, RateLimited, Refused, SuiteError, Unavailable
from quantum_suite.core.principals import Role
from quantum_suite.hub.access.memory_keys import MemoryKeyStore
from quantum_suite.hub.access.owners import Owners
from quantum_suite.hub.call import Call, Json, RpcError
from quantum_suite.hub.pipeline.chain import fold
from quantum_suite.hub.pipeline.errors import RefusedCall, translate_errors
from quantum_suite.hub.pipeline.owner import OwnerStage
from quantum_suite.hub.target import Target
from quantum_suite.hub.tasks.tool_calls import PipelineToolCalls
from quantum_suite.services.workflows.interface import Owner
from quantum_suite.services.workflows.tool_calls import ToolCall

pytestmark = pytest.mark.anyio

CALL = ToolCall("up_t", {"a": 1}, "run_1:2.1", meta={"traceparent": "00-x"})


def calls(answer: Any, keys: MemoryKeyStore | None = None) -> PipelineToolCalls:
    return PipelineToolCalls(fold([translate_errors, OwnerStage(Owners(keys or MemoryKeyStore()))], answer))


async def test_the_tool_is_called_as_the_owner_with_the_steps_key() -> None:
    seen: list[Call] = []
    told: list[Any] = []

    async def answer(call: Call) -> Json:
        seen.append(call)
        progress = {"progressToken": call.params["_meta"]["progressToken"], "progress": 1, "total": 2}
        await call.peer.notify("notifications/progress", progress)
        await call.peer.notify("notifications/message", {"data": "dropped"})
        return {"resultType": "complete", "content": []}

    async def progress(*said: Any) -> None:
        told.append(said)

    owner = Owner("local", ("operator",))
    assert await calls(answer).call(owner, CALL, progress) == {"resultType": "complete", "content": []}
    (call,) = seen
    assert call.principal is not None
    assert (call.principal.id, call.principal.roles) == ("local", {Role.OPERATOR}), "never more than it began with"
    assert call.params["arguments"] == {"a": 1}
    assert call.params["_meta"]["quantum/idempotencyKey"] == "run_1:2.1"
    assert call.run == "run_1"
    assert call.params["_meta"]["traceparent"] == "00-x"
    assert not call.takes_task
    assert told == [(1, 2, None)]


async def test_a_round_that_asks_comes_back_and_its_answer_goes_in() -> None:
    async def answer(call: Call) -> Json:
        if call.params.get("requestState") == "s":
            return {"resultType": "complete", "content": [call.params["inputResponses"]]}
        return {"resultType": "input_required", "inputRequests": {"q": {}}, "requestState": "s"}

    owner = Owner("local", ("admin",))
    asked = await calls(answer).call(owner, CALL)
    assert asked["requestState"] == "s"
    again = ToolCall("up_t", {"a": 1}, "key-1", {"q": {"action": "accept"}}, "s")
    assert (await calls(answer).call(owner, again))["content"] == [{"q": {"action": "accept"}}]


async def test_a_narrowed_key_narrows_and_a_revoked_one_ends_what_its_owner_began() -> None:
    async def answer(call: Call) -> Json:
        assert call.principal is not None
        return {"roles": sorted(call.principal.roles), "workspaces": call.principal.workspaces}

    keys = MemoryKeyStore()
    keys.create("ops", [Role.ADMIN])
    owner = Owner("key:ops", ("admin",), ("/srv/a", "/srv/b"))
    asked = calls(answer, keys)
    assert await asked.call(owner, CALL) == {"roles": ["admin"], "workspaces": ("/srv/a", "/srv/b")}
    keys.revoke("ops")
    with pytest.raises(Refused, match="revoked or has expired"):
        await asked.call(owner, CALL)
    keys.create("ops", [Role.VIEWER], workspaces=["/"])
    assert await asked.call(owner, CALL) == {"roles": ["viewer"], "workspaces": ("/srv/a", "/srv/b")}
    with pytest.raises(Refused):
        await asked.call(Owner("oidc:somebody", ("admin",)), CALL)


TARGET = Target("tool", "up_t", "up", "t")


@pytest.mark.parametrize(
    ("error", "expected", "target"),
    [
        (RpcError(-32602, "Unknown tool: up_t"), NotFound, None),
        (RefusedCall(-32602, "Unknown tool: up_t", reason="hidden"), NotFound, TARGET),
        (RpcError(-32602, "arguments must be an object."), EngineError, TARGET),
        (RefusedCall(-32012, "no", reason="declined"), Refused, TARGET),
        (RpcError(-32021, "needs more"), Refused, TARGET),
        (RpcError(-32014, "slow", {"retryAfterSeconds": 7}), RateLimited, TARGET),
        (RpcError(-32011, "away"), Unavailable, TARGET),
        (RpcError(-32001, "late"), Unavailable, TARGET),
        (RpcError(-32050, "its own"), EngineError, TARGET),
        (ZeroDivisionError("bug"), EngineError, TARGET),
    ],
)
async def test_errors_arrive_as_the_suites_own(error: Exception, expected: type[SuiteError], target: Any) -> None:
    async def answer(call: Call) -> Json:
        call.target = target
        raise error

    with pytest.raises(expected) as caught:
        await calls(answer).call(Owner("local", ("admin",)), CALL)
    assert type(caught.value) is expected
    if isinstance(caught.value, RateLimited):
        assert caught.value.retry_after_seconds == 7
    if isinstance(caught.value, EngineError):
        assert caught.value.engine == "up"
