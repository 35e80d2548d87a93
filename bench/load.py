"""The load generator: keep-alive connections on bare protocols, so that it costs little beside what it measures.

Reads one `Load` as JSON on standard input and prints one `Measured` as JSON. Each connection carries one call at a
time, so `in_flight` is the number of connections. Every answer is checked for the text it should hold.
"""

import asyncio
import dataclasses
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, cast
from urllib.parse import urlsplit

import httptools
import orjson
import uvloop

Wire = Literal["modern", "handshake"]

MODERN = "2026-07-28"
HANDSHAKE = "2025-11-25"
CLIENT = {"name": "bench", "version": "1.0.0"}


@dataclass(frozen=True, slots=True)
class Load:
    """What to send where."""

    url: str
    wire: Wire
    tool: str
    in_flight: int
    calls: int
    """At most this many, measured from the first."""
    seconds: float
    """No call is begun after this long."""
    headers: dict[str, str] = field(default_factory=dict)
    mark: str = ""
    """Goes into every call's text."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What came back."""

    calls: int
    seconds: float
    p50_ms: float
    p99_ms: float
    failed: int
    problem: str | None
    """What the first failed call was answered."""


class Refused(Exception):
    """The server answered something else than what was asked for."""


class Connection(asyncio.Protocol):
    """One keep-alive connection: a request out, its whole answer in (JSON, or an event stream that ends)."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body = bytearray()
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self.headers: dict[str, str] = {}

    async def send(self, request: bytes) -> tuple[int, bytes]:
        """Send a request and return the status and the body of its answer."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._body.clear()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport (asyncio.Protocol)."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it

    def data_received(self, data: bytes) -> None:
        """Parse what came (asyncio.Protocol)."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"not HTTP: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the call in flight, if any (asyncio.Protocol)."""
        self._fail(f"connection closed: {exc}")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a response header (httptools)."""
        self.headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        """Collect a piece of the body (httptools)."""
        self._body += body

    def on_message_complete(self) -> None:
        """Hand the answer over (httptools)."""
        status, body = self._parser.get_status_code(), bytes(self._body)
        self._parser = httptools.HttpResponseParser(self)
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((status, body))

    def _fail(self, why: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Refused(why))


class Caller:
    """Frames calls of one tool for one server, in either wire format."""

    def __init__(self, load: Load) -> None:
        self._load = load
        address = urlsplit(load.url)
        assert address.hostname is not None
        self._host, self._port = address.hostname, address.port or 80
        self._path = address.path or "/"
        self._session: str | None = None

    async def connect(self) -> Connection:
        """Open a connection."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, self._host, self._port)
        return connection

    async def open_session(self) -> None:
        """Do the handshake, on servers that need one; one session carries all connections, as with one client."""
        if self._load.wire == "modern":
            return
        connection = await self.connect()
        hello = {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": CLIENT}
        status, body = await connection.send(self._frame("initialize", hello, 0))
        if status != 200 or b'"result"' not in body:
            raise Refused(f"initialize was answered {status}: {body[:300]!r}")
        self._session = connection.headers.get("mcp-session-id")
        notice = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        status, body = await connection.send(self._http("notifications/initialized", None, orjson.dumps(notice)))
        connection.close()
        if status not in (200, 202, 204):
            raise Refused(f"notifications/initialized was answered {status}: {body[:300]!r}")

    def call(self, number: int, text: str) -> bytes:
        """Frame one `tools/call`."""
        return self._frame("tools/call", {"name": self._load.tool, "arguments": {"text": text}}, number)

    def _frame(self, method: str, params: Mapping[str, object], number: int) -> bytes:
        if self._load.wire == "modern":
            meta = {
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientInfo": CLIENT,
                "io.modelcontextprotocol/clientCapabilities": {},
            }
            params = {**params, "_meta": meta}
        body = orjson.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        name = params.get("name")
        return self._http(method, name if isinstance(name, str) else None, body)

    def _http(self, method: str, name: str | None, body: bytes) -> bytes:
        headers = {
            "Host": f"{self._host}:{self._port}",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "Content-Length": str(len(body)),
            **self._load.headers,
        }
        if self._load.wire == "modern":
            headers |= {"MCP-Protocol-Version": MODERN, "Mcp-Method": method} | (
                {"Mcp-Name": name} if name else {}
            )
        elif method != "initialize":
            headers["MCP-Protocol-Version"] = HANDSHAKE
            if self._session is not None:
                headers["Mcp-Session-Id"] = self._session
        lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
        return f"POST {self._path} HTTP/1.1\r\n{lines}\r\n".encode() + body


class Run:
    """One load, from the first call to the last answer."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._caller = Caller(load)
        self._begun = 0
        self._latencies: list[float] = []
        self._failed = 0
        self._problem: str | None = None

    async def measure(self) -> Measured:
        """Send the load and return what was measured."""
        await self._caller.open_session()
        connections = [await self._caller.connect() for _ in range(self._load.in_flight)]
        begin = time.perf_counter()
        await asyncio.gather(*(self._carry(connection, begin) for connection in connections))
        seconds = time.perf_counter() - begin
        for connection in connections:
            connection.close()
        ordered = sorted(self._latencies) or [float("nan")]
        p50, p99 = (ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 for share in (0.5, 0.99))
        return Measured(len(self._latencies), seconds, p50, p99, self._failed, self._problem)

    async def _carry(self, connection: Connection, begin: float) -> None:
        while self._begun < self._load.calls and time.perf_counter() - begin < self._load.seconds:
            self._begun += 1
            text = f"call {self._load.mark} {self._begun}"
            request = self._caller.call(self._begun, text)
            sent = time.perf_counter()
            try:
                status, body = await connection.send(request)
            except Refused as error:
                self._fail(str(error))
                return
            self._latencies.append(time.perf_counter() - sent)
            if status != 200 or f'"{text}"'.encode() not in body or b'"isError":true' in body:
                self._fail(f"{status}: {body[:300]!r}")

    def _fail(self, problem: str) -> None:
        self._failed += 1
        self._problem = self._problem or problem


def main() -> None:
    """Measure the load on standard input."""
    load = Load(**orjson.loads(sys.stdin.buffer.read()))
    try:
        measured = uvloop.run(Run(load).measure())
    except (OSError, Refused) as error:
        measured = Measured(0, 0.0, 0.0, 0.0, 1, f"{type(error).__name__}: {error}")
    print(orjson.dumps(dataclasses.asdict(measured)).decode())


if __name__ == "__main__":
    main()
