"""HTTP to the outside: the one place that retries calls, and that decides which addresses may be called."""

import email.utils
import ipaddress
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

import anyio
import httpx2

from quantum_suite.core.errors import EngineError, Refused, Unavailable
from quantum_suite.services.backoff import Backoff

logger = logging.getLogger(__name__)

Reach = Literal["public", "private"]
"""`public`: addresses of the public Internet alone. `private`: also those of this machine and its networks.
Link-local ones, where clouds keep their machines' credentials, are never called."""

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_NOT_DONE = frozenset({429, 503})
"""The server says that it did not do it: to be tried again whatever it was."""
_MAYBE_DONE = frozenset({408, 500, 502, 504})
_MAX_BODY_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class OutboundRequest:
    """One request. `idempotent` says that doing it twice does no harm, where the method does not say so."""

    method: str
    url: str = field(repr=False)
    """May hold a secret, as those of chat webhooks do: messages show its host alone."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    idempotent: bool = False
    reach: Reach = "public"
    max_body_bytes: int = _MAX_BODY_BYTES
    """How much of the reply's body is wanted."""
    final: Collection[int] = ()
    """Statuses that are answers here, though elsewhere they may pass."""
    answers: "Callable[[OutboundReply], bool] | None" = None
    """Whether a reply is an answer whatever its status: some servers say in its body that a retry is of no use."""


@dataclass(frozen=True, slots=True)
class OutboundReply:
    """What came back for good."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    """Its beginning, up to what the request wanted."""


class OutboundClient:
    """Sends requests; made by `open_outbound`. Follows no redirects, uses no proxy, keeps no cookies.

    Tried again, with growing pauses: what did not get through, what the server says it did not do (honouring
    `Retry-After`), and, where the request is idempotent, what may or may not have been done.
    """

    def __init__(
        self, client: httpx2.AsyncClient, *, attempts: int, first_retry_seconds: float, patience_seconds: float
    ) -> None:
        self._client = client
        self._attempts = attempts
        self._first_retry_seconds = first_retry_seconds
        self._patience_seconds = patience_seconds

    async def send(self, request: OutboundRequest) -> OutboundReply:
        """Return the reply, whatever its status, unless trying again may bring another.

        Raises Unavailable after the last attempt, EngineError where it is not known whether a request was done
        that must not be done twice, and Refused for an address that may not be called.
        """
        backoff = Backoff(self._first_retry_seconds)
        ends_at = anyio.current_time() + self._patience_seconds
        attempt = 0
        while True:
            attempt += 1
            problem, wait = await self._attempt(request)
            if isinstance(problem, OutboundReply):
                return problem
            pause = max(backoff.next(), wait)
            if attempt >= self._attempts or anyio.current_time() + pause > ends_at:
                raise Unavailable(f"{_shown(request.url)} {problem}.", "It is tried again later.")
            logger.info("%s %s: trying again in %.1f s.", _shown(request.url), problem, pause)
            await anyio.sleep(pause)

    async def _attempt(self, request: OutboundRequest) -> tuple[OutboundReply | str, float]:
        """Return the reply, or what went wrong and how long to wait at least."""
        repeatable = request.idempotent or request.method in _SAFE_METHODS
        try:
            reply = await self._once(request)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                return "shows a certificate that nobody trusted here vouches for", 0
            return "cannot be reached", 0
        except (httpx2.TransportError, TimeoutError) as error:
            if not repeatable:
                raise EngineError(
                    f"{_shown(request.url)} did not answer; whether it did what was asked is not known.",
                    "Look there before asking again.",
                    engine=httpx2.URL(request.url).host,
                ) from error
            return "did not answer", 0
        passing = reply.status in _NOT_DONE or (reply.status in _MAYBE_DONE and repeatable)
        final = reply.status in request.final or (request.answers is not None and request.answers(reply))
        if passing and not final:
            return f"answered {reply.status}", retry_after_seconds(reply.headers.get("retry-after"))
        return reply, 0

    async def _once(self, request: OutboundRequest) -> OutboundReply:
        url = httpx2.URL(request.url)
        address = await _checked_address(url, request.reach)
        # Called by the address that was checked, so that a second look at the name cannot lead elsewhere; the
        # certificate is still checked against the name.
        outgoing = self._client.build_request(
            request.method,
            url.copy_with(host=address),
            headers={**request.headers, "host": url.netloc.decode("ascii").rpartition("@")[2]},
            content=request.body,
            extensions={"sni_hostname": url.host},
        )
        reply = await self._client.send(outgoing, stream=True)
        try:
            body = bytearray()
            async for piece in reply.aiter_raw():
                body += piece[: request.max_body_bytes - len(body)]
                if len(body) == request.max_body_bytes:
                    break
        finally:
            await reply.aclose()
        return OutboundReply(reply.status_code, dict(reply.headers), bytes(body))


@asynccontextmanager
async def open_outbound(
    *,
    attempts: int = 4,
    first_retry_seconds: float = 0.5,
    timeout_seconds: float = 10.0,
    patience_seconds: float = 60.0,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[OutboundClient]:
    """Open a client: `timeout_seconds` a network operation, `patience_seconds` for all attempts at a request."""
    async with httpx2.AsyncClient(
        verify=tls or ssl.create_default_context(),
        timeout=timeout_seconds,
        follow_redirects=False,
        trust_env=False,
        # A connection is known by its address: kept, one host's could serve another's request.
        limits=httpx2.Limits(max_keepalive_connections=0),
    ) as client:
        client.headers.clear()
        client.headers["user-agent"] = "quantum-suite"
        yield OutboundClient(
            client,
            attempts=attempts,
            first_retry_seconds=first_retry_seconds,
            patience_seconds=patience_seconds,
        )


async def _checked_address(url: httpx2.URL, reach: Reach) -> str:
    """Return an address of the URL's host; all of them must be ones that may be called."""
    if url.scheme not in ("https", "http") or not url.host:
        raise Refused(f"{url.scheme or 'This'} is no address that can be called.", "Use https://...")
    if url.scheme == "http" and reach == "public":
        raise Refused(f"{_shown(str(url))} is not encrypted.", "Use https://, or allow private addresses.")
    try:
        found = await anyio.getaddrinfo(url.host, url.port or 0, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpx2.ConnectError(f"{url.host} has no address.") from error
    addresses = [str(place[4][0]) for place in found]
    for address in addresses:
        if not _may_call(address, reach):
            raise Refused(
                f"{_shown(str(url))} is at an address that may not be called.",
                "Use a public one, or allow private addresses for it in the configuration.",
            )
    return addresses[0]


def _may_call(text: str, reach: Reach) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_link_local or address.is_multicast or address.is_unspecified or address.is_reserved:
        return False
    return address.is_global or (reach == "private" and address.is_private)


def retry_after_seconds(value: str | None) -> float:
    """Return the seconds a `Retry-After` header asks to wait (RFC 9110, 10.2.3); 0 where it does not say."""
    if value is None:
        return 0
    if value.strip().isdigit():
        return float(value.strip()[:9])
    try:
        until = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return 0
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def _shown(url: str) -> str:
    """Return scheme and host: what follows may be secret."""
    parsed = httpx2.URL(url)
    return f"{parsed.scheme}://{parsed.host}"
