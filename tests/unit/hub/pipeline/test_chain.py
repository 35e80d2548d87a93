"""The order of the stages is the order of the list."""

from collections.abc import Callable

import pytest

from quantum_suite.hub.call import Call, Handler, Json, Stage
from quantum_suite.hub.pipeline.chain import fold

pytestmark = pytest.mark.anyio


async def test_a_call_passes_down_in_order_and_its_answer_up_in_reverse(make_call: Callable[..., Call]) -> None:
    steps: list[str] = []

    def stage(name: str) -> Stage:
        async def pass_on(call: Call, handler: Handler) -> Json:
            steps.append(f"{name} down")
            result = await handler(call)
            steps.append(f"{name} up")
            return result

        return pass_on

    async def last(call: Call) -> Json:
        steps.append(call.id)
        return {"answer": 1}

    handler = fold([stage("a"), stage("b")], last)
    assert await handler(make_call()) == {"answer": 1}
    assert steps == ["a down", "b down", "call_1", "b up", "a up"]


async def test_a_stage_that_answers_ends_the_way_down(make_call: Callable[..., Call]) -> None:
    async def answer(call: Call, handler: Handler) -> Json:
        return {"answer": 2}

    async def unreachable(call: Call) -> Json:
        raise AssertionError("the call went on")

    assert await fold([answer], unreachable)(make_call()) == {"answer": 2}


def test_no_stages_leave_the_handler_as_it_is() -> None:
    async def last(call: Call) -> Json:
        return {}

    assert fold([], last) is last
