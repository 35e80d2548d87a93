"""The port to objects: content by its hash, kept for as long as it is said to be."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What is known of an object without reading it."""

    digest: str
    """`sha256:<64 hexadecimal digits>`: its name, and what its content is checked against."""
    size: int
    media_type: str
    stored_at: datetime
    keep_until: datetime | None
    """When it may be dropped; None for never. Putting it again may only lengthen this."""


class ObjectStore(Protocol):
    """Keeps content-addressed objects. Putting the same content twice stores it once.

    Raises Unavailable when the store is away or full: a failed `put` leaves no object behind.
    """

    async def put(
        self, content: bytes | AsyncIterator[bytes], media_type: str, *, keep_days: float | None = None
    ) -> ObjectInfo:
        """Store content, durably once this returns; returns what it is called."""
        ...

    async def get(self, digest: str) -> bytes:
        """Return the content; raises NotFound, and Damaged when it does not hash to its name."""
        ...

    def stream(self, digest: str) -> AsyncIterator[bytes]:
        """Yield the content in pieces; raises as `get` does (Damaged at the end)."""
        ...

    async def info(self, digest: str) -> ObjectInfo:
        """Return what is known of an object; raises NotFound."""
        ...

    async def expire(self, now: datetime) -> int:
        """Drop what need not be kept any longer; returns how many objects were dropped."""
        ...
