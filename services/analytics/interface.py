"""The port to analytics."""

from dataclasses import dataclass
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


class Analytics(Protocol):
    """Answers questions in SQL over the events. Sees all of them: for administrators alone."""

    async def query(self, sql: str, *, max_rows: int = 100) -> QueryResult:
        """Run one SELECT, which reads the tables and nothing else, within bounds of time, memory and output.

        Raises CallerError for anything that is no single SELECT, that SQL finds fault with, or that goes beyond
        the bounds, and Unavailable while there are no tables yet.
        """
        ...
