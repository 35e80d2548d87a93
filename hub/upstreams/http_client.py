"""A minimal HTTP/1.1 client for one endpoint, with warm connections.

It does what upstreams need and nothing else: no redirects (an upstream that moved is named, not followed: the
configured headers may be credentials), no proxies (`HTTP_PROXY` and the like are not read), no compression, no
cookies. A request is never sent twice: whether that is safe is for those to decide who know what it means.
"""

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import anyio

from quantum_suite.core.errors import ConfigurationError
from quantum_suite.hub.upstreams.event_stream import Event
from quantum_suite.hub.upstreams.http_connection import (
    BadResponse,
    ConnectFailed,
    HttpConnection,
    HttpError,
    HttpLimits,
    Receiver,
)

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A parsed URL."""

    tls: bool
    host: str
    port: int
    authority: str
    """What the `Host` header says."""
    target: str
    """Path and query, as the request line says them."""

    @classmethod
    def parse(cls, url: str) -> "Endpoint":
        """Read an http or https URL; raises ConfigurationError."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ConfigurationError(f"The URL of a server cannot be read: {error}.", _URL_HINT) from error
        if parts.scheme not in _DEFAULT_PORTS or not host:
            raise ConfigurationError("The URL of a server must begin with http:// or https://.", _URL_HINT)
        if parts.username is not None or parts.password is not None:
            raise ConfigurationError("The URL of a server holds a password.", "Put credentials into a header.")
        try:
            ascii_host = host if ":" in host else host.encode("idna").decode("ascii")
        except UnicodeError as error:
            raise ConfigurationError(f"'{host}' is not a host name.", _URL_HINT) from error
        bracketed = f"[{ascii_host}]" if ":" in ascii_host else ascii_host
        target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=-._~")
        if parts.query:
            target += "?" + quote(parts.query, safe="/?%:@!$&'()*+,;=-._~")
        default = _DEFAULT_PORTS[parts.scheme]
        return cls(
            tls=parts.scheme == "https",
            host=ascii_host,
            port=default if port is None else port,
            authority=bracketed if port in (None, default) else f"{bracketed}:{port}",
            target=target,
        )


_URL_HINT = "Write it like https://example.com/mcp."


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response. An event stream has an empty body."""

    status: int
    headers: dict[str, str]
    body: bytes


class HttpClient:
    """Connections to one endpoint: reused, bounded, closed when idle."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        limits: HttpLimits | None = None,
        max_connections: int = 128,
        connect_seconds: float = 10.0,
        wait_seconds: float = 30.0,
        idle_seconds: float = 60.0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """`wait_seconds` bounds the wait for one of `max_connections` to become free."""
        self._endpoint = endpoint
        self._limits = limits or HttpLimits()
        self._max_connections = max_connections
        self._connect_seconds = connect_seconds
        self._wait_seconds = wait_seconds
        self._idle_seconds = idle_seconds
        self._ssl = (ssl_context or ssl.create_default_context()) if endpoint.tls else None
        self._idle: deque[HttpConnection] = deque()
        self._open: set[HttpConnection] = set()
        self._outside: set[HttpConnection] = set()
        self._connecting = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    async def send(self, request: bytes, receiver: Receiver, *, long_lived: bool = False) -> HttpConnection:
        """Send a complete request; the response goes to `receiver`. `abort` on what is returned gives it up.

        A long-lived exchange (a stream that listens) gets a connection of its own, outside the bound, so that it
        keeps no call waiting. Raises ConnectFailed: nothing was sent then.
        """
        while True:
            connection = self._reuse() if not long_lived else None
            if connection is None:
                connection = await (self._connect(outside=True) if long_lived else self._connect_or_wait())
            if connection is not None:
                break
        connection.send(request, receiver)
        return connection

    async def fetch(self, request: bytes, *, seconds: float) -> Response:
        """Send a request and return the whole response, within `seconds`; raises HttpError.

        Of an event stream only the head is read; its connection is closed.
        """
        whole = _Whole()
        connection: HttpConnection | None = None
        try:
            with anyio.fail_after(seconds):
                connection = await self.send(request, whole)
                response = await whole.response
            if whole.is_stream:
                connection.abort()
        except TimeoutError:
            if connection is not None:
                connection.abort()
            raise BadResponse(f"did not answer within {seconds:g} seconds") from None
        except asyncio.CancelledError:
            if connection is not None:
                connection.abort()
            raise
        return response

    async def aclose(self) -> None:
        """Close every connection; receivers under way hear nothing more. Idempotent."""
        self._closed = True
        for connection in [*self._open, *self._outside]:
            connection.abort()
        self._idle.clear()
        self._wake_one()
        if self._sweep is not None:
            self._sweep.cancel()

    # -- the pool ---------------------------------------------------------------------------------------------

    def _reuse(self) -> HttpConnection | None:
        while self._idle:
            connection = self._idle.pop()  # The warmest; those that are not needed grow old and are closed.
            if connection.usable:
                return connection
            connection.abort()
        return None

    async def _connect_or_wait(self) -> HttpConnection | None:
        """Return a new connection, or None when one may have become free."""
        if len(self._open) + self._connecting < self._max_connections:
            return await self._connect(outside=False)
        free = asyncio.get_running_loop().create_future()
        self._waiting.append(free)
        try:
            with anyio.fail_after(self._wait_seconds):
                await free
        except TimeoutError:
            raise ConnectFailed(
                f"keeps all {self._max_connections} connections busy and none became free in time"
            ) from None
        except asyncio.CancelledError:
            self._wake_one()  # Perhaps it was just told so; somebody else may still be waiting.
            raise
        return None

    async def _connect(self, *, outside: bool) -> HttpConnection:
        self._refuse_when_closed()
        self._connecting += not outside
        endpoint = self._endpoint
        try:
            with anyio.fail_after(self._connect_seconds):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: HttpConnection(self._limits, self._freed),
                    endpoint.host,
                    endpoint.port,
                    ssl=self._ssl,
                )
        except TimeoutError:
            text = f"at {endpoint.authority} did not accept a connection within {self._connect_seconds:g} seconds"
            raise ConnectFailed(text) from None
        except OSError as error:
            raise ConnectFailed(f"at {endpoint.authority} cannot be reached ({_reason(error)})") from error
        finally:
            self._connecting -= not outside
            if not outside:
                self._wake_one()
        if self._closed or connection.closed:
            connection.abort()
            self._refuse_when_closed()
            raise ConnectFailed(f"at {endpoint.authority} closed the connection at once")
        (self._outside if outside else self._open).add(connection)
        return connection

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise ConnectFailed("is no longer used")

    def _freed(self, connection: HttpConnection) -> None:
        if connection in self._outside or connection not in self._open:
            self._outside.discard(connection)
            connection.abort()
            return
        if connection.reusable and not self._closed:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.append(connection)
            if self._sweep is None:
                self._schedule_sweep()
        else:
            self._open.discard(connection)
            if connection in self._idle:
                self._idle.remove(connection)
        self._wake_one()

    def _wake_one(self) -> None:
        while self._waiting:
            free = self._waiting.popleft()
            if not free.done():
                free.set_result(None)
                return

    def _schedule_sweep(self) -> None:
        self._sweep = asyncio.get_running_loop().call_later(self._idle_seconds / 2, self._close_idle)

    def _close_idle(self) -> None:
        self._sweep = None
        oldest = asyncio.get_running_loop().time() - self._idle_seconds
        while self._idle and self._idle[0].idle_since <= oldest:
            self._idle.popleft().abort()
        if self._idle:
            self._schedule_sweep()


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__


class _Whole:
    """Waits for a whole response."""

    def __init__(self) -> None:
        self.response: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self.is_stream = False
        self._status = 0
        self._headers: dict[str, str] = {}

    def on_head(self, status: int, headers: dict[str, str]) -> None:
        self._status, self._headers = status, headers
        if status == 200 and headers.get("content-type", "").lower().startswith("text/event-stream"):
            self.is_stream = True
            self._settle(b"")

    def on_event(self, event: Event) -> None:
        """Nobody reads the events of a response whose head is all that matters."""

    def on_done(self, body: bytes) -> None:
        self._settle(body)

    def on_lost(self, error: HttpError) -> None:
        if not self.response.done():
            self.response.set_exception(error)

    def _settle(self, body: bytes) -> None:
        if not self.response.done():
            self.response.set_result(Response(self._status, self._headers, body))
