"""The calls being answered now, so that shutdown can wait for them, and end them."""

import anyio

_UNWIND_SECONDS = 5.0


class CallsInFlight:
    """A set of cancel scopes, one a call."""

    def __init__(self) -> None:
        self._scopes: set[anyio.CancelScope] = set()
        self._idle = anyio.Event()
        self.draining = False
        """Whether the hub takes no new call because it is about to end."""

    def __len__(self) -> int:
        return len(self._scopes)

    def add(self, scope: anyio.CancelScope) -> None:
        """Count a call in."""
        self._scopes.add(scope)

    def discard(self, scope: anyio.CancelScope) -> None:
        """Count a call out."""
        self._scopes.discard(scope)
        if self.draining and not self._scopes:
            self._idle.set()

    async def drain(self, seconds: float) -> int:
        """Wait until all are done; after `seconds` cancel the rest and let them unwind. Returns how many."""
        self.draining = True
        await self._wait(seconds)
        left = list(self._scopes)
        for scope in left:
            scope.cancel()
        await self._wait(_UNWIND_SECONDS)
        return len(left)

    async def _wait(self, seconds: float) -> None:
        if self._scopes:
            with anyio.move_on_after(seconds):
                await self._idle.wait()
