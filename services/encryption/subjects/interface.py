"""The port to the rows that wrapped keys of data subjects lie in."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class WrappedKey(NamedTuple):
    """A subject's key, encrypted under one of the provider's."""

    id: str
    subject: str
    wrapped: bytes


class SubjectKeyRows(Protocol):
    """Rows of wrapped keys, at most one a subject.

    Writes are durable when they return. Every method raises Unavailable while the database is away.
    """

    async def erasures(self) -> int:
        """Return how many erasures there were: as long as it stays the same, no key has gone."""
        ...

    async def of_subjects(self, subjects: Sequence[str]) -> list[WrappedKey]:
        """Return the keys of those subjects that have one."""
        ...

    async def of_ids(self, key_ids: Sequence[str]) -> list[WrappedKey]:
        """Return the keys of these names that still exist."""
        ...

    async def add(self, keys: Sequence[WrappedKey]) -> None:
        """Add keys; one whose subject has a key by now is left out."""
        ...

    async def remove(self, subject: str) -> bool:
        """Destroy the subject's key and count the erasure; returns whether there was one.

        The bytes are overwritten where the database allows it, not merely marked as free.
        """
        ...

    async def page(self, after_id: str, limit: int) -> list[WrappedKey]:
        """Return keys by name, those after `after_id`."""
        ...

    async def replace(self, key_id: str, old: bytes, new: bytes) -> bool:
        """Put `new` in the place of `old`; returns False, changing nothing, when `old` is not there any more."""
        ...

    async def count(self) -> int:
        """Return how many keys there are."""
        ...
