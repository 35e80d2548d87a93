"""Calls a tool as steps of a run, and puts the questions that come back to people.

A call is made from its beginning in every round: what the hub asks is sealed for minutes and for one process, what
people need to answer takes days. Answers given in earlier rounds are repeated where the same is asked again.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quantum_suite.core.errors import EngineError
from quantum_suite.services.workflows.interface import (
    Failure,
    Json,
    Owner,
    Retry,
    RunContext,
    StepContext,
    StepFailed,
)
from quantum_suite.services.workflows.tool_calls import ToolCall, ToolCalls

MAX_ROUNDS = 8
MAX_ERROR_CHARACTERS = 2000
MAX_TEXT_CHARACTERS = 256 * 1024


class ToolFailed(EngineError):
    """A tool has said that it failed. Whether it would again is not known: a step that is told to retry does."""

    code = "tool_failed"
    retryable = True


@dataclass(frozen=True, slots=True)
class CallPlan:
    """How a tool is called."""

    step: str
    tool: str
    arguments: Mapping[str, Json]
    retry: Retry
    deadline_seconds: float | None
    approvers: Sequence[str]
    approval_timeout_seconds: float


class ToolConversation:
    """One tool call of a run, over as many rounds as questions come back."""

    def __init__(self, calls: ToolCalls, owner: Owner) -> None:
        self._calls = calls
        self._owner = owner

    async def hold(self, context: RunContext, plan: CallPlan, undo: Any) -> Json:
        """Call the tool and return its result; raises StepFailed."""
        answers: dict[str, Json] = {}
        key: str | None = None
        for number in range(MAX_ROUNDS):
            name = plan.step if number == 0 else f"{plan.step} (answered {number})"

            async def work(step: StepContext, answers: dict[str, Json] = answers, key: str | None = key) -> Json:
                return await self._round(plan, step, answers, key or step.idempotency_key)

            kept = await context.step(
                name, work, retry=plan.retry, deadline_seconds=plan.deadline_seconds, undo=undo
            )
            if "result" in kept:
                return kept["result"]
            key = kept["key"]
            answers = {**answers, **await self._ask(context, plan, kept["asks"])}
        raise StepFailed(
            plan.step,
            Failure("engine_error", f"{plan.tool} still asks after {MAX_ROUNDS} rounds.", "Call it yourself."),
        )

    async def once(self, tool: str, arguments: Mapping[str, Json], step: StepContext) -> Json:
        """Call a tool inside a step, without asking anybody; raises EngineError when it asks."""
        kept = await self._round(
            CallPlan(step.step, tool, arguments, Retry(), None, (), 0), step, {}, step.idempotency_key
        )
        if "result" not in kept:
            raise EngineError(
                f"{tool} asks for an approval, which nobody can give here.", "Call it yourself.", engine=tool
            )
        return kept["result"]

    async def _round(
        self, plan: CallPlan, step: StepContext, answers: Mapping[str, Json], key: str
    ) -> dict[str, Json]:
        responses: dict[str, Json] | None = None
        state: str | None = None
        for _ in range(MAX_ROUNDS):
            await step.check()
            call = ToolCall(plan.tool, plan.arguments, key, input_responses=responses, request_state=state)
            result = await self._calls.call(self._owner, call, step.progress)
            if result.get("resultType") != "input_required":
                return {"result": _outcome(plan.tool, result)}
            asked: Mapping[str, Any] = result.get("inputRequests") or {}
            unanswered = {
                name: request for name, request in asked.items() if _digest(name, request) not in answers
            }
            if unanswered:
                return {"asks": unanswered, "key": key}
            responses = {name: answers[_digest(name, request)] for name, request in asked.items()}
            state = result.get("requestState")
        raise EngineError(f"{plan.tool} asks the same again and again.", engine=plan.tool)

    async def _ask(self, context: RunContext, plan: CallPlan, asks: Mapping[str, Any]) -> dict[str, Json]:
        answers: dict[str, Json] = {}
        for name, request in sorted(asks.items()):
            question, flag = _question(plan, request)
            verdict = await context.approval(
                question,
                approvers=plan.approvers,
                timeout_seconds=plan.approval_timeout_seconds,
                details={"step": plan.step, "tool": plan.tool, "arguments": dict(plan.arguments)},
            )
            if verdict.approved:
                answers[_digest(name, request)] = {"action": "accept", "content": {flag: True} if flag else {}}
            else:
                answers[_digest(name, request)] = {"action": "decline" if verdict.by else "cancel"}
        return answers


def _outcome(tool: str, result: Mapping[str, Any]) -> Json:
    blocks = [block for block in result.get("content") or () if isinstance(block, Mapping)]
    text = "\n".join(str(block.get("text", "")) for block in blocks if block.get("type") == "text")
    if result.get("isError"):
        shown = text[:MAX_ERROR_CHARACTERS] or "It does not say why."
        raise ToolFailed(f"{tool} failed: {shown}", engine=tool, printed=shown)
    structured = result.get("structuredContent")
    if structured is not None:
        return structured
    links = [{"uri": block["uri"], "name": block.get("name")} for block in blocks if "uri" in block]
    return {"text": text[:MAX_TEXT_CHARACTERS], "links": links}


def _question(plan: CallPlan, request: Any) -> tuple[str, str | None]:
    """Return what is asked, and the name of the field that says yes; raises StepFailed for other questions."""
    params = request.get("params", {}) if isinstance(request, Mapping) else {}
    schema = params.get("requestedSchema") or {}
    properties: Mapping[str, Any] = schema.get("properties") or {}
    flags = [name for name, field in properties.items() if field.get("type") == "boolean"]
    needed = [name for name in schema.get("required", []) if name not in flags[:1]]
    if request.get("method") == "elicitation/create" and params.get("mode", "form") == "form" and not needed:
        return str(params.get("message", f"Run {plan.tool}?")), flags[0] if flags else None
    wanted = ", ".join(needed) or str(request.get("method"))
    failure = Failure(
        "caller_error", f"{plan.tool} asks for {wanted}.", "A run can answer yes or no alone: give it in 'with'."
    )
    raise StepFailed(plan.step, failure)


def _digest(name: str, request: Any) -> str:
    """Name a question by all that is asked, so that an answer never serves another one."""
    return hashlib.sha256(json.dumps([name, request], sort_keys=True).encode()).hexdigest()
