"""The port to the audit log, and the record it keeps."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One step in the life of one call.

    A call leaves one record when it ends. A tool call that may change something leaves another one before it
    runs, with the outcome `accepted` and the same `call_id`, so that a crash in between is visible as an
    `accepted` without an end. Strings come masked and bounded; arguments appear as a digest alone.
    """

    time: datetime
    """When the record was written; aware, UTC."""
    call_id: str
    principal: str | None
    """Who called; None when nobody could be authenticated."""
    transport: str
    method: str
    target: str | None
    """The public name or URI asked for, whether or not it exists."""
    upstream: str | None
    """The server that owns the target; None when the hub answered by itself or the name is unknown."""
    arguments_sha256: str
    """Hex SHA-256 of the canonical JSON of the parameters; equal for every round of one call."""
    outcome: str
    """`accepted`, `ok`, `tool_error`, `input_required`, `task`, `refused`, `cancelled` or `error:<code>`. After
    `task`, another record with the same `call_id` says how the task's work ended."""
    reason: str | None
    """For `refused`: which rule said no (`unauthenticated`, `hidden`, `rate_limited`, ...). For `task`: its id."""
    duration_ms: float | None
    """None for `accepted`."""
    era: str
    protocol_version: str
    client_name: str | None = None
    client_version: str | None = None
    trace_id: str | None = None
    """The W3C trace id the client sent, where it was well-formed."""


class AuditLog(Protocol):
    """An append-only log of records.

    Guarantees: once `write` has returned, the record survives the end of this process by any means, `kill -9`
    included; it survives a loss of power within about a second. Records of one process keep their order. Nothing
    written is changed or removed. Several processes may write to one log; their records interleave, whole.
    """

    def check(self) -> None:
        """Return at once when the last write worked; otherwise try to write again.

        Raises `Unavailable` when the log still cannot be written, so that work nobody could account for is
        refused before it starts.
        """
        ...

    def write(self, record: AuditRecord) -> None:
        """Append a record. Does not block beyond one `write(2)`; thread-safe.

        Raises `Unavailable`, saying why, when the record could not be written in full.
        """
        ...

    def read(self, since: datetime | None = None) -> Iterator[AuditRecord]:
        """Yield the records, oldest first, those written before `since` left out.

        Lines torn by a crash or a full disk are passed over and named in the log.
        """
        ...

    def tail(self, count: int) -> list[AuditRecord]:
        """Return the last `count` records, oldest first."""
        ...

    def close(self) -> None:
        """Bring everything to the disk and release the log. Idempotent; later writes raise `Unavailable`."""
        ...
