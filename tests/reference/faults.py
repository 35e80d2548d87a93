"""A reverse proxy that breaks what passes through it, in front of a real server.

For what a real server cannot be made to show at will: 429 with Retry-After, 500, a stream cut at a byte, garbage
in the middle. Each request takes the next fault of a list; without one it passes through as it is.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Reply:
    """Answers in the server's place; the server is not asked."""

    status: int
    body: str | bytes = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"

    def raw(self) -> bytes:
        body = self.body.encode() if isinstance(self.body, str) else self.body
        headers = {"content-type": self.content_type, "content-length": str(len(body)), **self.headers}
        lines = [f"HTTP/1.1 {self.status} Said", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "connection: close", "", ""]).encode() + body


@dataclass(frozen=True)
class Cut:
    """Passes this many bytes of the answer on, its head included, then closes the connection."""

    after_bytes: int


@dataclass(frozen=True)
class CutBefore:
    """Passes the answer on until these bytes would come, then closes the connection."""

    marker: bytes


@dataclass(frozen=True)
class HoldBefore:
    """Passes the answer on until these bytes would come, then nothing more: the connection stays open."""

    marker: bytes


@dataclass(frozen=True)
class Change:
    """Passes the answer on with some bytes replaced, once."""

    old: bytes
    new: bytes


@dataclass(frozen=True)
class Stall:
    """Takes the request and never answers."""


@dataclass(frozen=True)
class Refuse:
    """Closes the connection at once."""


Fault = Reply | Cut | CutBefore | HoldBefore | Change | Stall | Refuse


@dataclass
class FaultProxy:
    """What passed, and what is to go wrong next."""

    url: str = ""
    faults: deque[Fault] = field(default_factory=deque)
    requests: list[dict[str, Any]] = field(default_factory=list)
    """The bodies of the requests, as they came."""
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a client closes its connection before the answer ended."""


@asynccontextmanager
async def fault_proxy(upstream: str, *faults: Fault) -> AsyncIterator[FaultProxy]:
    """Run a proxy before the server at `upstream`; all its connections end with it."""
    proxy = FaultProxy(faults=deque(faults))
    tasks: set[asyncio.Task[None]] = set()
    opened: list[asyncio.StreamWriter] = []

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(writer)
        task = asyncio.create_task(_serve(proxy, upstream, reader, writer, opened))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in opened:
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for writer in opened), return_exceptions=True)
        await server.wait_closed()


async def _serve(
    proxy: FaultProxy,
    upstream: str,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    opened: list[asyncio.StreamWriter],
) -> None:
    try:
        head, body = await _request(reader)
        proxy.paths.append(head.split(b" ", 2)[1].decode())
        proxy.headers.append(_headers(head))
        proxy.requests.append(json.loads(body) if body else {})
        fault = proxy.faults.popleft() if proxy.faults else None
        if isinstance(fault, Refuse):
            return
        if isinstance(fault, Reply):
            writer.write(fault.raw())
            await writer.drain()
        elif isinstance(fault, Stall):
            await _gone(proxy, reader)
        else:
            await _pass_on(proxy, upstream, head + body, fault, reader, writer, opened)
    except (OSError, asyncio.IncompleteReadError):
        proxy.left.set()
    finally:
        writer.close()


async def _request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(_headers(head).get("content-length", "0"))
    body = await reader.readexactly(length)
    # The answer is told from the next by the end of its connection.
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([*lines[:-2], b"connection: close", b"", b""]), body


def _headers(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    return {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


async def _gone(proxy: FaultProxy, reader: asyncio.StreamReader) -> None:
    await reader.read(1)
    proxy.left.set()


async def _pass_on(
    proxy: FaultProxy,
    upstream: str,
    request: bytes,
    fault: Fault | None,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    opened: list[asyncio.StreamWriter],
) -> None:
    parts = urlsplit(upstream)
    from_server, to_server = await asyncio.open_connection(parts.hostname, parts.port)
    opened.append(to_server)
    watching = asyncio.create_task(_gone(proxy, reader))
    relaying = asyncio.create_task(_relay(from_server, writer, fault))
    try:
        to_server.write(request)
        await to_server.drain()
        await asyncio.wait({watching, relaying}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (watching, relaying):
            task.cancel()
        await asyncio.gather(watching, relaying, return_exceptions=True)
        to_server.close()


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault | None) -> None:
    passed = 0
    held = b""
    while chunk := await reader.read(4096):
        if isinstance(fault, Cut):
            chunk = chunk[: fault.after_bytes - passed]
        elif isinstance(fault, CutBefore | HoldBefore | Change):
            chunk, held, fault = _changed(held + chunk, fault)
        writer.write(chunk)
        await writer.drain()
        passed += len(chunk)
        if isinstance(fault, Cut) and passed >= fault.after_bytes:
            return
        if isinstance(fault, Stall):
            await asyncio.Event().wait()
    writer.write(held)
    await writer.drain()


def _changed(data: bytes, fault: CutBefore | HoldBefore | Change) -> tuple[bytes, bytes, Fault | None]:
    """Return what may pass, what is held back, and the fault that is left."""
    marker = fault.old if isinstance(fault, Change) else fault.marker
    at = data.find(marker)
    if at < 0:
        keep = max(0, len(data) - len(marker) + 1)
        return data[:keep], data[keep:], fault
    if isinstance(fault, CutBefore):
        return data[:at], b"", Cut(0)
    if isinstance(fault, HoldBefore):
        return data[:at], b"", Stall()
    return data[:at] + fault.new + data[at + len(marker) :], b"", None
