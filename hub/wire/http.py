"""One HTTP request read with bounds, and the plain ways of answering it. Raw ASGI."""

import math
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any

from quantum_suite.hub.call import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    MISSING_CLIENT_CAPABILITY,
    PARSE_ERROR,
    RATE_LIMITED,
    REFUSED,
    SESSION_NOT_FOUND,
    UNAUTHENTICATED,
    UNSUPPORTED_PROTOCOL_VERSION,
    Credentials,
    RpcError,
)
from quantum_suite.hub.settings import Limits
from quantum_suite.hub.wire.messages import error_bytes
from quantum_suite.hub.wire.rejection import Headers, Rejection

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_SINGLE = frozenset(
    {
        b"host",
        b"origin",
        b"authorization",
        b"content-type",
        b"content-length",
        b"last-event-id",
        b"transfer-encoding",
    }
)
_JSON = (b"content-type", b"application/json")
_CLOSE = (b"connection", b"close")
_BOTH = (b"application/json", b"text/event-stream")
_USUAL_ACCEPT = frozenset(
    {
        b"application/json, text/event-stream",
        b"text/event-stream, application/json",
        b"application/json,text/event-stream",
        b"*/*",
    }
)

MODERN_STATUS = {
    PARSE_ERROR: 400,
    INVALID_REQUEST: 400,
    INVALID_PARAMS: 400,
    HEADER_MISMATCH: 400,
    MISSING_CLIENT_CAPABILITY: 400,
    UNSUPPORTED_PROTOCOL_VERSION: 400,
    METHOD_NOT_FOUND: 404,
    SESSION_NOT_FOUND: 404,
    UNAUTHENTICATED: 401,
    REFUSED: 403,
    RATE_LIMITED: 429,
}
"""The status a modern response takes from its error; 200 for every other code."""

HANDSHAKE_STATUS = {SESSION_NOT_FOUND: 404, UNAUTHENTICATED: 401}
"""Older clients read a JSON-RPC error only from a 200; these two mean something to their HTTP layer."""


@dataclass(slots=True)
class HttpRequest:
    """One request to the endpoint. Header names are lower-case, as ASGI has them."""

    headers: dict[bytes, bytes]
    credentials: Credentials
    receive: Receive
    send: Send
    abort: Callable[[], None] | None = None
    """Drops the connection at once, where the server offers that."""

    def text(self, name: bytes) -> str | None:
        """Return a header's value without the white space around it."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1").strip()


def collect_headers(raw: Iterable[tuple[bytes, bytes]], max_bytes: int) -> dict[bytes, bytes]:
    """Return the headers by name.

    Raises `Rejection` when they are too large together (431), and when one that decides something comes twice: two
    readers might then take different copies (CWE-444).
    """
    headers: dict[bytes, bytes] = {}
    size = 0
    for name, value in raw:
        size += len(name) + len(value) + 4
        if name in headers:
            if name in _SINGLE or name.startswith(b"mcp-"):
                code = HEADER_MISMATCH if name.startswith(b"mcp-") else INVALID_REQUEST
                raise Rejection(
                    400, RpcError(code, f"The {name.decode('latin-1')} header appears more than once.")
                )
            value = headers[name] + b", " + value
        headers[name] = value
    if size > max_bytes:
        raise Rejection(
            431, RpcError(INVALID_REQUEST, f"The headers are larger than {max_bytes} bytes together."), [_CLOSE]
        )
    return headers


def _accepts(accept: bytes, wanted: bytes) -> bool:
    family = wanted.partition(b"/")[0] + b"/*"
    for part in accept.lower().split(b","):
        media, _, parameters = part.partition(b";")
        if media.strip() in (wanted, family, b"*/*"):
            return parameters.replace(b" ", b"") not in (b"q=0", b"q=0.0", b"q=0.00", b"q=0.000")
    return False


def check_accept(accept: bytes | None, wanted: tuple[bytes, ...] = _BOTH) -> None:
    """Raise `Rejection` 406 unless the client takes every media type the endpoint may answer with."""
    if accept is None or accept in _USUAL_ACCEPT or all(_accepts(accept, media) for media in wanted):
        return
    listed = " and ".join(media.decode() for media in wanted)
    raise Rejection(406, RpcError(INVALID_REQUEST, f"The Accept header must list {listed}."))


def check_content_type(content_type: bytes | None) -> None:
    """Raise `Rejection` 415 unless the body is JSON in UTF-8."""
    if content_type == b"application/json":
        return
    media, _, parameters = (content_type or b"").lower().partition(b";")
    charset = parameters.replace(b" ", b"").replace(b'"', b"").partition(b"charset=")[2].partition(b";")[0]
    if media.strip() != b"application/json" or charset not in (b"", b"utf-8", b"utf8"):
        raise Rejection(
            415, RpcError(INVALID_REQUEST, "The Content-Type header must be application/json (UTF-8).")
        )


def _too_large(max_bytes: int) -> Rejection:
    return Rejection(413, RpcError(INVALID_REQUEST, f"The body is larger than {max_bytes} bytes."), [_CLOSE])


class Disconnected(Exception):
    """The client went away before its request was complete."""


async def read_body(headers: dict[bytes, bytes], receive: Receive, limits: Limits) -> bytes:
    """Return the whole body.

    Raises `Rejection` 413 as soon as it is known to be too large, `Disconnected` when the client goes away.
    """
    limit = limits.max_body_bytes
    declared = headers.get(b"content-length")
    if declared is not None and (not declared.isdigit() or len(declared) > 18 or int(declared) > limit):
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise Disconnected
        chunk: bytes = message.get("body", b"")
        if not message.get("more_body", False) and not chunks:
            if len(chunk) > limit:
                raise _too_large(limit)
            return chunk
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


async def until_disconnected(receive: Receive) -> None:
    """Return when the client has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def send_body(send: Send, status: int, body: bytes, headers: Headers | None = None) -> None:
    """Send a complete JSON response."""
    start = [_JSON, (b"content-length", b"%d" % len(body))]
    if headers:
        start += headers
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})


async def send_plain(
    send: Send, status: int, content_type: str, body: bytes, headers: Headers | None = None
) -> None:
    """Send a complete response of another type."""
    start = [(b"content-type", content_type.encode("latin-1")), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": start + (headers or [])})
    await send({"type": "http.response.body", "body": body})


async def send_empty(send: Send, status: int, headers: Headers | None = None) -> None:
    """Send a response without a body."""
    start = [(b"content-length", b"0"), *(headers or [])] if status != 204 else list(headers or [])
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": b""})


async def send_rejection(send: Send, rejection: Rejection) -> None:
    """Send what a `Rejection` says."""
    body = error_bytes(rejection.request_id, rejection.error)
    await send_body(
        send, rejection.status, body, rejection.headers + error_headers(rejection.error, rejection.status)
    )


def error_headers(error: RpcError, status: int, *, presented: bool = False) -> Headers:
    """Return the headers an error's status asks for: the challenge of a 401, the wait of a 429.

    `presented` tells a caller whose token was refused from one that brought none (RFC 6750 section 3).
    """
    if status == 401:
        return [(b"www-authenticate", b'Bearer error="invalid_token"' if presented else b"Bearer")]
    if status == 429:
        data = error.data if isinstance(error.data, dict) else {}
        seconds = data.get("retryAfterSeconds")
        wait = math.ceil(seconds) if isinstance(seconds, int | float) and 0 < seconds < 1e9 else 1
        return [(b"retry-after", b"%d" % wait)]
    return []


async def send_error(request: HttpRequest, statuses: dict[int, int], error: RpcError, body: bytes) -> None:
    """Send a response that reports `error`, with the status `statuses` gives it."""
    status = statuses.get(error.code, 200)
    presented = request.credentials.bearer is not None
    await send_body(request.send, status, body, error_headers(error, status, presented=presented))
