"""Turns what goes wrong below into what the wire may say."""

import logging

from quantum_suite.core.errors import (
    CallerError,
    EngineError,
    RateLimited,
    Refused,
    SuiteError,
    Unauthenticated,
    Unavailable,
)
from quantum_suite.hub.call import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    RATE_LIMITED,
    REFUSED,
    UNAUTHENTICATED,
    UPSTREAM_UNAVAILABLE,
    Call,
    Handler,
    Json,
    RpcError,
)

logger = logging.getLogger(__name__)


class RefusedCall(RpcError):
    """An error by which the hub itself says no, whatever its code; `reason` is the rule that said it.

    The audit log tells refusals by this type: an upstream may answer with the same code.
    """

    def __init__(self, code: int, message: str, data: Json | None = None, *, reason: str) -> None:
        super().__init__(code, message, data)
        self.reason = reason


async def translate_errors(call: Call, handler: Handler) -> Json:
    """Answer errors of the suite's as the protocol wants them, and hide those that are bugs.

    A tool call that a better call, or a mended engine, would fix ends in a result with `isError`, which the model
    reads. Everything else becomes an `RpcError`. Cancellation passes through.
    """
    try:
        return await handler(call)
    except RpcError:
        raise
    except Exception as error:
        cause = _sole_cause(error)
        if isinstance(cause, RpcError):
            raise cause from error
        if isinstance(cause, CallerError | EngineError) and call.method == "tools/call":
            return _tool_error(call, cause)
        if isinstance(cause, SuiteError):
            raise as_rpc_error(cause) from error
        logger.error("Call %s (%s) failed", call.id, call.method[:100], exc_info=error)
        raise RpcError(INTERNAL_ERROR, f"Internal error; the log has it under {call.id}.") from error


def as_rpc_error(error: SuiteError) -> RpcError:
    """Return the protocol error for an error of the suite's; `data` has its code, hint and whether to retry."""
    data: Json = {"code": error.code, "retryable": error.retryable}
    if error.hint:
        data["hint"] = error.hint
    if isinstance(error, CallerError) and error.argument:
        data["argument"] = error.argument
    if isinstance(error, RateLimited):
        data["retryAfterSeconds"] = error.retry_after_seconds
    if isinstance(error, Refused):
        return RefusedCall(_code(error), str(error), data, reason=error.code)
    return RpcError(_code(error), str(error), data)


def _code(error: SuiteError) -> int:
    match error:
        case Unauthenticated():
            return UNAUTHENTICATED
        case RateLimited():
            return RATE_LIMITED
        case Refused():
            return REFUSED
        case Unavailable():
            return UPSTREAM_UNAVAILABLE
        case CallerError():
            return INVALID_PARAMS
        case _:
            return INTERNAL_ERROR


def _tool_error(call: Call, error: SuiteError) -> Json:
    result: Json = {"content": [{"type": "text", "text": str(error)}], "isError": True}
    if call.era == "modern":
        result["resultType"] = "complete"
    return result


def _sole_cause(error: Exception) -> Exception:
    """Look through task groups: a group around one error means that error."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
