"""What is counted cannot be multiplied by whoever calls or answers."""

import pytest

from quantum_suite.hub.call import REFUSED, Call, Credentials, Json, NoPeer, RpcError
from quantum_suite.hub.metrics import Metrics
from quantum_suite.hub.pipeline.observe import ObserveStage

pytestmark = pytest.mark.anyio


def a_call(method: str = "tools/call") -> Call:
    return Call("call_1", method, {}, "modern", "2026-07-28", Credentials("http", True), NoPeer())


async def test_error_codes_a_server_made_up_share_one_series() -> None:
    metrics = Metrics(list)
    stage = ObserveStage(metrics)
    for code in (*range(-40_000, -39_900), REFUSED):

        async def fail(call: Call, code: int = code) -> Json:
            raise RpcError(code, "no")

        with pytest.raises(RpcError):
            await stage(a_call(), fail)
    text = metrics.render().decode()
    assert text.count("quantum_calls_total{") == 2
    assert 'outcome="error:other",upstream=""} 100.0' in text


async def test_methods_a_caller_made_up_share_one_series() -> None:
    metrics = Metrics(list)
    stage = ObserveStage(metrics)

    async def answer(call: Call) -> Json:
        return {}

    for number in range(100):
        await stage(a_call(f"made/up{number}"), answer)
    assert metrics.render().decode().count("quantum_calls_total{") == 1
