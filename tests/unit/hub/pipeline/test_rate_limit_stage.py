"""Each principal has its budget, and no other's."""

from collections.abc import Callable

import pytest

from quantum_suite.core.errors import ConfigurationError, RateLimited
from quantum_suite.core.principals import Principal
from quantum_suite.hub.call import Call, Json
from quantum_suite.hub.pipeline.rate_limit import RateLimitStage

pytestmark = pytest.mark.anyio
MakeCall = Callable[..., Call]


class Clock:
    def __init__(self) -> None:
        self.passed = 0.0

    def __call__(self) -> float:
        return self.passed


async def answer(call: Call) -> Json:
    return {}


async def passed(stage: RateLimitStage, call: Call, tries: int) -> int:
    count = 0
    for _ in range(tries):
        try:
            await stage(call, answer)
        except RateLimited:
            continue
        count += 1
    return count


async def test_a_sixth_of_the_budget_passes_at_once_and_the_rest_as_time_goes_by(make_call: MakeCall) -> None:
    clock = Clock()
    stage = RateLimitStage(60, monotonic=clock)
    assert await passed(stage, make_call(), 30) == 10
    clock.passed += 3
    assert await passed(stage, make_call(), 30) == 3
    clock.passed += 3600
    assert await passed(stage, make_call(), 30) == 10


async def test_the_refusal_says_when_there_is_room_again(make_call: MakeCall) -> None:
    clock = Clock()
    stage = RateLimitStage(6, monotonic=clock)
    await stage(make_call(), answer)
    with pytest.raises(RateLimited, match="6 calls a minute") as caught:
        await stage(make_call(), answer)
    assert caught.value.retry_after_seconds == 10
    clock.passed = caught.value.retry_after_seconds
    assert await stage(make_call(), answer) == {}


async def test_one_principal_does_not_spend_anothers_budget(make_call: MakeCall) -> None:
    stage = RateLimitStage(60, monotonic=Clock())
    assert await passed(stage, make_call(), 30) == 10
    assert await passed(stage, make_call(principal=Principal("key:other")), 30) == 10


async def test_buckets_are_bounded_and_the_one_in_use_stays(make_call: MakeCall) -> None:
    stage = RateLimitStage(60, max_buckets=2, monotonic=Clock())
    busy, second, third = (make_call(principal=Principal(f"key:{n}")) for n in range(3))
    assert await passed(stage, busy, 5) == 5
    await stage(second, answer)
    assert await passed(stage, busy, 2) == 2
    await stage(third, answer)
    assert await passed(stage, busy, 30) == 3


def test_a_budget_of_nothing_is_refused_as_a_setting() -> None:
    with pytest.raises(ConfigurationError, match="calls_per_minute"):
        RateLimitStage(0)
