"""The ports of the LLM gateway: a request and the stream of events that answers it."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from quantum_suite.services.llm.ledger.interface import Period, Used
from quantum_suite.services.llm.standing import GatewayStanding

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool the model wants called."""

    id: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    """Of a `tool` turn: which call it answers."""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool the model may call."""

    name: str
    description: str
    parameters: dict[str, Any]
    """JSON Schema 2020-12 of an object."""


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """What is asked of a model."""

    messages: tuple[Message, ...]
    model: str = "default"
    """A route's name, or `provider/model`."""
    max_output_tokens: int = 1024
    temperature: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    tools: tuple[ToolSpec, ...] = ()
    output_schema: dict[str, Any] | None = None
    """The answer must be JSON that this schema accepts; it is repaired or asked for again, else refused."""
    deadline_seconds: float = 120.0
    purpose: str = ""
    """What it is for, in the ledger and the audit: `qagent.generate_code`."""
    call_id: str = ""
    """Names the call: who asks again under it, after a crash say, is charged once. Made up where it is empty."""
    budget_usd: float | None = None
    """What the call may cost over all its attempts: refused beforehand where it may cost more."""
    budget_tokens: int | None = None
    """The same in tokens, sent and received."""
    correlation_id: str = ""
    """What its event is correlated with: the workflow run or call it is made for. Does not bear on the answer."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What an answer took."""

    input_tokens: int
    output_tokens: int
    estimated: bool
    """Whether the counts are ours: the provider gave none."""
    cost_usd: float | None = None
    """None where no price is known; a local model costs 0."""
    cached_input_tokens: int = 0
    """Those of the input tokens that the provider had read before, and may bill at less."""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallRequested:
    """A whole tool call."""

    call: ToolCall


FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of an answer; the last event, always there unless an error is raised."""

    reason: FinishReason
    usage: Usage
    provider: str
    model: str
    """Who answered in the end."""
    attempts: tuple[str, ...] = ()
    """What was tried before, and why it did not do: 'local/qwen: 503, circuit open'."""
    cached: bool = False


ModelEvent = TextDelta | ToolCallRequested | Finished


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """A whole answer."""

    text: str
    finished: Finished
    tool_calls: tuple[ToolCall, ...] = ()
    data: Any = field(default=None)
    """The parsed JSON, where a schema was given."""
    repairs: tuple[str, ...] = ()
    """What was mended in the JSON before the schema accepted it: 'trailing commas'."""


class Provider(Protocol):
    """One model server. Its adapters know the wire and nothing of policy."""

    @property
    def name(self) -> str:
        """Return the name it is configured under."""
        ...

    def stream(
        self, request: ModelRequest, model: str, ends_at: float
    ) -> AbstractAsyncContextManager[AsyncIterator[ModelEvent]]:
        """Ask. Leaving the context closes the connection upstream, so that nobody pays for what nobody reads.

        Once the context is entered, the events end at `ends_at` (`anyio.current_time`), with an error if need be;
        entering it is bounded by who does.

        Raises `ProviderError`s (services/llm/errors.py), which say whether anything was answered already, whether
        trying again is safe, and what the provider said about when. Usage the provider does not tell is
        `Usage(0, 0, estimated=True)`.
        """
        ...

    async def count_tokens(self, text: str, model: str) -> int | None:
        """Return how many tokens the server takes a text for; None where it cannot say. Never raises."""
        ...


class Gateway(Protocol):
    """Every model behind one door: routing, fallback, limits, budgets, masking, ledger, audit."""

    @property
    def configured(self) -> bool:
        """Return whether there is any provider."""
        ...

    async def ask(self, request: ModelRequest, principal: str) -> ModelAnswer:
        """Return a whole answer. Raises Refused (budget, nothing configured), RateLimited, Unavailable (every
        provider is away), EngineError, CallerError (too long for the model, a schema that is none), Conflict (the
        call id stands for another request)."""
        ...

    async def standing(self, principal: str) -> GatewayStanding:
        """Return how routes and providers are now, and what is left of the budgets that bind a principal."""
        ...

    async def used(self, per: Period, principal: str | None = None) -> list[Used]:
        """Return what a principal, or everybody, used this day or month, what took most tokens first."""
        ...

    def stream(
        self, request: ModelRequest, principal: str
    ) -> AbstractAsyncContextManager[AsyncIterator[ModelEvent]]:
        """Return an answer piece by piece. After the first piece nothing is repeated elsewhere: an answer is never
        sewn together from two models."""
        ...
