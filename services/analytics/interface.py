"""The port to analytics."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

MAX_ROWS = 1000
"""Most rows one query returns."""


@dataclass(frozen=True, slots=True)
class QueryResult:
    """What a query found."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    """JSON values; times are RFC 3339 without an offset, UTC."""
    truncated: bool
    """Whether there were more rows, or more bytes, than asked for or allowed."""
    as_of: str | None
    """The time of the last event the tables know of; None while they are empty."""


@dataclass(frozen=True, slots=True)
class EventQuery:
    """Which events are wanted, newest first. Everything given must hold."""

    principal: str | None = None
    types: tuple[str, ...] = ()
    """Without version, exact (`qsecure.scan.completed`) or by prefix (`qsecure.`)."""
    since: datetime | None = None
    limit: int = 20


class Analytics(Protocol):
    """Answers questions over the events."""

    async def latest(self, wanted: EventQuery) -> QueryResult:
        """Return events, newest first: position, stream, version, id, type, time, subject, principal, data.

        Sound as a bound on what somebody sees: `wanted.principal` limits it to what was done on their behalf.
        Raises Unavailable while there are no tables yet.
        """
        ...

    async def query(self, sql: str, *, max_rows: int = 100) -> QueryResult:
        """Run one SELECT, which reads the tables and nothing else, within bounds of time, memory and output.

        It sees every event: for administrators alone.

        Raises CallerError for anything that is no single SELECT, that SQL finds fault with, or that goes beyond
        the bounds, and Unavailable while there are no tables yet.
        """
        ...
