"""Every error leaves as the protocol wants it, and none with its traceback."""

import logging
from collections.abc import Callable

import anyio
import pytest

from quantum_suite.core.errors import (
    CallerError,
    ConfigurationError,
    EngineError,
    EngineMissing,
    NotFound,
    RateLimited,
    Refused,
    SuiteError,
    Unauthenticated,
    Unavailable,
)
from quantum_suite.hub import call as wire
from quantum_suite.hub.call import Call, Handler, Json, RpcError
from quantum_suite.hub.pipeline.errors import RefusedCall, translate_errors

pytestmark = pytest.mark.anyio
MakeCall = Callable[..., Call]


def raising(error: BaseException) -> Handler:
    async def handler(call: Call) -> Json:
        raise error

    return handler


@pytest.mark.parametrize(
    "error",
    [
        CallerError("No.", "Better.", argument="table"),
        NotFound("No.", "Better."),
        EngineError("No.", "Better.", engine="trivy"),
        EngineMissing("No.", "Better.", engine="trivy"),
    ],
)
async def test_what_a_better_call_or_a_mended_engine_fixes_reaches_the_model_as_a_tool_result(
    make_call: MakeCall, error: SuiteError
) -> None:
    expected = {"content": [{"type": "text", "text": "No. Better."}], "isError": True}
    assert await translate_errors(make_call(era="handshake"), raising(error)) == expected
    assert await translate_errors(make_call(), raising(error)) == expected | {"resultType": "complete"}


@pytest.mark.parametrize(
    ("error", "code", "data"),
    [
        (Unauthenticated("No.", "Key."), wire.UNAUTHENTICATED, {"code": "unauthenticated", "hint": "Key."}),
        (Refused("No."), wire.REFUSED, {"code": "refused"}),
        (
            RateLimited("No.", retry_after_seconds=1.5),
            wire.RATE_LIMITED,
            {"code": "rate_limited", "retryAfterSeconds": 1.5},
        ),
        (Unavailable("No."), wire.UPSTREAM_UNAVAILABLE, {"code": "unavailable"}),
        (ConfigurationError("No."), wire.INTERNAL_ERROR, {"code": "configuration_error"}),
    ],
)
async def test_what_the_model_cannot_mend_is_a_protocol_error(
    make_call: MakeCall, error: SuiteError, code: int, data: Json
) -> None:
    with pytest.raises(RpcError) as caught:
        await translate_errors(make_call(), raising(error))
    assert caught.value.code == code
    assert caught.value.data == data | {"retryable": error.retryable}
    assert caught.value.message == str(error)
    assert isinstance(caught.value, RefusedCall) == isinstance(error, Refused)


@pytest.mark.parametrize("error", [CallerError("No.", argument="uri"), NotFound("No.", argument="uri")])
async def test_a_wrong_call_of_another_method_is_invalid_params(make_call: MakeCall, error: CallerError) -> None:
    with pytest.raises(RpcError) as caught:
        await translate_errors(make_call(method="resources/read"), raising(error))
    assert caught.value.code == wire.INVALID_PARAMS
    assert caught.value.data == {"code": error.code, "retryable": False, "argument": "uri"}


async def test_a_bug_shows_the_call_id_alone_and_the_log_has_the_traceback(
    make_call: MakeCall, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(RpcError) as caught:
        await translate_errors(make_call(), raising(ZeroDivisionError("the secret cause")))
    assert caught.value.as_json() == {
        "code": wire.INTERNAL_ERROR,
        "message": "Internal error; the log has it under call_1.",
    }
    assert "call_1" in caplog.text
    assert "the secret cause" in caplog.text
    assert "Traceback" in caplog.text


async def test_an_rpc_error_passes_as_it_is(make_call: MakeCall) -> None:
    error = RpcError(-31999, "theirs", [1])
    with pytest.raises(RpcError) as caught:
        await translate_errors(make_call(), raising(error))
    assert caught.value is error


async def test_an_error_that_a_task_group_wrapped_means_itself(make_call: MakeCall) -> None:
    for inner in (RpcError(-31999, "theirs"), Unavailable("Away.")):
        group = ExceptionGroup("tasks", [ExceptionGroup("tasks", [inner])])
        with pytest.raises(RpcError, match=inner.message):
            await translate_errors(make_call(), raising(group))
    two = ExceptionGroup("tasks", [Unavailable("Away."), Unavailable("Gone.")])
    with pytest.raises(RpcError, match="Internal error"):
        await translate_errors(make_call(), raising(two))


async def test_cancellation_passes_through(make_call: MakeCall) -> None:
    async def wait(call: Call) -> Json:
        await anyio.sleep_forever()
        raise AssertionError

    with anyio.CancelScope() as scope:
        scope.cancel()
        await translate_errors(make_call(), wait)
    assert scope.cancelled_caught
