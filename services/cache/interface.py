"""The port to the cache."""

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Stamp:
    """How the tags of a value to be stood at one moment. Opaque: give it back to the cache it came from."""

    tags: tuple[str, ...]
    state: tuple[Any, ...]
    """Empty when the cache was away: nothing is kept under such a stamp."""


class Cache(Protocol):
    """Keeps bytes under a key for a while. Anything may be gone at any time; nothing stale is ever returned.

    To keep what takes time to find out, take a stamp first, find it out, then `set` it under that stamp: when one
    of the tags was invalidated in between, it is not kept.

    A cache that is away behaves as an empty one and says so once in the log: it never fails a call, and never
    holds one up for longer than a fraction of a second. What was invalidated meanwhile is made known to it when
    it is back, before anything is read from it.
    """

    async def get(self, key: str) -> bytes | None:
        """Return the value; None when it is not there, has expired or was invalidated."""
        ...

    async def stamp(self, *tags: str) -> Stamp:
        """Return how `tags` stand now. To be taken before the value that will carry them is found out."""
        ...

    async def holds(self, stamp: Stamp) -> bool:
        """Say whether none of the stamp's tags was invalidated since; False when that cannot be said."""
        ...

    async def set(self, key: str, value: bytes, ttl_seconds: float, stamp: Stamp) -> None:
        """Keep a value for `ttl_seconds` at most, under the tags of `stamp`, if the stamp still holds.

        A value beyond the cache's bound is not kept, nor is the one that was there before.
        """
        ...

    async def delete(self, key: str) -> None:
        """Drop one value."""
        ...

    async def invalidate(self, tag: str) -> None:
        """Drop every value that was set with `tag`, by whichever process.

        Stamps with the tag that were taken before hold no longer, so that a `set` under way does not outlive it.
        """
        ...
