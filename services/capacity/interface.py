"""The port for a place to do heavy work in: scans, test and mutation runs, builds, indexing."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

Waiting = Callable[[str], Awaitable[None]]
"""Told, in words, that there is a wait, and again every few seconds while it lasts."""


class Capacity(Protocol):
    """Places for heavy work, as many as the machine's cores and memory allow.

    Taken for the work alone: never while somebody waits for a person, and never one place inside another.
    """

    @property
    def places(self) -> int:
        """Return how many there are."""
        ...

    def place(self, what: str, waiting: Waiting | None = None) -> AbstractAsyncContextManager[None]:
        """Hold a place while the context lasts; in the order of asking within a process. A killed holder's
        place is free again at once. `what` is shown to those who wait."""
        ...
