"""Audit records as events."""

from typing import Any, ClassVar

from pydantic import Field

from quantum_suite.core.events import EventData, NewEvent
from quantum_suite.services.audit.interface import AuditRecord

ACCEPTED = "accepted"


class CallAccepted(EventData):
    """A call that may change something passed every stage and is about to run."""

    event_type: ClassVar[str] = "hub.call.accepted"

    transport: str = Field(description="How the call came: http, stdio, in process.")
    method: str = Field(description="The MCP method.")
    target: str | None = Field(description="The public name or URI asked for.")
    upstream: str | None = Field(description="The server that owns the target.")
    arguments_sha256: str = Field(description="Digest of the canonical JSON of the parameters.")
    era: str = Field(description="The family of protocol revisions.")
    protocol_version: str = Field(description="The revision the client speaks.")
    client_name: str | None = Field(default=None, description="What the client calls itself.")
    client_version: str | None = Field(default=None, description="And its version.")
    trace_id: str | None = Field(default=None, description="The W3C trace id the client sent.")


class CallEnded(CallAccepted):
    """A call ended, in whatever way."""

    event_type: ClassVar[str] = "hub.call.ended"

    outcome: str = Field(description="ok, tool_error, input_required, refused, cancelled or error:<code>.")
    reason: str | None = Field(default=None, description="For refused: which rule said no.")
    duration_ms: float | None = Field(default=None, description="How long it took.")


CALL_EVENTS: tuple[type[EventData], ...] = (CallAccepted, CallEnded)
"""For the event registry."""


def call_event(record: AuditRecord, event_id: str) -> NewEvent:
    """Return an audit record as an event of that id. The call is its correlation, the caller its principal."""
    told: dict[str, Any] = {
        "transport": record.transport,
        "method": record.method,
        "target": record.target,
        "upstream": record.upstream,
        "arguments_sha256": record.arguments_sha256,
        "era": record.era,
        "protocol_version": record.protocol_version,
        "client_name": record.client_name,
        "client_version": record.client_version,
        "trace_id": record.trace_id,
    }
    data: CallAccepted
    if record.outcome == ACCEPTED:
        data = CallAccepted.model_validate(told)
    else:
        told["outcome"] = record.outcome
        told["reason"] = record.reason
        told["duration_ms"] = record.duration_ms
        data = CallEnded.model_validate(told)
    return NewEvent(data, principal=record.principal, correlation_id=record.call_id, id=event_id, time=record.time)
