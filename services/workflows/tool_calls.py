"""The port through which workflows call tools: the hub's whole pipeline, on behalf of the run's owner."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from quantum_suite.services.workflows.interface import Json, Owner

Progress = Callable[[float, float | None, str | None], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One `tools/call`, as a step makes it. JSON all through, so that it can be stored."""

    tool: str
    """The public name, as the hub lists it."""
    arguments: Mapping[str, Json]
    idempotency_key: str
    """Travels to the tool in `_meta` under `quantum/idempotencyKey`."""
    input_responses: Mapping[str, Json] | None = None
    """Answers to the `inputRequests` of the round before."""
    request_state: str | None = None
    """The `requestState` of the round before, verbatim."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """Other `_meta` entries (trace context)."""

    @property
    def run(self) -> str:
        """The id of the run that makes it: keys of steps begin with it (`StepContext.idempotency_key`)."""
        return self.idempotency_key.partition(":")[0]


class ToolCalls(Protocol):
    """Calls tools as if the owner had called them: authorised, rate limited, approved, audited, cached."""

    async def call(self, owner: Owner, call: ToolCall, progress: Progress | None = None) -> dict[str, Any]:
        """Return the 2026-07-28 result: `complete` (perhaps `isError`), or `input_required` with its requests and
        state, to be answered by another call with the same arguments. Never a task.

        Raises Refused where policy says no, NotFound for a tool nobody offers to the owner, Unavailable while its
        server is away, and EngineError for what the server itself failed at.
        """
        ...
