"""The peer of calls that nobody waits for at the other end of a wire."""

import time
from collections.abc import Awaitable, Callable

from quantum_suite.hub.call import Json, NoPeer

Progress = Callable[[float, float | None, str | None], Awaitable[None]]


class ProgressPeer(NoPeer):
    """Hands progress on and drops everything else; there is nobody to ask.

    At most one report in `pause_seconds` is handed on: each may be a write to a database.
    """

    def __init__(
        self,
        progress: Progress | None,
        *,
        pause_seconds: float = 0.25,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._progress = progress
        self._pause_seconds = pause_seconds
        self._monotonic = monotonic
        self._next = 0.0

    async def notify(self, method: str, params: Json) -> None:
        """Take a notification."""
        if self._progress is None or method != "notifications/progress" or self._monotonic() < self._next:
            return
        done, total, message = params.get("progress"), params.get("total"), params.get("message")
        if isinstance(done, int | float):
            self._next = self._monotonic() + self._pause_seconds
            await self._progress(
                done,
                total if isinstance(total, int | float) else None,
                message if isinstance(message, str) else None,
            )
