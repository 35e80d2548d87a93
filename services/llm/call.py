"""One call as the gateway carries it: what was asked, what was tried, what it took."""

from dataclasses import dataclass, field
from typing import Any

import anyio
import orjson

from quantum_suite.core.errors import CallerError, Refused
from quantum_suite.core.ids import new_id
from quantum_suite.services.llm.configuration import MaskingOptions
from quantum_suite.services.llm.digests import request_digest
from quantum_suite.services.llm.interface import ModelRequest, Usage
from quantum_suite.services.llm.masking import Masking
from quantum_suite.services.llm.prices import NANO
from quantum_suite.services.llm.tokens import texts_of

MAX_REQUEST_CHARACTERS = 8 * 1024 * 1024
IN_A_THREAD = 32_000
"""Longer requests are searched for sensitive values in a thread: it takes longer than others should wait."""


@dataclass(slots=True)
class Call:
    """A call under way."""

    request: ModelRequest
    principal: str
    masking: Masking
    masked: ModelRequest
    digest: str
    id: str
    began: float
    ends_at: float
    attempts: int = 0
    """Requests sent."""
    tried: list[str] = field(default_factory=list)
    """What did not do, and why, for a person; a reason that comes again in a row stands once."""
    asked: list[str] = field(default_factory=list)
    """Who was asked, as provider/model."""
    input_tokens: int = 0
    output_tokens: int = 0
    estimated: bool = False
    nano_usd: int | None = 0

    @property
    def remaining(self) -> float:
        """Seconds until its deadline."""
        return max(0.0, self.ends_at - anyio.current_time())

    @property
    def seconds(self) -> float:
        """Seconds since it began."""
        return anyio.current_time() - self.began

    @property
    def cost_usd(self) -> float | None:
        """What it cost so far."""
        return None if self.nano_usd is None else self.nano_usd / NANO

    def note(self, why: str) -> None:
        """Remember what did not do."""
        if not self.tried or self.tried[-1] != why:
            self.tried.append(why)

    def took(self, usage: Usage, nano_usd: int | None) -> None:
        """Add what an attempt took."""
        self.input_tokens += usage.input_tokens
        self.output_tokens += usage.output_tokens
        self.estimated |= usage.estimated
        self.nano_usd = None if self.nano_usd is None or nano_usd is None else self.nano_usd + nano_usd

    def check_budget(self, model: str, tokens: int, nano_usd: int | None) -> None:
        """Raise Refused where one more attempt, at its upper estimate, may pass what the call may take."""
        request = self.request
        spent = self.input_tokens + self.output_tokens
        if request.budget_tokens is not None and spent + tokens > request.budget_tokens:
            raise Refused(
                f"The call may take {request.budget_tokens} tokens; {spent} are spent, and this may take {tokens} "
                "more.",
                "Raise its budget, send less, or ask for a shorter answer.",
            )
        if request.budget_usd is None:
            return
        if nano_usd is None or self.nano_usd is None:
            raise Refused(
                f"No price is known for {model}, and the call's budget is in US dollars.",
                "Give the model a price in providers.yaml, or the call a budget in tokens.",
            )
        if self.nano_usd + nano_usd > request.budget_usd * NANO:
            raise Refused(
                f"The call may cost ${request.budget_usd:.4f}; ${self.nano_usd / NANO:.4f} are spent, and this "
                f"may cost ${nano_usd / NANO:.4f} more.",
                "Raise its budget, send less, or ask for a shorter answer.",
            )

    def usage(self) -> Usage:
        """Return what it took over all attempts."""
        return Usage(self.input_tokens, self.output_tokens, self.estimated, self.cost_usd)


async def begin(request: ModelRequest, principal: str, options: MaskingOptions) -> Call:
    """Check a request and mask it. Raises CallerError naming what is wrong with it."""
    size = _check(request)
    if size > IN_A_THREAD:
        masking, masked = await anyio.to_thread.run_sync(_masked, request, options)
    else:
        masking, masked = _masked(request, options)
    began = anyio.current_time()
    return Call(
        request,
        principal,
        masking,
        masked,
        request_digest(masked),
        request.call_id or new_id("llm"),
        began,
        began + request.deadline_seconds,
    )


def _masked(request: ModelRequest, options: MaskingOptions) -> tuple[Masking, ModelRequest]:
    masking = Masking(options, texts_of(request))
    return masking, masking.request(request)


def _check(request: ModelRequest) -> int:
    """Return how many characters there are."""
    if not any(message.text or message.tool_calls for message in request.messages):
        raise CallerError("There is nothing to ask.", "Give at least one message.", argument="messages")
    if any(message.role == "tool" and not message.tool_call_id for message in request.messages):
        raise CallerError(
            "A tool's turn does not say which call it answers.", "Give it a tool_call_id.", argument="messages"
        )
    if request.max_output_tokens < 1:
        raise CallerError("No answer is wanted.", "Use 1 or more.", argument="max_output_tokens")
    if not 0 < request.deadline_seconds <= 24 * 3600:
        raise CallerError("This deadline cannot be kept.", "Use up to a day.", argument="deadline_seconds")
    _check_json(request)
    size = 0
    for text in texts_of(request):
        size += len(text)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise CallerError("A text cannot be encoded as UTF-8.", str(error), argument="messages") from error
    if size > MAX_REQUEST_CHARACTERS:
        raise CallerError(
            f"The request has {size} characters.", f"{MAX_REQUEST_CHARACTERS} is the most.", argument="messages"
        )
    return size


def _check_json(request: ModelRequest) -> None:
    """Refuse what cannot be sent: whole numbers beyond 64 bits, names that are no text, endless nesting."""
    parts: list[tuple[str, Any]] = [("tools", [tool.parameters for tool in request.tools])]
    parts.append(("output_schema", request.output_schema))
    parts.append(("messages", [call.arguments for message in request.messages for call in message.tool_calls]))
    for argument, value in parts:
        try:
            orjson.dumps(value)
        except TypeError as error:
            raise CallerError(f"A value in it cannot be sent as JSON: {error}.", argument=argument) from error
