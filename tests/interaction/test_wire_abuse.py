"""What hostile clients do to a listening hub: too much, too little, too slow, and bytes at random."""

import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from interaction.wire_support import (
    MODERN_META,
    WireHub,
    call_once,
    connected,
    handshake_headers,
    modern,
    modern_headers,
    open_session,
    serving,
    settings,
    until,
)

from quantum_suite.core.errors import ConfigurationError
from quantum_suite.hub.settings import HubSettings
from quantum_suite.hub.wire import event_stream, protocol
from quantum_suite.hub.wire.asgi import HubApp
from quantum_suite.hub.wire.server import run_http

pytestmark = pytest.mark.anyio

ECHO = modern("tools/call", {"name": "echo"})


async def test_a_body_said_to_be_too_large_is_refused_before_it_is_sent() -> None:
    async with serving(WireHub(), settings(max_body_bytes=1000)) as (_, port), connected(port) as connection:
        await connection.send("POST", "/mcp", modern_headers(ECHO) | {"content-length": "1001"})
        reply = await connection.reply()
        assert (reply.status, reply.headers["connection"]) == (413, "close")
        assert "1000 bytes" in reply.message


async def test_a_body_that_grows_too_large_is_refused_while_it_comes() -> None:
    async with serving(WireHub(), settings(max_body_bytes=1000)) as (_, port), connected(port) as connection:
        await connection.send("POST", "/mcp", modern_headers(ECHO) | {"transfer-encoding": "chunked"})
        await connection.stream.send(b"258\r\n" + b"x" * 600 + b"\r\n")
        await connection.stream.send(b"258\r\n" + b"x" * 600 + b"\r\n")
        assert (await connection.reply()).status == 413


async def test_headers_too_large_together_are_refused() -> None:
    async with serving(WireHub(), settings(max_header_bytes=4096)) as (_, port):
        reply = await call_once(port, ECHO, modern_headers(ECHO) | {f"x-{n}": "v" * 100 for n in range(50)})
        assert (reply.status, reply.headers["connection"]) == (431, "close")


async def test_a_header_that_never_ends_is_cut_off() -> None:
    async with serving(WireHub(), settings(max_header_bytes=4096)) as (_, port), connected(port) as connection:
        await connection.stream.send(b"POST /mcp HTTP/1.1\r\nx: ")
        with pytest.raises((anyio.BrokenResourceError, anyio.EndOfStream)):  # noqa: PT012  # whichever side notices first
            with anyio.fail_after(25):
                for _ in range(10_000):
                    await connection.stream.send(b"a" * 4096)
                    await anyio.sleep(0)


@pytest.mark.parametrize("sent", [b"", b"POST /mcp HTTP/1.1\r\nhost:", None])
async def test_a_request_that_is_never_finished_is_dropped(
    sent: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.1)
    hub = WireHub()
    async with serving(hub) as (_, port), connected(port) as connection:
        if sent is None:
            await connection.send("POST", "/mcp", modern_headers(ECHO) | {"content-length": "100"})
            await connection.stream.send(b'{"jsonrpc"')
        elif sent:
            await connection.stream.send(sent)
        with anyio.fail_after(25), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await connection.stream.receive()
        assert hub.calls == []


async def test_a_complete_request_may_take_longer_than_an_incomplete_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.1)
    hub = WireHub()
    message = modern("tools/call", {"name": "slow"})
    async with serving(hub) as (_, port), connected(port) as idle, connected(port) as connection:
        await connection.send("POST", "/mcp", modern_headers(message), json.dumps(message).encode())
        await until(lambda: hub.started.get("slow") == 1)
        with anyio.fail_after(25), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await idle.stream.receive()
        hub.gate.set()
        assert (await connection.reply()).status == 200


async def test_a_silent_call_becomes_a_stream_that_is_kept_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "KEEPALIVE_SECONDS", 0.05)
    monkeypatch.setattr("quantum_suite.hub.wire.modern.KEEPALIVE_SECONDS", 0.05)
    hub = WireHub()
    message = modern("tools/call", {"name": "slow"})
    async with serving(hub) as (_, port), connected(port) as connection:
        await connection.send("POST", "/mcp", modern_headers(message), json.dumps(message).encode())
        assert (await connection.head())[1]["content-type"] == "text/event-stream"
        assert await connection.chunk() == b": ping\n\n"
        hub.gate.set()
        (last,) = await connection.events(1)
        assert last.json["id"] == 1


@pytest.mark.parametrize("era", ["modern", "handshake"])
async def test_a_client_that_reads_nothing_loses_its_stream_and_its_call(
    era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "STALL_SECONDS", 0.1)
    monkeypatch.setattr("quantum_suite.hub.wire.sessions.RESUME_SECONDS", 0.1)
    hub = WireHub()
    params = {"name": "flood", "arguments": {"count": 100_000, "size": 10_000}}
    async with serving(hub) as (app, port):
        if era == "modern":
            message = modern("tools/call", params)
            headers = modern_headers(message)
        else:
            message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
            headers = handshake_headers(await open_session(port))
        async with connected(port) as connection:
            await connection.send("POST", "/mcp", headers, json.dumps(message).encode())
            await until(lambda: app.in_flight == 1)
            await until(lambda: app.in_flight == 0)
            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):  # noqa: PT012  # drain what was buffered
                while True:
                    await connection.stream.receive()


async def test_a_listener_that_reads_nothing_delays_nobody_and_is_given_up() -> None:
    hub = WireHub()
    async with serving(hub) as (app, port):
        headers = handshake_headers(await open_session(port))
        async with connected(port) as connection:
            await connection.send("GET", "/mcp", headers)
            await connection.head()
            with anyio.fail_after(25):
                for _ in range(2000):
                    await hub.opened[0].peer.notify("notifications/message", {"data": "x" * 10_000})
                    await anyio.lowlevel.checkpoint()
            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):  # noqa: PT012  # drain what was buffered
                while True:
                    await connection.stream.receive()
        async with connected(port) as connection:
            await connection.send("GET", "/mcp", headers)
            assert (await connection.head())[0] == 200
        assert app.session_count == 1


async def test_a_fast_flood_reaches_a_client_that_reads() -> None:
    message = modern("tools/call", {"name": "flood", "arguments": {"count": 3000, "size": 1000}})
    async with serving(WireHub()) as (_, port):
        reply = await call_once(port, message, modern_headers(message))
    assert reply.body.count(b"notifications/progress") == 3000


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with serving(WireHub()) as (_, port), connected(port) as connection:
        for number in range(20):
            message = modern("tools/call", {"name": "echo"}, request_id=number)
            await connection.send("POST", "/mcp", modern_headers(message), json.dumps(message).encode())
        assert [(await connection.reply()).json["id"] for _ in range(20)] == list(range(20))


async def test_a_port_in_use_is_a_configuration_error_naming_the_setting() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        chosen = HubSettings(port=taken.getsockname()[1], data_dir=Path("unused"))
        with pytest.raises(ConfigurationError, match="QUANTUM_PORT"):
            await run_http(HubApp(WireHub(), chosen), chosen)


async def test_a_host_of_another_machine_is_a_configuration_error_naming_the_setting() -> None:
    chosen = HubSettings(host="192.0.2.1", port=0, data_dir=Path("unused"))
    with pytest.raises(ConfigurationError, match="QUANTUM_HOST"):
        await run_http(HubApp(WireHub(), chosen), chosen)


SERVER = """
import anyio
from interaction.wire_support import WireHub, settings
from quantum_suite.hub.wire.asgi import HubApp
from quantum_suite.hub.wire.server import run_http

async def main():
    app = HubApp(WireHub(), settings())
    await run_http(app, settings(), on_listening=lambda host, port: print(port, flush=True))

anyio.run(main, backend_options={"use_uvloop": True})
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_the_server_cleanly_once_its_calls_are_done(number: signal.Signals) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    async with await anyio.open_process([sys.executable, "-c", SERVER], env=environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        with anyio.fail_after(50):
            port = int(await process.stdout.receive())
            message = modern("tools/call", {"name": "slow", "arguments": {"steps": 1}})
            async with connected(port) as connection:
                await connection.send("POST", "/mcp", modern_headers(message), json.dumps(message).encode())
                await connection.head()
                process.send_signal(number)
                await refused(port)
                process.send_signal(number)
                events = [event.json async for event in rest(connection)]
            printed = b"".join([chunk async for chunk in process.stderr])
            assert await process.wait() == 0
    assert events[-1]["error"]["code"] == -32000
    assert b"Traceback" not in printed


async def refused(port: int) -> None:
    """Wait until new calls are refused."""
    while (await call_once(port, ECHO, modern_headers(ECHO))).status != 503:
        await anyio.sleep(0.01)


async def rest(connection: Any) -> Any:
    while True:
        try:
            (event,) = await connection.events(1)
        except AssertionError:
            return
        yield event


HEADER_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
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
        "method": st.sampled_from(["initialize", "ping", "tools/call", "tools/list", "notifications/cancelled"])
        | JSON,
        "params": st.fixed_dictionaries({}, optional={"_meta": st.just(MODERN_META) | JSON, "name": JSON}) | JSON,
        "result": JSON,
        "error": JSON,
    },
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "accept": st.just("*/*") | HEADER_TEXT,
        "content-type": st.just("application/json") | HEADER_TEXT,
        "mcp-protocol-version": st.sampled_from(["2026-07-28", "2025-11-25", "2025-03-26", "x"]) | HEADER_TEXT,
        "mcp-method": st.sampled_from(["initialize", "ping", "tools/call"]) | HEADER_TEXT,
        "mcp-name": HEADER_TEXT,
        "mcp-session-id": st.just("SESSION") | HEADER_TEXT,
        "last-event-id": st.just("0_0") | HEADER_TEXT,
        "authorization": HEADER_TEXT,
        "origin": HEADER_TEXT,
    },
)


async def test_no_request_is_answered_with_500_or_ends_the_server() -> None:
    async with serving(WireHub(), settings(max_body_bytes=2000)) as (_, port):
        session_id = await open_session(port, "2025-03-26")
        requests: list[tuple[str, dict[str, str], bytes]] = []

        @hypothesis_settings(
            max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), database=None
        )
        @given(
            st.sampled_from(["POST", "POST", "POST", "DELETE", "OPTIONS"]),
            HEADERS,
            st.binary(max_size=60) | (MESSAGE_LIKE | st.lists(MESSAGE_LIKE)).map(lambda v: json.dumps(v).encode()),
        )
        def collect(method: str, headers: dict[str, str], body: bytes) -> None:
            requests.append((method, headers, body))

        collect()
        for method, headers, body in requests:
            if headers.get("mcp-session-id") == "SESSION":
                headers["mcp-session-id"] = session_id
                method = "POST"
            async with connected(port) as connection:
                await connection.send(method, "/mcp", headers, body)
                status, _ = await connection.head()
            assert status < 500, (method, headers, body)
        assert (await call_once(port, ECHO, modern_headers(ECHO))).status == 200


async def test_bytes_at_random_do_not_end_the_server() -> None:
    async with serving(WireHub()) as (_, port):
        samples: list[bytes] = []

        @hypothesis_settings(
            max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None
        )
        @given(st.binary(min_size=1, max_size=200))
        def collect(data: bytes) -> None:
            samples.append(data)

        collect()
        for data in samples:
            async with connected(port) as connection:
                await connection.stream.send(b"POST /mcp HTTP/1.1\r\n" * (len(data) % 2) + data + b"\r\n\r\n")
        assert (await call_once(port, ECHO, modern_headers(ECHO))).status == 200
