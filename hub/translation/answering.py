"""A handshake client calls a modern server's tool: input requests become questions on the client's session."""

from collections.abc import Awaitable, Callable

from quantum_suite.hub.call import UPSTREAM_UNAVAILABLE, Json, Peer, RpcError

MAX_ROUNDS = 20

Send = Callable[[Json], Awaitable[Json]]


async def answer_inputs(send: Send, params: Json, peer: Peer) -> Json:
    """Send `params`, and as long as the server wants input, ask `peer` for it and send again.

    Raises `RpcError` when the peer refuses a question, or the server never stops asking.
    """
    attempt = params
    for _ in range(MAX_ROUNDS):
        result = await send(attempt)
        if result.get("resultType") != "input_required":
            return result
        attempt = {key: value for key, value in params.items() if key not in ("inputResponses", "requestState")}
        requests = result.get("inputRequests")
        if isinstance(requests, dict) and requests:
            attempt["inputResponses"] = {key: await _ask(peer, request) for key, request in requests.items()}
        if "requestState" in result:
            attempt["requestState"] = result["requestState"]
    raise RpcError(
        UPSTREAM_UNAVAILABLE, f"The server asked for input {MAX_ROUNDS} times without coming to an end."
    )


async def _ask(peer: Peer, request: object) -> Json:
    if not isinstance(request, dict) or not isinstance(request.get("method"), str):
        raise RpcError(UPSTREAM_UNAVAILABLE, "The server sent an input request without a method.")
    question = request.get("params")
    return await peer.request(request["method"], question if isinstance(question, dict) else {})
