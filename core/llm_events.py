"""What happens to calls of models, as events. Stream: `llm.call/<id>`.

They hold digests and counts, never a word of what was asked or answered.
"""

from typing import ClassVar

from pydantic import Field

from quantum_suite.core.events import EventData


class ModelCallCompleted(EventData):
    """A model answered."""

    event_type: ClassVar[str] = "llm.call.completed"

    call: str = Field(description="The call's id; the ledger has it too.")
    purpose: str = Field(description="What it was for, such as qagent.generate_code.")
    asked_for: str = Field(description="The route or model that was asked for.")
    provider: str = Field(description="Who answered.")
    model: str = Field(description="The model that answered, by the provider's name for it.")
    request_digest: str = Field(description="SHA-256 of the request as it left, masked, in hexadecimal.")
    answer_digest: str = Field(description="SHA-256 of the answer as it came, masked, in hexadecimal.")
    finish_reason: str = Field(description="Why it ended: stop, length, tool_calls or content_filter.")
    input_tokens: int = Field(description="Tokens sent, over all attempts.")
    output_tokens: int = Field(description="Tokens received, over all attempts.")
    estimated: bool = Field(description="Whether any of the counts is an estimate.")
    cost_usd: float | None = Field(description="US dollars, over all attempts; none where no price is known.")
    attempts: int = Field(description="How many requests were sent; 0 for a cached answer.")
    masked: dict[str, int] = Field(description="How many values were masked, by kind.")
    seconds: float = Field(description="Wall time.")


class ModelCallFailed(EventData):
    """No model answered."""

    event_type: ClassVar[str] = "llm.call.failed"

    call: str = Field(description="The call's id; the ledger has it too.")
    purpose: str = Field(description="What it was for.")
    asked_for: str = Field(description="The route or model that was asked for.")
    request_digest: str = Field(description="SHA-256 of the request as it would leave, in hexadecimal.")
    code: str = Field(description="The error's stable code; cancelled where the caller went away.")
    providers: tuple[str, ...] = Field(description="Who was tried, as provider/model.")
    input_tokens: int = Field(description="Tokens sent in vain.")
    output_tokens: int = Field(description="Tokens received in vain.")
    cost_usd: float | None = Field(description="US dollars spent in vain; none where no price is known.")
    attempts: int = Field(description="How many requests were sent.")
    seconds: float = Field(description="Wall time.")


LLM_EVENTS: tuple[type[EventData], ...] = (ModelCallCompleted, ModelCallFailed)
"""Every type, for the registry."""


def call_stream(event_id: str) -> str:
    """Return the stream of a call. Calls repeated under one id have streams of their own."""
    return f"llm.call/{event_id}"
