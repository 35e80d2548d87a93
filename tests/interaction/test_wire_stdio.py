"""Both eras over stdio: with the SDK's client and a child process, and line by line in memory."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import pytest
from anyio.streams.stapled import StapledByteStream
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from interaction.wire_support import MODERN_META, WireHub, initialize, modern, settings, until
from mcp.client import Client
from mcp.client.context import ClientRequestContext
from mcp.client.stdio import StdioServerParameters, stdio_client

from quantum_suite.hub.wire.stdio import serve_stdio

pytestmark = pytest.mark.anyio

CHILD = [str(Path(__file__).with_name("wire_support.py"))]


class Lines:
    """The client's end: JSON lines to and from a served hub."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self._buffer = b""

    async def send(self, *messages: Any) -> None:
        for message in messages:
            line = message if isinstance(message, bytes) else json.dumps(message).encode()
            await self.stream.send(line + b"\n")

    async def receive(self) -> Any:
        with anyio.fail_after(25):
            while b"\n" not in self._buffer:
                self._buffer += await self.stream.receive()
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    async def ask(self, message: Any) -> Any:
        await self.send(message)
        return await self.receive()


@asynccontextmanager
async def served(hub: WireHub, **limits: Any) -> AsyncIterator[Lines]:
    """Serve over a socket pair; on exit the client's end closes and serving must end by itself."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:

        async def serve() -> None:
            stream = await listener.listeners[0].accept()
            async with stream:
                await serve_stdio(hub, settings(**limits), stream, stream)

        tasks.start_soon(serve)
        async with await anyio.connect_tcp("127.0.0.1", port) as client:
            yield Lines(client)
        with anyio.fail_after(25):
            while tasks._tasks:  # type: ignore[attr-defined]  # anyio has no public count of a group's tasks
                await anyio.sleep(0.005)


def request(method: str, params: Any = None, request_id: Any = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params or {}}


def tool(name: str, request_id: Any = 1, **arguments: Any) -> dict[str, Any]:
    return request("tools/call", {"name": name, "arguments": arguments}, request_id)


def modern_tool(name: str, request_id: Any = 1, **arguments: Any) -> dict[str, Any]:
    return modern("tools/call", {"name": name, "arguments": arguments}, request_id=request_id)


def cancel(request_id: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": request_id}}


@pytest.mark.parametrize(
    ("mode", "version"), [("2026-07-28", "2026-07-28"), ("legacy", "2025-11-25"), ("auto", "2026-07-28")]
)
async def test_the_sdk_client_drives_a_child_process_in_either_era(mode: Any, version: str) -> None:
    heard: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)

    parameters = StdioServerParameters(
        command=sys.executable, args=CHILD, env={"PYTHONPATH": str(Path(CHILD[0]).parents[1])}
    )
    async with Client(stdio_client(parameters), mode=mode) as client:
        assert client.protocol_version == version
        assert len((await client.list_tools()).tools) == 3
        result = await client.call_tool("echo", {"text": "line\nbreak"})
        assert isinstance(result.content[0], types.TextContent)
        assert result.content[0].text == "line\nbreak"
        await client.call_tool("flood", {"count": 4}, progress_callback=on_progress)
    assert heard == [0, 1, 2, 3]


async def test_the_sdk_client_answers_a_question_over_stdio() -> None:
    async def answer(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
        return types.ElicitResult(action="decline")

    parameters = StdioServerParameters(
        command=sys.executable, args=CHILD, env={"PYTHONPATH": str(Path(CHILD[0]).parents[1])}
    )
    async with Client(stdio_client(parameters), mode="legacy", elicitation_callback=answer) as client:
        result = await client.call_tool("ask", {})
    assert isinstance(result.content[0], types.TextContent)
    assert "decline" in result.content[0].text


async def test_a_child_ends_when_its_stdin_ends_and_prints_nothing_else_to_stdout() -> None:
    line = json.dumps(modern_tool("echo", text="x")).encode() + b"\n"
    async with await anyio.open_process(
        [sys.executable, *CHILD], env={"PYTHONPATH": str(Path(CHILD[0]).parents[1])}
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        lines = Lines(StapledByteStream(process.stdin, process.stdout))
        assert (await lines.ask(line.strip()))["id"] == 1
        await process.stdin.aclose()
        with anyio.fail_after(25):
            rest = b"".join([chunk async for chunk in process.stdout])
            assert await process.wait() == 0
    assert rest == b""


async def test_both_eras_are_served_on_one_pair_of_streams_at_once() -> None:
    hub = WireHub()
    async with served(hub) as lines:
        assert (await lines.ask(initialize()))["result"]["protocolVersion"] == "2025-11-25"
        await lines.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        await lines.send(tool("slow", "old"), modern_tool("slow", "new"))
        await until(lambda: hub.started.get("slow") == 2)
        assert (await lines.ask(modern_tool("echo", 3)))["id"] == 3
        hub.gate.set()
        assert {(await lines.receive())["id"] for _ in range(2)} == {"old", "new"}
        assert {call.era for call in hub.calls} == {"handshake", "modern"}
        await until(lambda: hub.heard == [("notifications/initialized", {})])
    assert hub.closed == hub.opened
    assert hub.opened[0].initialized


async def test_a_subscription_is_served_over_stdio_until_cancelled() -> None:
    hub = WireHub()
    async with served(hub) as lines:
        first = await lines.ask(modern("subscriptions/listen", {"notifications": {}}, request_id="sub"))
        assert first["method"] == "notifications/subscriptions/acknowledged"
        assert (await lines.receive())["method"] == "notifications/tools/list_changed"
        await lines.send(cancel("sub"))
        assert (await lines.ask(modern_tool("echo", 2)))["id"] == 2


async def test_a_question_is_asked_and_answered_while_other_requests_run() -> None:
    async with served(WireHub()) as lines:
        await lines.ask(initialize())
        question = await lines.ask(tool("ask", 1))
        assert question["method"] == "elicitation/create"
        assert (await lines.ask(tool("echo", 2)))["id"] == 2
        reply = await lines.ask({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "cancel"}})
        assert "cancel" in reply["result"]["content"][0]["text"]


async def test_the_modern_era_has_no_questions() -> None:
    async with served(WireHub()) as lines:
        assert (await lines.ask(modern_tool("ask")))["error"]["code"] == -32010


async def test_improper_lines_are_answered_and_the_next_one_is_served() -> None:
    unsupported = modern("x", meta=MODERN_META | {"io.modelcontextprotocol/protocolVersion": "2031-01-01"})
    cases: list[tuple[Any, Any, int]] = [
        (b"{", None, -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"n":Infinity}}', None, -32700),
        (b'"\xff"', None, -32700),
        (b"[" * 70 + b"]" * 70, None, -32600),
        (b"5", None, -32600),
        (b"[]", None, -32600),
        ({"jsonrpc": "2.0", "id": None, "method": "x"}, None, -32600),
        (request("tools/list"), 1, -32602),
        (modern("tools/list", meta={"io.modelcontextprotocol/protocolVersion": "2026-07-28"}), 1, -32602),
        (unsupported, 1, -32022),
        (modern("initialize"), 1, -32601),
        (b"x" * 5000, None, -32600),
        (b"\r", ..., 0),
    ]
    async with served(WireHub(), max_body_bytes=4096) as lines:
        for line, request_id, code in cases:
            await lines.send(line)
            if request_id is not ...:
                reply = await lines.receive()
                assert (reply["id"], reply["error"]["code"]) == (request_id, code), line
        assert (await lines.ask(modern_tool("echo", 9)))["id"] == 9


async def test_a_line_that_never_ends_costs_its_sender_one_error_and_no_memory() -> None:
    async with served(WireHub(), max_body_bytes=1000) as lines:
        for _ in range(50):
            await lines.stream.send(b"a" * 5000)
        reply = await lines.receive()
        assert "longer than 1000 bytes" in reply["error"]["message"]
        await lines.send(b"")
        assert (await lines.ask(modern_tool("echo", 2)))["id"] == 2


async def test_a_second_initialize_and_an_id_in_use_are_refused() -> None:
    async with served(WireHub()) as lines:
        await lines.ask(initialize(request_id=1))
        assert (await lines.ask(initialize(request_id=2)))["error"]["code"] == -32600
        await lines.send(tool("slow", 3))
        assert (await lines.ask(modern_tool("echo", 3)))["error"]["code"] == -32600


async def test_batches_are_served_in_the_revision_that_has_them() -> None:
    batch = [tool("echo", 1), tool("bug", 2), {"jsonrpc": "2.0", "method": "notifications/initialized"}]
    async with served(WireHub()) as lines:
        await lines.ask(initialize("2025-03-26"))
        replies = await lines.ask(batch)
        assert {reply["id"]: "result" in reply for reply in replies} == {1: True, 2: False}
        assert (await lines.ask([initialize()]))["error"]["code"] == -32600
    async with served(WireHub()) as lines:
        await lines.ask(initialize("2025-06-18"))
        assert (await lines.ask(batch))["error"]["code"] == -32600


async def test_the_end_of_stdin_cancels_what_is_left() -> None:
    hub = WireHub()
    async with served(hub) as lines:
        await lines.send(*[modern_tool("slow", number, steps=1) for number in range(20)])
        await until(lambda: hub.started.get("slow") == 20)
    assert hub.cancelled == {"slow": 20}


async def test_a_thousand_cancelled_calls_leave_no_task_behind() -> None:
    hub = WireHub()
    async with served(hub) as lines:
        await lines.ask(modern_tool("echo", "warm"))
        before = len(asyncio.all_tasks())
        for start in range(0, 1000, 100):
            numbers = range(start, start + 100)
            await lines.send(*[modern_tool("slow", number) for number in numbers])
            await lines.send(*[cancel(number) for number in numbers])
        assert (await lines.ask(modern_tool("echo", "last")))["id"] == "last"
        await until(lambda: hub.started.get("slow", 0) == hub.cancelled.get("slow", 0))
        await until(lambda: len(asyncio.all_tasks()) <= before)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
MESSAGE_LIKE = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | JSON,
        "id": st.integers(0, 9) | JSON,
        "method": st.sampled_from(["initialize", "ping", "tools/call", "notifications/cancelled"]) | JSON,
        "params": st.fixed_dictionaries({}, optional={"_meta": st.just(MODERN_META) | JSON, "name": JSON}) | JSON,
        "result": JSON,
        "error": JSON,
    },
)


@hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.binary(max_size=60) | MESSAGE_LIKE.map(lambda value: json.dumps(value).encode()), max_size=8))
async def test_no_input_ends_serving(lines_sent: list[bytes]) -> None:
    hub = WireHub()
    async with served(hub, max_body_bytes=2000) as lines:
        await lines.send(*lines_sent)
        await lines.send(modern_tool("echo", "the end"))
        while (await lines.receive()).get("id") != "the end":
            pass
