"""Tools for workflows: every call passes the hub's pipeline as if the run's owner had made it."""

from typing import Any, NoReturn

from quantum_suite.core.errors import EngineError, NotFound, RateLimited, Refused, Unavailable
from quantum_suite.core.ids import new_id
from quantum_suite.hub.call import (
    CONNECTION_CLOSED,
    INVALID_PARAMS,
    LATEST_MODERN,
    MISSING_CLIENT_CAPABILITY,
    NO_BACK_CHANNEL,
    RATE_LIMITED,
    REFUSED,
    REQUEST_TIMEOUT,
    UNAUTHENTICATED,
    UPSTREAM_UNAVAILABLE,
    Call,
    Credentials,
    Handler,
    Json,
    RpcError,
)
from quantum_suite.hub.envelope import HUB_INFO, hub_envelope
from quantum_suite.hub.pipeline.errors import RefusedCall
from quantum_suite.hub.tasks.extension import IDEMPOTENCY_KEY
from quantum_suite.hub.tasks.peer import ProgressPeer
from quantum_suite.hub.tasks.record import principal_of
from quantum_suite.services.workflows.interface import Owner
from quantum_suite.services.workflows.tool_calls import Progress, ToolCall

_CAPABILITIES: Json = {"elicitation": {"form": {}}}
_PROGRESS_TOKEN = "step"  # noqa: S105 - the protocol's name for what ties progress to its request
_CREDENTIALS = Credentials("inprocess", loopback=True)
_AWAY = frozenset({UPSTREAM_UNAVAILABLE, CONNECTION_CLOSED, REQUEST_TIMEOUT})
_NO = frozenset({REFUSED, UNAUTHENTICATED, MISSING_CLIENT_CAPABILITY, NO_BACK_CHANNEL})


class PipelineToolCalls:
    """`ToolCalls` over a pipeline that looks the owner up anew (`hub/pipeline/owner.py`) and makes no tasks."""

    def __init__(self, answer: Handler, *, question_seconds: float = 24 * 3600) -> None:
        """`question_seconds` is how long a handshake server's question stays open."""
        self._answer = answer
        self._question_seconds = question_seconds

    async def call(self, owner: Owner, call: ToolCall, progress: Progress | None = None) -> dict[str, Any]:
        """Call a tool; see `ToolCalls.call`."""
        made = self._made(owner, call, progress)
        try:
            return await self._answer(made)
        except RpcError as error:
            _raise(made, call.tool, error)

    def _made(self, owner: Owner, call: ToolCall, progress: Progress | None) -> Call:
        meta = {**call.meta, **hub_envelope(_CAPABILITIES), IDEMPOTENCY_KEY: call.idempotency_key}
        if progress is not None:
            meta["progressToken"] = _PROGRESS_TOKEN
        params: Json = {"name": call.tool, "arguments": dict(call.arguments), "_meta": meta}
        if call.input_responses is not None:
            params["inputResponses"] = dict(call.input_responses)
        if call.request_state is not None:
            params["requestState"] = call.request_state
        return Call(
            id=new_id("call"),
            method="tools/call",
            params=params,
            era="modern",
            protocol_version=LATEST_MODERN,
            credentials=_CREDENTIALS,
            peer=ProgressPeer(progress),
            client_capabilities=_CAPABILITIES,
            client_info=HUB_INFO,
            principal=principal_of(owner),
            question_seconds=self._question_seconds,
            run=call.run,
        )


def _raise(made: Call, tool: str, error: RpcError) -> NoReturn:
    """Raise the error as the suite's own; its hint, where it has one, is part of the message already."""
    data = error.data if isinstance(error.data, dict) else {}
    unknown = made.target is None or (isinstance(error, RefusedCall) and error.reason == "hidden")
    if error.code == INVALID_PARAMS and unknown:
        raise NotFound(f"No server offers the tool '{tool}' to {_who(made)}.", argument="tool") from error
    if error.code == RATE_LIMITED:
        seconds = data.get("retryAfterSeconds")
        wait = float(seconds) if isinstance(seconds, int | float) else 60.0
        raise RateLimited(error.message, retry_after_seconds=wait) from error
    if error.code in _NO:
        raise Refused(error.message) from error
    if error.code in _AWAY:
        raise Unavailable(error.message) from error
    upstream = made.target.upstream if made.target is not None else "hub"
    raise EngineError(f"'{tool}' failed ({error.code}): {error.message}", engine=upstream) from error


def _who(made: Call) -> str:
    return "anybody" if made.principal is None else made.principal.id
