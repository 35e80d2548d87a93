"""A small hub for the wire's tests, a server that runs it, and a bare HTTP client to talk to it with.

Run as a program it serves the small hub over stdio.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import SocketStream

from quantum_suite.core.principals import LOCAL, Principal
from quantum_suite.hub.call import (
    INVALID_PARAMS,
    LATEST_HANDSHAKE,
    META_SERVER_INFO,
    META_SUBSCRIPTION_ID,
    METHOD_NOT_FOUND,
    RATE_LIMITED,
    REFUSED,
    SESSION_NOT_FOUND,
    SUPPORTED_VERSIONS,
    UNAUTHENTICATED,
    Call,
    Credentials,
    Json,
    RpcError,
    Session,
)
from quantum_suite.hub.settings import HubSettings, Limits
from quantum_suite.hub.wire.asgi import HubApp
from quantum_suite.hub.wire.server import run_http

_INFO = {"name": "wire-test", "version": "1"}
_CAPABILITIES = {"tools": {"listChanged": True}, "resources": {"subscribe": True}}


def text_result(text: str) -> Json:
    return {"resultType": "complete", "content": [{"type": "text", "text": text}]}


@dataclass
class WireHub:
    """Answers a handful of tools itself, and records what the wire told it."""

    started: dict[str, int] = field(default_factory=dict)
    cancelled: dict[str, int] = field(default_factory=dict)
    finished: dict[str, int] = field(default_factory=dict)
    opened: list[Session] = field(default_factory=list)
    closed: list[Session] = field(default_factory=list)
    heard: list[tuple[str, Json]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    gate: anyio.Event = field(default_factory=anyio.Event)
    """`slow` and `listen` wait for it."""

    async def authenticate(self, credentials: Credentials) -> Principal:
        if credentials.bearer == "bad":
            raise RpcError(UNAUTHENTICATED, "Unknown key.")
        return Principal(f"key:{credentials.bearer}") if credentials.bearer else LOCAL

    def session_opened(self, session: Session) -> None:
        self.opened.append(session)

    async def session_notified(self, session: Session, method: str, params: Json) -> None:
        self.heard.append((method, params))
        if method == "notifications/roots/list_changed":
            roots = await session.peer.request("roots/list", {})
            self.heard.append(("roots", roots))

    async def session_closed(self, session: Session) -> None:
        self.closed.append(session)

    async def handle(self, call: Call) -> Json:
        self.calls.append(call)
        call.principal = await self.authenticate(call.credentials)
        if call.session is not None and call.session.principal.id != call.principal.id:
            raise RpcError(SESSION_NOT_FOUND, "No such session.")
        match call.method:
            case "initialize" if call.era == "handshake":
                asked = call.params.get("protocolVersion")
                version = asked if asked in SUPPORTED_VERSIONS[1:] else LATEST_HANDSHAKE
                return {"protocolVersion": version, "capabilities": _CAPABILITIES, "serverInfo": _INFO}
            case "server/discover":
                return {
                    "resultType": "complete",
                    "supportedVersions": list(SUPPORTED_VERSIONS),
                    "capabilities": _CAPABILITIES,
                    "ttlMs": 1000,
                    "cacheScope": "private",
                    "_meta": {META_SERVER_INFO: _INFO},
                }
            case "ping" if call.era == "handshake":
                return {}
            case "tools/list":
                tools = [{"name": name, "inputSchema": {"type": "object"}} for name in ("echo", "slow", "ask")]
                return {"resultType": "complete", "tools": tools, "ttlMs": 1000, "cacheScope": "private"}
            case "tools/call":
                return await self._tool(call)
            case "subscriptions/listen":
                return await self._listen(call)
        raise RpcError(METHOD_NOT_FOUND, f"There is no {call.method}.")

    async def _tool(self, call: Call) -> Json:
        name = call.params.get("name")
        arguments = call.params.get("arguments") or {}
        match name:
            case "echo":
                return text_result(str(arguments.get("text", "")))
            case "slow":
                return await self._slow(call, int(arguments.get("steps", 0)))
            case "flood":
                for number in range(int(arguments["count"])):
                    await self._progress(call, number, "x" * int(arguments.get("size", 10)))
                return text_result("flooded")
            case "ask":
                params = {"message": "Who?", "requestedSchema": {"type": "object", "properties": {}}}
                reply = await call.peer.request("elicitation/create", params)
                return text_result(json.dumps(reply))
            case "bug":
                raise ZeroDivisionError("secret detail")
            case "unwritable":
                return {"content": object()}
            case "huge":
                return {**text_result("x"), "structuredContent": {"n": 2**80}}
            case "refused":
                raise RpcError(REFUSED, "Not for you.")
            case "limited":
                raise RpcError(RATE_LIMITED, "Too many.", {"retryAfterSeconds": 2.5})
            case "locked":
                raise RpcError(UNAUTHENTICATED, "Who are you?")
        raise RpcError(INVALID_PARAMS, f"There is no tool {name!r}.")

    async def _progress(self, call: Call, number: int, message: str = "") -> None:
        token = (call.params.get("_meta") or {}).get("progressToken", "t")
        params = {"progressToken": token, "progress": number, "message": message}
        await call.peer.notify("notifications/progress", params)

    async def _slow(self, call: Call, steps: int) -> Json:
        count(self.started, "slow")
        try:
            for number in range(steps):
                await self._progress(call, number)
            await self.gate.wait()
        except anyio.get_cancelled_exc_class():
            count(self.cancelled, "slow")
            raise
        count(self.finished, "slow")
        return text_result("done")

    async def _listen(self, call: Call) -> Json:
        count(self.started, "listen")
        meta = {META_SUBSCRIPTION_ID: call.request_id}
        acknowledged = {"_meta": meta, "notifications": call.params.get("notifications", {})}
        await call.peer.notify("notifications/subscriptions/acknowledged", acknowledged)
        await call.peer.notify("notifications/tools/list_changed", {"_meta": meta})
        await self.gate.wait()
        return {"resultType": "complete", "_meta": meta}


def count(counts: dict[str, int], key: str) -> None:
    counts[key] = counts.get(key, 0) + 1


async def until(condition: Any) -> None:
    """Wait, bounded, for something without an event of its own."""
    with anyio.fail_after(25):
        while not condition():
            await anyio.sleep(0.005)


def settings(**limits: Any) -> HubSettings:
    own = {key: limits.pop(key) for key in ("allowed_hosts", "allowed_origins", "host") if key in limits}
    return HubSettings(port=0, data_dir=Path("unused"), limits=Limits(**limits), **own)


async def _page() -> tuple[int, str, bytes]:
    return 200, "text/plain", b"fine"


@asynccontextmanager
async def serving(hub: WireHub, chosen: HubSettings | None = None) -> AsyncIterator[tuple[HubApp, int]]:
    """Serve `hub` on a free port of 127.0.0.1; yields the application and the port."""
    chosen = chosen or settings()
    app = HubApp(hub, chosen, routes={"/healthz": _page, "/metrics": _page}, on_drain=hub.gate.set)
    listening = anyio.Event()
    port = 0

    def on_listening(host: str, bound: int) -> None:
        nonlocal port
        port = bound
        listening.set()

    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            await run_http(app, chosen, on_listening=on_listening)

        tasks.start_soon(run)
        with anyio.fail_after(25):
            await listening.wait()
        try:
            yield app, port
        finally:
            tasks.cancel_scope.cancel()


MODERN_META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "bare", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
BOTH = "application/json, text/event-stream"


def modern(method: str, params: Json | None = None, *, request_id: Any = 1, meta: Any = MODERN_META) -> Json:
    """Return a modern request."""
    full = dict(params or {})
    if meta is not None:
        full["_meta"] = meta
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": full}


def modern_headers(message: Json, **changes: str | None) -> dict[str, str]:
    """Return the headers of a modern request; `changes` replace by name (underscores for dashes), None removes."""
    params = message.get("params") or {}
    headers = {
        "accept": BOTH,
        "content-type": "application/json",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": message["method"],
    }
    name = params.get("name") or params.get("uri")
    if name is not None:
        headers["mcp-name"] = name
    for key, value in changes.items():
        key = key.replace("_", "-")
        if value is None:
            headers.pop(key, None)
        else:
            headers[key] = value
    return headers


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> int:
        return int(self.json["error"]["code"])

    @property
    def message(self) -> str:
        return str(self.json["error"]["message"])


class Connection:
    """One HTTP/1.1 connection, bare, so that tests see and send exact bytes."""

    def __init__(self, stream: SocketStream, port: int) -> None:
        self.stream = stream
        self._port = port
        self._buffer = b""
        self._chunked = False
        self._partial = b""
        self._events: list[Event] = []

    async def send(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | list[tuple[str, str]] | None = None,
        body: bytes | None = None,
    ) -> None:
        lines = [f"{method} {path} HTTP/1.1"]
        pairs = list(headers.items()) if isinstance(headers, dict) else list(headers or [])
        if not any(name.lower() == "host" for name, _ in pairs):
            lines.append(f"host: 127.0.0.1:{self._port}")
        lines += [f"{name}: {value}" for name, value in pairs]
        if body is not None and not any(name.lower() == "content-length" for name, _ in pairs):
            lines.append(f"content-length: {len(body)}")
        await self.stream.send("\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b""))

    async def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._buffer += await self.stream.receive()
        head, _, self._buffer = self._buffer.partition(mark)
        return head

    async def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._buffer += await self.stream.receive()
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    async def head(self) -> tuple[int, dict[str, str]]:
        """Read status and headers."""
        with anyio.fail_after(25):
            lines = (await self._until(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(": ")
            headers[name] = value
        self._chunked = headers.get("transfer-encoding") == "chunked"
        return int(lines[0].split(" ")[1]), headers

    async def chunk(self) -> bytes:
        """Read one chunk of a chunked body; empty at its end."""
        with anyio.fail_after(25):
            size = int(await self._until(b"\r\n"), 16)
            data = await self._exactly(size)
            await self._exactly(2)
        return data

    async def reply(self) -> Reply:
        """Read a whole response."""
        status, headers = await self.head()
        body = b""
        if self._chunked:
            while chunk := await self.chunk():
                body += chunk
        else:
            body = await self._exactly(int(headers.get("content-length", "0")))
        return Reply(status, headers, body)

    async def post(self, message: Any, headers: dict[str, str] | list[tuple[str, str]]) -> Reply:
        """POST to the endpoint and read the whole response."""
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        await self.send("POST", "/mcp", headers, body)
        return await self.reply()

    async def events(self, count_wanted: int) -> list["Event"]:
        """Read exactly so many events of a stream that stays open."""
        while len(self._events) < count_wanted:
            chunk = await self.chunk()
            assert chunk, "the stream ended"
            *whole, self._partial = (self._partial + chunk).split(b"\n\n")
            self._events += [parsed for parsed in map(parse_event, whole) if parsed is not None]
        found, self._events = self._events[:count_wanted], self._events[count_wanted:]
        return found


@dataclass
class Event:
    id: str | None
    data: str
    retry: int | None = None

    @property
    def json(self) -> Any:
        return json.loads(self.data)


def parse_event(block: bytes) -> Event | None:
    fields: dict[str, str] = {}
    for line in block.decode().split("\n"):
        if line and not line.startswith(":"):
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
    if not fields:
        return None
    return Event(fields.get("id"), fields.get("data", ""), int(fields["retry"]) if "retry" in fields else None)


def parse_events(body: bytes) -> list[Event]:
    return [parsed for parsed in map(parse_event, body.split(b"\n\n")) if parsed is not None]


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Connection]:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        yield Connection(stream, port)


async def call_once(port: int, message: Any, headers: dict[str, str] | list[tuple[str, str]]) -> Reply:
    async with connected(port) as connection:
        return await connection.post(message, headers)


def handshake_headers(session_id: str | None = None, **changes: str) -> dict[str, str]:
    headers = {"accept": BOTH, "content-type": "application/json"}
    if session_id is not None:
        headers["mcp-session-id"] = session_id
    return headers | {key.replace("_", "-"): value for key, value in changes.items()}


def initialize(version: str = "2025-11-25", request_id: Any = 0) -> Json:
    info = {"name": "bare", "version": "1"}
    params = {"protocolVersion": version, "capabilities": {"elicitation": {}}, "clientInfo": info}
    return {"jsonrpc": "2.0", "id": request_id, "method": "initialize", "params": params}


async def open_session(port: int, version: str = "2025-11-25", **headers: str) -> str:
    reply = await call_once(port, initialize(version), handshake_headers(None, **headers))
    assert reply.status == 200, reply
    assert reply.json["result"]["protocolVersion"] == version
    return reply.headers["mcp-session-id"]


if __name__ == "__main__":
    from quantum_suite.hub.wire.stdio import serve_stdio

    async def main() -> None:
        print("a stray print must not reach the wire")
        await serve_stdio(WireHub(), settings())

    anyio.run(main, backend_options={"use_uvloop": True})
