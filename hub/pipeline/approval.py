"""Has a person say yes before a tool runs that the policies do not let run unasked."""

import anyio

from quantum_suite.hub.access.authoriser import Authoriser
from quantum_suite.hub.call import (
    INVALID_PARAMS,
    MISSING_CLIENT_CAPABILITY,
    REFUSED,
    Call,
    Handler,
    Json,
    RpcError,
)
from quantum_suite.hub.pipeline.approval_form import can_ask, question, verdict
from quantum_suite.hub.pipeline.digest import arguments_digest
from quantum_suite.hub.pipeline.errors import RefusedCall
from quantum_suite.hub.pipeline.sealed_state import Binding, InvalidState, State, StateSeal
from quantum_suite.hub.target import Target

QUESTION_KEY = "quantum_approval"
"""The key of the hub's question among a result's `inputRequests`."""


class ApprovalStage:
    """Asks for approval of every tool call that the policies do not permit as `callWithoutApproval`.

    An approval is good for one call: this principal, this tool, exactly these arguments, for the lifetime of the
    seal. In the handshake era the question travels back while the call waits. In the modern era the call is
    answered with `input_required`; its next round brings the person's answer and the sealed state.

    A tool may itself answer with `input_required`. Its rounds follow the approval: the tool's `requestState`
    travels inside the hub's, which remembers that the yes was given, and the tool gets its own state back.
    """

    def __init__(self, authoriser: Authoriser, seal: StateSeal | None = None) -> None:
        self._authoriser = authoriser
        self._seal = seal or StateSeal()

    async def __call__(self, call: Call, handler: Handler) -> Json:
        """Call on when approval is not needed or was given; ask, or refuse, otherwise."""
        target, principal = call.target, call.principal
        if call.method != "tools/call" or target is None or principal is None:
            return await handler(call)
        free = self._authoriser.allows(principal, "callWithoutApproval", target)
        if call.era == "handshake":
            if not free:
                await self._ask_now(call, target)
            return await handler(call)
        state = call.params.get("requestState")
        # A state of the hub's is taken off even when approval is no longer needed (the policies were read again).
        if free and not (state is not None and self._seal.recognises(state)):
            return await handler(call)
        tool = f"{target.upstream}\n{target.upstream_name}"
        binding = Binding(principal.id, tool, arguments_digest(call.params))
        return await self._round(call, target, binding, handler)

    async def _round(self, call: Call, target: Target, binding: Binding, handler: Handler) -> Json:
        """One modern-era request: the first, the one with the person's answer, or one of the tool's own."""
        if call.params.get("requestState") is None:
            return self._ask_by_result(call, target, binding)
        try:
            state = await self._seal.redeem(call.params["requestState"], binding)
        except InvalidState as invalid:
            raise _refusal(
                f"requestState: {invalid.message}",
                "Make the call anew, without requestState and inputResponses.",
                reason=f"approval_{invalid.why}",
                code=INVALID_PARAMS,
            ) from invalid
        left_out = {"requestState"}
        if state.step == "asked":
            responses = call.params.get("inputResponses")
            approved = verdict(responses.get(QUESTION_KEY) if isinstance(responses, dict) else None)
            if approved is None:
                return self._ask_by_result(call, target, binding)
            if not approved:
                raise _declined(target)
            left_out.add("inputResponses")  # they answered the hub's question; the tool asked none yet
        call.params = {name: value for name, value in call.params.items() if name not in left_out}
        if state.inner is not None:
            call.params["requestState"] = state.inner
        result = await handler(call)
        if result.get("resultType") != "input_required":
            return result
        inner = result.get("requestState")
        approved_state = State("approved", inner if isinstance(inner, str) else None)
        return {**result, "requestState": self._seal.seal(approved_state, binding)}

    def _ask_by_result(self, call: Call, target: Target, binding: Binding) -> Json:
        if not can_ask(call):
            # 2026-07-28, basic: the error for a request that needs what the client did not declare.
            raise _cannot_ask(target, MISSING_CLIENT_CAPABILITY)
        params = {"mode": "form", **question(call, target)}
        return {
            "resultType": "input_required",
            "inputRequests": {QUESTION_KEY: {"method": "elicitation/create", "params": params}},
            "requestState": self._seal.seal(State("asked"), binding),
        }

    async def _ask_now(self, call: Call, target: Target) -> None:
        if not can_ask(call):
            raise _cannot_ask(target, REFUSED)
        seconds = self._seal.lifetime_seconds
        try:
            with anyio.fail_after(seconds):
                answer = await call.peer.request("elicitation/create", question(call, target))
        except TimeoutError as error:
            raise _refusal(
                f"Nobody approved {target.name} within {seconds:g} seconds.",
                "Call it again when somebody is there to answer.",
                reason="approval_unanswered",
            ) from error
        except RpcError as error:
            raise _refusal(
                f"{target.name} needs a person's approval, and the client did not ask: {error.message}",
                _instead(target),
                reason="approval_impossible",
            ) from error
        if not verdict(answer):
            raise _declined(target)


def _declined(target: Target) -> RefusedCall:
    return _refusal(
        f"The person asked did not approve {target.name}.", "Ask them what to do instead.", reason="declined"
    )


def _cannot_ask(target: Target, code: int) -> RefusedCall:
    error = _refusal(
        f"{target.name} needs a person's approval, and this client cannot ask for it.",
        _instead(target),
        reason="approval_impossible",
        code=code,
    )
    if code == MISSING_CLIENT_CAPABILITY:
        error.data["requiredCapabilities"] = {"elicitation": {"form": {}}}
    return error


def _instead(target: Target) -> str:
    return (
        f"Use a client with elicitation, or have somebody run `quantum call {target.name}` at the hub's machine."
    )


def _refusal(message: str, hint: str, *, reason: str, code: int = REFUSED) -> RefusedCall:
    data = {"code": "refused", "hint": hint, "retryable": False}
    return RefusedCall(code, f"{message} {hint}", data, reason=reason)
