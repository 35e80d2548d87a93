"""HTTP to one model server: opens the stream of an answer, and names what goes wrong."""

import asyncio
import re
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx2
import orjson

from quantum_suite.core.masking import MASK, mask_text
from quantum_suite.services.llm.errors import (
    ContextOverflow,
    Failed,
    Garbled,
    NoSuchModel,
    NotAdmitted,
    Overloaded,
    ProviderError,
    Rejected,
    Silent,
    StreamCut,
    Unreachable,
)
from quantum_suite.services.llm.providers.server_sent_events import EventStreamDecoder, EventTooLong
from quantum_suite.services.outbound import retry_after_seconds

MAX_BODY_BYTES = 16 * 1024 * 1024
"""Longest answer in one piece."""

_MAX_PRINTED = 500
_OVERFLOW = re.compile(
    r"context[ _](?:length|size|window)|maximum context|prompt is too long|too many tokens|"
    r"exceeds? the (?:available )?context|input is too long",
    re.IGNORECASE,
)
_NEVER = "insufficient_quota"
_DONE = b"[DONE]"
_DRAIN_SECONDS = 0.5
_DISCONNECTED = "disconnected"
"""In what the HTTP client says of a connection that ended before an answer began: it has no error of its own."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a provider is and how it is spoken to."""

    name: str
    base_url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Credentials included."""
    query: Mapping[str, str] = field(default_factory=dict)
    connect_seconds: float = 10.0
    silence_seconds: float = 60.0
    """The longest pause between two pieces of an answer, and before the first."""
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    """Put into every request as it is: what this server alone understands."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What is masked in the server's own words: some repeat the key they do not accept."""

    def words_of(self, body: bytes) -> str:
        """Return what the server says in an error's body, in one bounded line, credentials masked."""
        said = _words_of(body)
        for secret in self.secrets:
            said = said.replace(secret, MASK)
        return mask_text(said)[:_MAX_PRINTED]


@dataclass(slots=True)
class Reply:
    """An answer that has begun. Adapters set `answered` with the first piece: what fails later was billed."""

    response: httpx2.Response
    endpoint: Endpoint
    engine: str
    ends_at: float
    """When nobody wants it any more, by `anyio.current_time`."""
    answered: bool = False
    whole: Any = None
    """The answer, where it came as one JSON document instead of a stream."""
    done: bool = False
    """Whether the stream said that it is over (`[DONE]`)."""

    async def events(self) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the JSON object of every event. Raises Garbled, or what an `error` in one of them means.

        At `ends_at` the line is cut. One timer for an answer: a cancel scope around the wait
        for each of its pieces would cost more than all else that is done with a piece.
        """
        decoder = EventStreamDecoder()
        timer = asyncio.get_running_loop().call_at(self.ends_at, self._hang_up)
        try:
            async with aclosing(self.response.aiter_bytes()) as chunks:
                async for chunk in chunks:
                    for event in decoder.feed(chunk):
                        if event.data.strip() == _DONE:
                            self.done = True
                            # Read to its end, the connection can be used again.
                            with anyio.move_on_after(_DRAIN_SECONDS):
                                await anext(chunks, None)
                            return
                        yield parsed(self, event.data)
        except EventTooLong as error:
            raise garbled(self, str(error)) from error
        finally:
            # Read to its end, the connection is somebody else's.
            timer.cancel()

    def _hang_up(self) -> None:
        """Have whoever reads find the connection closed."""
        line = self.response.extensions["network_stream"].get_extra_info("socket")
        with suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)


class ModelServer:
    """One endpoint over one pool of connections. The pool's owner closes it."""

    def __init__(self, endpoint: Endpoint, client: httpx2.AsyncClient) -> None:
        self.endpoint = endpoint
        self._client = client
        self._timeout = httpx2.Timeout(endpoint.silence_seconds, connect=endpoint.connect_seconds)

    @asynccontextmanager
    async def answer(self, path: str, model: str, body: Mapping[str, Any], ends_at: float) -> AsyncIterator[Reply]:
        """Post `body` and yield the reply once it is known to be an answer. Raises the tree of ProviderError, also
        for what goes wrong while the caller reads. Leaving closes the connection unless it was read to its end."""
        engine = f"{self.endpoint.name}/{model}"
        reply: Reply | None = None
        try:
            async with self._client.stream(
                "POST",
                self.endpoint.base_url.rstrip("/") + path,
                params=dict(self.endpoint.query) or None,
                headers={**self.endpoint.headers, "content-type": "application/json"},
                content=orjson.dumps({**body, **self.endpoint.extra_body}),
                timeout=self._timeout,
            ) as response:
                reply = Reply(response, self.endpoint, engine, ends_at)
                if response.status_code != 200:
                    said = self.endpoint.words_of(await bounded(response))
                    raise status_error(engine, response.status_code, response.headers, said)
                await _check_kind(reply)
                yield reply
        except (httpx2.TransportError, httpx2.DecodingError, httpx2.InvalidURL) as error:
            raise _transport_error(engine, error, reply) from error

    async def post_json(self, url: str, body: Mapping[str, Any], timeout_seconds: float) -> Any:
        """Post to an absolute URL and return the parsed answer; None for anything but a 200 with JSON."""
        try:
            response = await self._client.post(
                url, headers=dict(self.endpoint.headers), json=dict(body), timeout=timeout_seconds
            )
            return orjson.loads(response.content) if response.status_code == 200 else None
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError):
            return None


async def bounded(response: httpx2.Response, limit: int = 64 * 1024) -> bytes:
    """Return the beginning of a body."""
    body = bytearray()
    async with aclosing(response.aiter_bytes()) as chunks:
        async for chunk in chunks:
            body += chunk[: limit - len(body)]
            if len(body) >= limit:
                break
    return bytes(body)


def status_error(engine: str, status: int, headers: Mapping[str, str], said: str) -> ProviderError:
    """Return what a status other than 200 means; `said` are the server's own words."""
    wait = _wait(headers)
    told: dict[str, Any] = {"engine": engine, "printed": said, "retry_after_seconds": wait, "status": status}
    if status == 429 and _NEVER in said:
        return Rejected(f"{engine}: the account's quota is spent.", "Mend it at the provider.", **told)
    if status in (408, 425, 429, 503, 529):
        return Overloaded(f"{engine} answered {status}: {said}", "It is asked again later.", **told)
    if status >= 500:
        return Failed(f"{engine} answered {status}: {said}", **told)
    if status in (401, 403):
        return NotAdmitted(f"{engine} does not accept the key: {said}", "Mend api_key of the provider.", **told)
    if status == 413 or (400 <= status < 500 and _OVERFLOW.search(said)):
        return ContextOverflow(f"The request is too long for {engine}: {said}", "Send less.", **told)
    if status == 404:
        return NoSuchModel(f"{engine} is not there: {said}", "Mend base_url or the model's name.", **told)
    if status < 400:
        return Rejected(f"{engine} answered {status}, not an answer.", "Mend base_url of the provider.", **told)
    return Rejected(f"{engine} answered {status}: {said}", **told)


def error_body(reply: Reply, error: Any) -> ProviderError:
    """Return what an `error` object means that came where an answer was due."""
    said = reply.endpoint.words_of(orjson.dumps({"error": error}))
    code = error.get("code") if isinstance(error, dict) else None
    kind = str(error.get("type", "")) if isinstance(error, dict) else ""
    status = code if isinstance(code, int) and not isinstance(code, bool) else _STATUS_OF.get(kind, 500)
    found = status_error(reply.engine, status if status >= 400 else 500, {}, said)
    found.answered_anything = reply.answered
    return found


_STATUS_OF = {
    "overloaded_error": 529,
    "rate_limit_error": 429,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "invalid_request_error": 400,
    "request_too_large": 413,
}


def _words_of(body: bytes) -> str:
    try:
        said = orjson.loads(body)
    except ValueError:
        said = body.decode(errors="replace")
    if isinstance(said, dict):
        error = said.get("error", said)
        if isinstance(error, dict):
            parts = (error.get("message") or error.get("detail"), error.get("type"), error.get("code"))
            error = ", ".join(str(part) for part in parts if part) or str(error)
        said = error
    return " ".join(str(said).split())


def garbled(reply: Reply, what: str, shown: bytes = b"") -> Garbled:
    """Return the error for an answer that does not follow the protocol."""
    return Garbled(
        f"{reply.engine} sent {what}.",
        "Check that base_url leads to a model server of this kind.",
        engine=reply.engine,
        printed=reply.endpoint.words_of(shown[: 4 * _MAX_PRINTED]),
        answered_anything=reply.answered,
    )


def parsed(reply: Reply, data: bytes) -> dict[str, Any]:
    """Return one event's JSON object; raises Garbled, or what an `error` in it means."""
    try:
        found = orjson.loads(data)
    except ValueError:
        raise garbled(reply, "bad JSON", data) from None
    if not isinstance(found, dict):
        raise garbled(reply, "JSON that is no object", data)
    if found.get("error"):
        raise error_body(reply, found["error"])
    return found


def counted(value: Any) -> int | None:
    """Return a count of tokens as a server gives it; None for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def cut(reply: Reply) -> StreamCut:
    """Return the error for an answer without an end."""
    return StreamCut(
        f"{reply.engine} stopped in the middle of its answer.",
        engine=reply.engine,
        answered_anything=reply.answered,
    )


async def _check_kind(reply: Reply) -> None:
    """Read a JSON document whole and refuse a web page; everything else may be a stream."""
    kind = reply.response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "text/html":
        raise garbled(reply, "a web page", await bounded(reply.response))
    if kind == "application/json":
        body = await bounded(reply.response, MAX_BODY_BYTES)
        reply.whole = parsed(reply, body)


def _transport_error(engine: str, error: Exception, reply: Reply | None) -> ProviderError:
    answered = reply is not None and reply.answered
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout | httpx2.InvalidURL):
        return Unreachable(f"{engine} cannot be reached: {error}".rstrip(": "), engine=engine)
    if isinstance(error, httpx2.TimeoutException):
        return Silent(f"{engine} fell silent.", engine=engine, answered_anything=answered)
    if isinstance(error, httpx2.DecodingError):
        return Garbled(f"{engine} sent what cannot be decoded: {error}", engine=engine, answered_anything=answered)
    if reply is None:
        if isinstance(error, httpx2.ProtocolError) and _DISCONNECTED not in str(error):
            return Garbled(f"{engine} does not speak HTTP properly: {error}", engine=engine)
        return Unreachable(f"{engine} closed the connection before it answered.", engine=engine)
    return StreamCut(f"{engine} stopped in the middle of its answer.", engine=engine, answered_anything=answered)


def _wait(headers: Mapping[str, str]) -> float | None:
    """Return the seconds a server asks to wait; `retry-after-ms` is what OpenAI and Azure send besides."""
    milliseconds = headers.get("retry-after-ms", "")
    if milliseconds.strip().isdigit():
        return int(milliseconds.strip()[:9]) / 1000
    if "retry-after" not in headers:
        return None
    return retry_after_seconds(headers["retry-after"])
