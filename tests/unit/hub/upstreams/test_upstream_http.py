"""Servers over HTTP, on their bad days: hand-written ones on a raw socket."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
import orjson
import pytest

from quantum_suite.core.errors import ConfigurationError, Unavailable
from quantum_suite.hub.call import (
    HEADER_MISMATCH,
    METHOD_NOT_FOUND,
    UNSUPPORTED_PROTOCOL_VERSION,
    UPSTREAM_UNAVAILABLE,
    Era,
    Json,
    NoPeer,
    RpcError,
)
from quantum_suite.hub.upstreams.http import HttpConnector
from quantum_suite.hub.upstreams.interface import Link, LinkKey, LinkLost

pytestmark = pytest.mark.anyio


@dataclass
class Request:
    """What a client sent, and the way to answer."""

    verb: str
    target: str
    headers: dict[str, str]
    body: bytes
    writer: asyncio.StreamWriter

    @property
    def message(self) -> Json:
        return orjson.loads(self.body)

    @property
    def method(self) -> str:
        return str(self.message.get("method", "")) if self.body else self.verb

    async def raw(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(
        self, body: Any = b"", status: int = 200, kind: str = "application/json", **headers: str
    ) -> None:
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        await self.raw(
            f"HTTP/1.1 {status} x\r\ncontent-type: {kind}\r\n{lines}content-length: {len(data)}\r\n\r\n".encode()
            + data
        )

    async def result(self, result: Json, **headers: str) -> None:
        await self.answer({"jsonrpc": "2.0", "id": self.message["id"], "result": result}, **headers)

    async def stream(self) -> None:
        await self.raw(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")

    async def event(self, message: Any = None, id_: str | None = None, retry: int | None = None) -> None:
        text = (f"id: {id_}\n" if id_ else "") + (f"retry: {retry}\n" if retry is not None else "")
        data = text.encode() + b"data: " + (orjson.dumps(message) if message is not None else b"") + b"\n\n"
        await self.raw(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    async def end(self) -> None:
        await self.raw(b"0\r\n\r\n")

    def close(self) -> None:
        self.writer.close()


Answer = Callable[[Request], Awaitable[None]]


@dataclass
class Server:
    """A raw server: greets as told, and leaves the rest to the test."""

    answer: Answer
    session: str | None = "session-1"
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    url: str = ""
    get: Answer | None = None
    talks: set[asyncio.Task[None]] = field(default_factory=set)

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.talks.add(asyncio.get_running_loop().create_task(self._talk(reader, writer)))

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while request := await self._read(reader, writer):
                    self.requests.append(request)
                    await self._answer(request)
        finally:
            writer.transport.abort()

    async def aclose(self) -> None:
        for talk in self.talks:
            talk.cancel()
        await asyncio.gather(*self.talks, return_exceptions=True)

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode().strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        verb, target, _ = first.split(" ")
        return Request(verb, target, headers, body, writer)

    async def _answer(self, request: Request) -> None:
        if request.method == "server/discover":
            await request.result({"supportedVersions": ["2026-07-28"], "capabilities": {}})
        elif request.method == "initialize":
            more = {"mcp_session_id": self.session} if self.session else {}
            await request.result({"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {}}, **more)
        elif request.verb == "DELETE" or "id" not in (request.message if request.body else {"id": 1}):
            await request.answer(status=202)
        elif request.verb == "GET":
            await (self.get(request) if self.get else request.answer(status=405))
        else:
            await self.answer(request)

    def of(self, method: str) -> list[Request]:
        return [request for request in self.requests if request.method == method]


@contextlib.asynccontextmanager
async def serving(answer: Answer, **options: Any) -> AsyncIterator[Server]:
    server = Server(answer, **options)
    listener = await asyncio.start_server(server.connected, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/mcp?key=v%20w"
    try:
        yield server
    finally:
        listener.close()
        await server.aclose()


async def ignore(method: str, params: Json) -> None:
    """Hear nothing."""


@contextlib.asynccontextmanager
async def linked(server: Server, era: Era = "modern", **options: Any) -> AsyncIterator[Link]:
    announce = options.pop("announce", ignore)
    connector = HttpConnector(server.url, options.pop("headers", None), **options)
    link = await connector.connect(LinkKey(era, "shared" if era == "modern" else "me"), announce)
    try:
        yield link
    finally:
        await link.aclose()
        await connector.aclose()


async def call(link: Link, name: str = "x", peer: Any = None, **options: Any) -> Json:
    with anyio.fail_after(50):
        return await link.request("tools/call", {"name": name}, peer or NoPeer(), **options)


async def failing(link: Link, **options: Any) -> RpcError:
    with pytest.raises(RpcError) as caught:
        await call(link, **options)
    return caught.value


async def eventually(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(25):
        while not condition():
            await anyio.sleep(0.005)


async def done(request: Request) -> None:
    await request.result({"ok": True})


# -- requests -------------------------------------------------------------------------------------------------


async def test_a_modern_request_mirrors_its_body_in_headers() -> None:
    async with serving(done) as server, linked(server, headers={"X-Key": "k1"}) as link:
        await call(link, "größer", headers={"mcp-param-region": "eu", "cookie": "no"})

    request = server.of("tools/call")[0]
    assert request.target == "/mcp?key=v%20w"
    assert request.headers["mcp-protocol-version"] == "2026-07-28"
    assert request.headers["mcp-method"] == "tools/call"
    assert request.headers["mcp-name"] == "=?base64?Z3LDtsOfZXI=?="
    assert request.headers["mcp-param-region"] == "eu"
    assert request.headers["x-key"] == "k1"
    assert request.headers["accept"] == "application/json, text/event-stream"
    assert "cookie" not in request.headers
    assert "mcp-session-id" not in request.headers


async def test_a_header_cannot_be_smuggled_in() -> None:
    async with serving(done) as server, linked(server) as link:
        error = await failing(link, headers={"mcp-param-x": "a\r\nx-admin: yes"})

    assert "characters a header cannot carry" in error.message
    assert server.of("tools/call") == []


async def test_requests_one_after_another_share_a_warm_connection() -> None:
    async with serving(done) as server, linked(server) as link:
        for _ in range(20):
            assert await call(link) == {"ok": True}

    assert server.connections == 1


async def test_connections_are_bounded_and_waited_for() -> None:
    async def slowly(request: Request) -> None:
        await asyncio.sleep(0.01)
        await done(request)

    async with (
        serving(slowly) as server,
        linked(server, max_connections=3) as link,
        anyio.create_task_group() as tasks,
    ):
        for _ in range(20):
            tasks.start_soon(call, link)

    assert server.connections == 3
    assert len(server.of("tools/call")) == 20


async def test_a_call_cancelled_while_it_waits_for_a_connection_costs_no_connection() -> None:
    go_on = asyncio.Event()

    async def wait(request: Request) -> None:
        await go_on.wait()
        await done(request)

    async with serving(wait) as server, linked(server, max_connections=1) as link:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call, link)
            await eventually(lambda: len(server.of("tools/call")) == 1)
            with anyio.move_on_after(0.05):
                await call(link)
            go_on.set()
        assert await call(link) == {"ok": True}

    assert server.connections == 1


async def test_closing_the_response_cancels_a_modern_call() -> None:
    gone = asyncio.Event()

    async def hang(request: Request) -> None:
        await request.stream()
        with contextlib.suppress(ConnectionError):
            while True:
                await request.raw(b"1\r\n:\r\n")
                await asyncio.sleep(0.005)
        gone.set()

    async with serving(hang) as server, linked(server) as link:
        with anyio.move_on_after(0.1):
            await call(link)
        assert link.in_flight == 0
        with anyio.fail_after(25):
            await gone.wait()

    assert server.of("notifications/cancelled") == []


async def test_cancelling_a_handshake_call_tells_the_server() -> None:
    async def hang(request: Request) -> None:
        await asyncio.sleep(600)

    async with serving(hang) as server, linked(server, "handshake") as link:
        with anyio.move_on_after(0.1):
            await call(link)
        await eventually(lambda: bool(server.of("notifications/cancelled")))

    cancelled = server.of("notifications/cancelled")[0].message["params"]
    assert cancelled == {"requestId": server.of("tools/call")[0].message["id"]}


# -- answers that are none ------------------------------------------------------------------------------------


async def test_a_server_that_is_not_there_was_never_asked() -> None:
    async with serving(done) as server:
        url = server.url
    connector = HttpConnector(url)

    with pytest.raises(Unavailable, match="cannot be reached"):
        await connector.connect(LinkKey("modern", "shared"), ignore)

    await connector.aclose()


async def test_a_server_that_goes_away_in_the_middle_may_have_done_its_work() -> None:
    async def die(request: Request) -> None:
        request.close()

    async with serving(die) as server, linked(server) as link:
        error = await failing(link)
        assert isinstance(error, LinkLost)
        assert not error.never_processed
        assert not link.closed

    assert len(server.of("tools/call")) == 1


async def test_a_connection_the_server_closed_while_idle_is_not_used_again() -> None:
    async def once(request: Request) -> None:
        await done(request)
        request.close()

    async with serving(once) as server, linked(server) as link:
        for number in range(5):
            assert await call(link) == {"ok": True}
            await eventually(lambda n=number: server.connections == n + 1)

    assert len(server.of("tools/call")) == 5


async def test_a_connection_is_not_reused_against_the_servers_wish() -> None:
    async def closing(request: Request) -> None:
        await request.result({"ok": True}, connection="close")

    async with serving(closing) as server, linked(server) as link:
        for _ in range(3):
            await call(link)

    assert server.connections == 3


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"SMTP ready\r\n\r\n", "broke the HTTP protocol"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n", "broke the HTTP protocol"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", "broke the HTTP protocol"),
        (b"HTTP/1.1 101 x\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n", "broke the HTTP protocol"),
        (b"HTTP/1.1 200 OK\r\n" + b"x-y: " + b"z" * 70_000, "bytes of headers"),
        (b"HTTP/1.1 200 OK\r\n" + b"x-y: z\r\n" * 20_000, "bytes of headers"),
        (b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nhi", "answered with text/html"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", "instead of JSON"),
    ],
)
async def test_what_is_no_answer_fails_the_call_and_is_named(raw: bytes, says: str) -> None:
    async def garbage(request: Request) -> None:
        await request.raw(raw)

    async with serving(garbage) as server, linked(server) as link:
        error = await failing(link)

    assert error.code == UPSTREAM_UNAVAILABLE
    assert says in error.message


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"jsonrpc":"2.0","id":999,"result":{}}', "not sent"),
        (b'{"jsonrpc":"2.0","method":"x"}', "no response"),
        (b'{"jsonrpc":"2.0","id":2,"result":5}', "not an object"),
    ],
)
async def test_a_json_answer_that_makes_no_sense_fails_the_call_and_is_named(body: bytes, says: str) -> None:
    async def nonsense(request: Request) -> None:
        await request.answer(body)

    async with serving(nonsense) as server, linked(server) as link:
        error = await failing(link)

    assert error.code == UPSTREAM_UNAVAILABLE
    assert says in error.message


async def test_an_interim_response_is_passed_over() -> None:
    async def hinting(request: Request) -> None:
        await request.raw(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n")
        await done(request)

    async with serving(hinting) as server, linked(server) as link:
        assert await call(link) == {"ok": True}
        assert await call(link) == {"ok": True}
    assert server.connections == 1


async def test_a_body_until_the_end_of_the_connection_is_read() -> None:
    async def old(request: Request) -> None:
        body = orjson.dumps({"jsonrpc": "2.0", "id": request.message["id"], "result": {"ok": True}})
        await request.raw(b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n" + body)
        request.close()

    async with serving(old) as server, linked(server) as link:
        assert await call(link) == {"ok": True}


async def test_a_body_over_the_bound_is_not_read_to_its_end() -> None:
    async def huge(request: Request) -> None:
        await request.raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99999999\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(1000):
                await request.raw(b"x" * 65536)

    async with serving(huge) as server, linked(server, max_message_bytes=200_000) as link:
        error = await failing(link)

    assert "larger than 200000 bytes" in error.message


async def test_an_event_over_the_bound_ends_the_stream() -> None:
    async def huge(request: Request) -> None:
        await request.stream()
        with contextlib.suppress(ConnectionError):
            for _ in range(1000):
                await request.raw(b"10000\r\n" + b"x" * 65536 + b"\r\n")

    async with serving(huge) as server, linked(server, max_message_bytes=200_000) as link:
        error = await failing(link)

    assert "event larger than 200000 bytes" in error.message


@pytest.mark.parametrize(
    "part",
    [
        b"HTTP/1.1 200 OK\r\ncontent-",
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{",
    ],
)
async def test_a_response_that_stops_in_the_middle_is_given_up(part: bytes) -> None:
    async def stall(request: Request) -> None:
        await request.raw(part)
        await asyncio.sleep(600)

    async with serving(stall) as server, linked(server, stall_seconds=0.1) as link:
        error = await failing(link)

    assert error.code == UPSTREAM_UNAVAILABLE
    assert "stopped in the middle" in error.message


async def test_headers_that_drip_are_given_up() -> None:
    async def drip(request: Request) -> None:
        await request.raw(b"HTTP/1.1 200 OK\r\nx: ")
        with contextlib.suppress(ConnectionError):
            while True:
                await request.raw(b"y")
                await asyncio.sleep(0.01)

    async with serving(drip) as server, linked(server, stall_seconds=0.2) as link:
        error = await failing(link)

    assert "headers" in error.message


@pytest.mark.parametrize("status", [401, 403])
async def test_refused_credentials_are_named_and_not_shown(status: int) -> None:
    async def refuse(request: Request) -> None:
        await request.answer({"jsonrpc": "2.0", "id": None, "error": {"code": 1, "message": "tok-123"}}, status)

    headers = {"Authorization": "Bearer tok-123"}
    async with serving(refuse) as server, linked(server, headers=headers) as link:
        error = await failing(link)

    assert error.code == UPSTREAM_UNAVAILABLE
    assert "credentials" in error.message
    assert "tok-123" not in error.message


async def test_a_redirect_is_named_and_not_followed() -> None:
    async def move(request: Request) -> None:
        await request.answer(status=308, location="https://elsewhere.example/mcp?token=s3cret")

    async with serving(move) as server, linked(server) as link:
        error = await failing(link)

    assert "https://elsewhere.example/mcp" in error.message
    assert "s3cret" not in error.message
    assert len(server.of("tools/call")) == 1


@pytest.mark.parametrize(("status", "code"), [(400, HEADER_MISMATCH), (404, METHOD_NOT_FOUND), (500, -32603)])
async def test_a_protocol_error_keeps_its_code_whatever_the_status(status: int, code: int) -> None:
    async def refuse(request: Request) -> None:
        await request.answer({"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": "no"}}, status)

    async with serving(refuse) as server, linked(server) as link:
        error = await failing(link)

    assert (error.code, error.message) == (code, "no")


async def test_a_bad_gateway_is_named() -> None:
    async def gateway(request: Request) -> None:
        await request.answer(b"<html>", 502, "text/html")

    async with serving(gateway) as server, linked(server) as link:
        error = await failing(link)

    assert error.code == UPSTREAM_UNAVAILABLE
    assert "502" in error.message


async def test_a_stream_that_ends_without_an_answer_loses_the_call() -> None:
    async def end(request: Request) -> None:
        await request.stream()
        await request.end()

    async with serving(end) as server, linked(server) as link:
        error = await failing(link)

    assert isinstance(error, LinkLost)
    assert not error.never_processed


# -- streams --------------------------------------------------------------------------------------------------


class Requester:
    """A peer that remembers what it heard and says yes."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.asked: list[str] = []

    async def notify(self, method: str, params: Json) -> None:
        self.heard.append(method)

    async def request(self, method: str, params: Json) -> Json:
        self.asked.append(method)
        return {"action": "accept"}


async def test_a_stream_is_read_event_by_event_and_its_connection_kept() -> None:
    async def stream(request: Request) -> None:
        await request.stream()
        await request.raw(b"5\r\n: hi\n\r\n")
        await request.event({"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": 1}})
        await request.event(b"not json".decode())
        await request.event({"jsonrpc": "2.0", "id": request.message["id"], "result": {"ok": True}})
        await request.end()

    peer = Requester()
    async with serving(stream) as server, linked(server) as link:
        assert await call(link, peer=peer) == {"ok": True}
        assert await call(link, peer=peer) == {"ok": True}

    assert peer.heard == ["notifications/message"] * 2
    assert server.connections == 1


async def test_a_stream_left_open_behind_its_answer_is_closed() -> None:
    gone = asyncio.Event()

    async def linger(request: Request) -> None:
        await request.stream()
        await request.event({"jsonrpc": "2.0", "id": request.message["id"], "result": {"ok": True}})
        with contextlib.suppress(ConnectionError):
            while True:
                await request.raw(b"1\r\n:\r\n")
                await asyncio.sleep(0.02)
        gone.set()

    async with serving(linger) as server, linked(server) as link:
        assert await call(link) == {"ok": True}
        with anyio.fail_after(25):
            await gone.wait()


async def test_a_question_on_a_stream_is_answered_by_a_post() -> None:
    answered = asyncio.Event()

    async def ask(request: Request) -> None:
        if request.method != "tools/call":
            return
        await request.stream()
        await request.event({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": {}})
        await answered.wait()
        await request.event({"jsonrpc": "2.0", "id": request.message["id"], "result": {"ok": True}})
        await request.end()

    async def take(request: Request) -> None:
        if request.message.get("id") == "q":
            await request.answer(status=202)
            answered.set()
        else:
            await ask(request)

    peer = Requester()
    async with serving(take) as server, linked(server, "handshake") as link:
        assert await call(link, peer=peer) == {"ok": True}

    reply = next(r for r in server.requests if r.body and r.message.get("id") == "q")
    assert reply.message["result"] == {"action": "accept"}
    assert reply.headers["mcp-session-id"] == "session-1"


async def test_a_broken_stream_is_resumed_behind_the_last_event() -> None:
    seen: list[str | None] = []

    async def break_off(request: Request) -> None:
        await request.stream()
        await request.event(id_="e1", retry=10)
        await request.event({"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": 1}}, id_="e2")
        request.close()

    async def resume(request: Request) -> None:
        seen.append(request.headers.get("last-event-id"))
        if seen[-1] is None:
            await request.answer(status=405)
            return
        await request.stream()
        id_ = server.of("tools/call")[0].message["id"]
        await request.event({"jsonrpc": "2.0", "id": id_, "result": {"ok": True}}, id_="e3")
        await request.end()

    peer = Requester()
    async with serving(break_off, get=resume) as server, linked(server, "handshake") as link:
        assert await call(link, peer=peer) == {"ok": True}

    assert "e2" in seen
    assert peer.heard == ["notifications/message"]
    assert len(server.of("tools/call")) == 1


async def test_resuming_is_not_tried_for_ever() -> None:
    async def break_off(request: Request) -> None:
        await request.stream()
        await request.event(id_="e1", retry=1)
        request.close()

    async def break_again(request: Request) -> None:
        if "last-event-id" in request.headers:
            await request.stream()
            request.close()
        else:
            await request.answer(status=405)

    async with serving(break_off, get=break_again) as server, linked(server, "handshake") as link:
        assert isinstance(await failing(link), LinkLost)


# -- sessions -------------------------------------------------------------------------------------------------


async def test_a_session_is_named_in_every_request_and_deleted_at_the_end() -> None:
    async with serving(done) as server, linked(server, "handshake") as link:
        await call(link)

    assert "mcp-session-id" not in server.of("initialize")[0].headers
    after = [r for r in server.requests if r.method not in ("initialize",)]
    assert {r.headers.get("mcp-session-id") for r in after} == {"session-1"}
    assert {r.headers.get("mcp-protocol-version") for r in after} == {"2025-11-25"}
    assert "mcp-method" not in server.of("tools/call")[0].headers
    assert len(server.of("DELETE")) == 1


async def test_a_server_without_sessions_is_served_without_one() -> None:
    async with serving(done, session=None) as server, linked(server, "handshake") as link:
        await call(link)

    assert all("mcp-session-id" not in r.headers for r in server.requests)
    assert server.of("DELETE") == []


async def test_a_lost_session_closes_the_link_and_nothing_was_done() -> None:
    async def forgotten(request: Request) -> None:
        await request.answer({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "?"}}, 404)

    async with serving(forgotten) as server, linked(server, "handshake") as link:
        error = await failing(link)

        assert isinstance(error, LinkLost)
        assert error.session_lost
        assert error.never_processed
        assert error.data == {"sessionLost": True}
        assert link.closed

    assert server.of("DELETE") == []


async def test_a_session_id_that_a_header_cannot_carry_is_refused() -> None:
    async with serving(done, session="a b") as server:
        with pytest.raises(Unavailable, match="session id"):
            async with linked(server, "handshake"):
                pass


async def test_the_standing_stream_announces_and_is_opened_again_when_it_ends() -> None:
    announced: list[str] = []

    async def announce(method: str, params: Json) -> None:
        announced.append(method)

    async def stand(request: Request) -> None:
        await request.stream()
        await request.event(
            {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}, id_=f"g{len(announced)}", retry=1
        )
        await request.end()

    async with serving(done, get=stand) as server, linked(server, "handshake", announce=announce):
        await eventually(lambda: len(announced) >= 3)

    assert server.of("GET")[1].headers["last-event-id"] == "g0"
    assert set(announced) == {"notifications/tools/list_changed"}


async def test_a_server_without_standing_stream_is_not_asked_again() -> None:
    async with serving(done) as server, linked(server, "handshake") as link:
        await eventually(lambda: len(server.of("GET")) == 1)
        await call(link)

    assert len(server.of("GET")) == 1


# -- eras -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b""),
        (400, b"Bad Request: No valid session ID provided"),
        (400, b'{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Missing session ID"}}'),
        (404, b'{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found"}}'),
        (405, b""),
        (
            400,
            b'{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"x","data":{"supported":["2031-01-01"]}}}',
        ),
    ],
)
async def test_a_server_that_does_not_speak_the_modern_era_is_told_from_one_that_is_away(
    status: int, body: bytes
) -> None:
    async def refuse(request: Request) -> None:
        await request.answer(body, status)

    async with serving(refuse) as server:
        server._answer = refuse  # type: ignore[method-assign] # this server alone
        with pytest.raises(RpcError) as caught:
            async with linked(server):
                pass

    assert caught.value.code == UNSUPPORTED_PROTOCOL_VERSION


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503, 302])
@pytest.mark.parametrize("era", ["modern", "handshake"])
async def test_a_server_in_trouble_is_away_whatever_the_era(status: int, era: Era) -> None:
    async def refuse(request: Request) -> None:
        await request.answer(status=status)

    async with serving(refuse) as server:
        server._answer = refuse  # type: ignore[method-assign] # this server alone
        with pytest.raises(Unavailable, match=str(status)):
            async with linked(server, era):
                pass


async def test_a_server_that_never_answers_is_given_up() -> None:
    async def hang(request: Request) -> None:
        await asyncio.sleep(600)

    async with serving(hang) as server:
        server._answer = hang  # type: ignore[method-assign] # this server alone
        with pytest.raises(Unavailable, match="did not answer within"):
            async with linked(server, connect_seconds=0.1):
                pass


# -- settings -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["ftp://x/", "example.com/mcp", "http:///mcp", "http://me:secret@x/", "http://x:99999/", "http://[::1"]
)
async def test_a_url_that_cannot_be_used_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        HttpConnector(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "headers",
    [{"Host": "x"}, {"bad name": "x"}, {"X-Key": "s3cret\r\nX: y"}, {"mcp-session-id": "x"}, {"X": "ü€"}],
)
async def test_headers_that_cannot_be_sent_are_refused_without_showing_values(headers: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        HttpConnector("http://127.0.0.1:1/", headers)
    assert "s3cret" not in str(caught.value)


async def test_a_server_on_ipv6_is_reached() -> None:
    server = Server(done)
    listener = await asyncio.start_server(server.connected, "::1", 0)
    port = listener.sockets[0].getsockname()[1]
    server.url = f"http://[::1]:{port}/mcp"
    try:
        async with linked(server) as link:
            assert await call(link) == {"ok": True}
    finally:
        listener.close()
        await server.aclose()

    assert server.requests[0].headers["host"] == f"[::1]:{port}"
