"""A request turned away before the hub saw it."""

from quantum_suite.hub.call import CONNECTION_CLOSED, RpcError

Headers = list[tuple[bytes, bytes]]


class Rejection(Exception):
    """Raised before a response has begun: the HTTP status, and the JSON-RPC error that says why."""

    def __init__(
        self, status: int, error: RpcError, headers: Headers | None = None, *, request_id: str | int | None = None
    ) -> None:
        super().__init__(error.message)
        self.status = status
        self.error = error
        self.headers = headers or []
        self.request_id = request_id


def shutting_down(request_id: str | int | None = None) -> Rejection:
    """Return what a call meets while the hub ends."""
    error = RpcError(CONNECTION_CLOSED, "The hub is shutting down; call again in a moment.")
    return Rejection(503, error, [(b"retry-after", b"5")], request_id=request_id)
