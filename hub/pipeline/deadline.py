"""Ends calls that take too long."""

import anyio

from quantum_suite.hub.call import REQUEST_TIMEOUT, Call, Handler, Json, RpcError

_UNBOUNDED = frozenset({"subscriptions/listen", "tasks/result"})
"""Methods whose answer lasts as long as the client listens, or waits for its task."""


class DeadlineStage:
    """Cancels what is below it after `seconds`, child processes included."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def __call__(self, call: Call, handler: Handler) -> Json:
        """Call on; raises RpcError with `REQUEST_TIMEOUT` when time is up."""
        if call.method in _UNBOUNDED:
            return await handler(call)
        with anyio.move_on_after(self._seconds):
            return await handler(call)
        raise RpcError(
            REQUEST_TIMEOUT,
            f"The call took longer than {self._seconds:g} seconds and was ended.",
            {
                "code": "deadline_exceeded",
                "hint": "Ask for less at once, or raise QUANTUM_LIMITS_CALL_DEADLINE_SECONDS.",
                "retryable": False,
            },
        )
