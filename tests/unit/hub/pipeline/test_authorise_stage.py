"""What a principal may not use looks to it as if it did not exist."""

from collections.abc import Callable

import pytest

from quantum_suite.core.errors import Refused
from quantum_suite.core.principals import Principal, Role
from quantum_suite.hub.access.authoriser import Authoriser
from quantum_suite.hub.call import INVALID_PARAMS, Call, Json
from quantum_suite.hub.pipeline.authorise import AuthoriseStage
from quantum_suite.hub.pipeline.errors import RefusedCall
from quantum_suite.hub.target import Target

pytestmark = pytest.mark.anyio
MakeCall = Callable[..., Call]

VIEWER = Principal("key:viewer", frozenset({Role.VIEWER}))
DROP = Target("tool", "ops_drop", "ops", "drop", destructive=True)


async def answer(call: Call) -> Json:
    return {"answer": 1}


async def unreachable(call: Call) -> Json:
    raise AssertionError("the call went on")


@pytest.fixture
def stage() -> AuthoriseStage:
    return AuthoriseStage(Authoriser())


async def test_what_is_permitted_goes_on(stage: AuthoriseStage, make_call: MakeCall) -> None:
    assert await stage(make_call(target=DROP), answer) == {"answer": 1}


@pytest.mark.parametrize("method", ["ping", "tools/list", "server/discover", "tools/call"])
async def test_a_call_without_a_target_is_open_to_every_role(
    stage: AuthoriseStage, make_call: MakeCall, method: str
) -> None:
    assert await stage(make_call(method=method, principal=VIEWER), answer) == {"answer": 1}


async def test_a_principal_without_a_role_gets_nothing(stage: AuthoriseStage, make_call: MakeCall) -> None:
    with pytest.raises(Refused, match="key:none has no role"):
        await stage(make_call(method="ping", principal=Principal("key:none")), unreachable)


async def test_a_call_that_nobody_authenticated_is_refused(stage: AuthoriseStage, make_call: MakeCall) -> None:
    with pytest.raises(Refused):
        await stage(make_call(method="ping", principal=None), unreachable)


async def test_a_tool_a_viewer_may_not_call_is_unknown_to_it(stage: AuthoriseStage, make_call: MakeCall) -> None:
    with pytest.raises(RefusedCall) as caught:
        await stage(make_call(target=DROP, principal=VIEWER), unreachable)
    assert caught.value.as_json() == {"code": INVALID_PARAMS, "message": "Unknown tool: ops_drop"}
    assert caught.value.reason == "hidden"


async def test_a_forbidden_prompt_and_resource_are_unknown_too(make_call: MakeCall) -> None:
    class DenyTargets(Authoriser):
        def sees(self, principal: Principal, target: Target) -> bool:
            return False

    stage = AuthoriseStage(DenyTargets())
    prompt = make_call(
        method="prompts/get", params={"name": "ops_ask"}, target=Target("prompt", "ops_ask", "ops", "ask")
    )
    with pytest.raises(RefusedCall) as caught:
        await stage(prompt, unreachable)
    assert caught.value.as_json() == {"code": INVALID_PARAMS, "message": "Unknown prompt: ops_ask"}
    template = Target("resource", "db://{table}", "ops", "db://{table}")
    resource = make_call(method="resources/read", params={"uri": "db://users"}, target=template)
    with pytest.raises(RefusedCall) as caught:
        await stage(resource, unreachable)
    assert caught.value.as_json() == {
        "code": INVALID_PARAMS,
        "message": "Resource not found: db://users",
        "data": {"uri": "db://users"},
    }
