"""The port to the cache."""

from typing import Protocol


class Cache(Protocol):
    """Keeps bytes under a key for a while. Anything may be gone at any time; nothing stale is ever returned.

    A cache that is away behaves as an empty one and says so once in the log: it never fails a call.
    """

    async def get(self, key: str) -> bytes | None:
        """Return the value; None when it is not there or has expired."""
        ...

    async def set(self, key: str, value: bytes, ttl_seconds: float, *, tags: tuple[str, ...] = ()) -> None:
        """Keep a value for `ttl_seconds` at most. Values beyond the cache's bound are not kept."""
        ...

    async def delete(self, key: str) -> None:
        """Drop one value."""
        ...

    async def invalidate(self, tag: str) -> None:
        """Drop every value that was set with `tag`, by whichever process. A `set` under way may not outlive it."""
        ...
