"""Positions and page sizes as callers hand them in: checked, since they come back from files and from outside."""

from quantum_suite.core.errors import CallerError
from quantum_suite.core.events import Position
from quantum_suite.services.events.interface import MAX_BATCH

_LARGEST = 2**63 - 1
_LARGEST_VERSION = 2**31 - 1


def position_of(number: int) -> Position:
    """Return the position of the event of that number in a log that is numbered through."""
    return Position(str(number))


def number_of(position: Position | None) -> int:
    """Return the number behind a position, 0 for None; raises CallerError for what this log never gave out."""
    if position is None:
        return 0
    return parsed(position, position)


def parsed(text: str, position: Position) -> int:
    """Return `text`, a part of a position, as a number; raises CallerError."""
    if not (text.isascii() and text.isdigit() and len(text) < 20) or int(text) > _LARGEST:
        raise CallerError(
            f"{position[:100]!r} is no position of this event store.",
            "Positions come from the store they are given to.",
            argument="position",
        )
    return int(text)


def version_after(version: int) -> int:
    """Return a version to read after that fits any database's integers."""
    return max(0, min(version, _LARGEST_VERSION))


def page_size(limit: int) -> int:
    """Return how many events to read; raises CallerError for fewer than one."""
    if limit < 1:
        raise CallerError("Read at least one event.", argument="limit")
    return min(limit, MAX_BATCH)
