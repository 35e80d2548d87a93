"""A call that takes too long is ended, and says so."""

from collections.abc import Callable

import anyio
import pytest

from quantum_suite.hub.call import REQUEST_TIMEOUT, Call, Json, RpcError
from quantum_suite.hub.pipeline.deadline import DeadlineStage

pytestmark = pytest.mark.anyio
MakeCall = Callable[..., Call]


async def test_a_call_past_its_deadline_is_cancelled_and_the_seconds_named(make_call: MakeCall) -> None:
    cleaned = False

    async def hang(call: Call) -> Json:
        nonlocal cleaned
        try:
            await anyio.sleep_forever()
        finally:
            cleaned = True
        raise AssertionError

    with anyio.fail_after(25), pytest.raises(RpcError, match=r"longer than 0\.01 seconds") as caught:
        await DeadlineStage(0.01)(make_call(), hang)
    assert caught.value.code == REQUEST_TIMEOUT
    assert cleaned


async def test_an_answer_in_time_and_an_error_of_its_own_pass(make_call: MakeCall) -> None:
    async def answer(call: Call) -> Json:
        return {"answer": 1}

    async def fail(call: Call) -> Json:
        raise TimeoutError("the handler's own")

    assert await DeadlineStage(10)(make_call(), answer) == {"answer": 1}
    with pytest.raises(TimeoutError, match="own"):
        await DeadlineStage(10)(make_call(), fail)


async def test_a_subscription_lasts_as_long_as_its_client_listens(make_call: MakeCall) -> None:
    async def listen(call: Call) -> Json:
        with anyio.CancelScope() as scope:
            scope.deadline = anyio.current_time() + 0.05
            await anyio.sleep_forever()
        return {"ended": "by the client"}

    call = make_call(method="subscriptions/listen", params={})
    assert await DeadlineStage(0.001)(call, listen) == {"ended": "by the client"}


async def test_cancellation_from_outside_is_no_timeout(make_call: MakeCall) -> None:
    async def hang(call: Call) -> Json:
        await anyio.sleep_forever()
        raise AssertionError

    with anyio.CancelScope() as scope:
        scope.cancel()
        await DeadlineStage(10)(make_call(), hang)
    assert scope.cancelled_caught
