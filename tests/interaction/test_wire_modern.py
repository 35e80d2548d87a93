"""2026-07-28 over real HTTP: what is answered, what is refused, and how calls end."""

import asyncio
import json
from typing import Any

import anyio
import pytest
from interaction.wire_support import (
    MODERN_META,
    WireHub,
    call_once,
    connected,
    modern,
    modern_headers,
    parse_events,
    serving,
    settings,
    until,
)
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp_types import TextContent

pytestmark = pytest.mark.anyio

ECHO = modern("tools/call", {"name": "echo", "arguments": {"text": "hi"}})


async def test_the_sdk_client_lists_and_calls_in_the_modern_era() -> None:
    async with (
        serving(WireHub()) as (_, port),
        Client(f"http://127.0.0.1:{port}/mcp", mode="2026-07-28") as client,
    ):
        assert client.protocol_version == "2026-07-28"
        assert [tool.name for tool in (await client.list_tools()).tools] == ["echo", "slow", "ask"]
        result = await client.call_tool("echo", {"text": "grüße"})
        assert isinstance(result.content[0], TextContent)
        assert result.content[0].text == "grüße"


async def test_the_sdk_client_hears_progress_and_its_abandoned_call_is_cancelled() -> None:
    hub = WireHub()
    heard: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)

    async with serving(hub) as (app, port), Client(f"http://127.0.0.1:{port}/mcp", mode="2026-07-28") as client:
        async with anyio.create_task_group() as tasks:

            async def call() -> None:
                await client.call_tool("slow", {"steps": 3}, progress_callback=on_progress)

            tasks.start_soon(call)
            await until(lambda: heard == [0, 1, 2])
            tasks.cancel_scope.cancel()
        await until(lambda: hub.cancelled.get("slow") == 1)
        await until(lambda: app.in_flight == 0)


async def test_an_answer_without_notifications_is_plain_json() -> None:
    async with serving(WireHub()) as (_, port):
        reply = await call_once(port, ECHO, modern_headers(ECHO))
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert reply.json["id"] == 1
    assert reply.json["result"]["content"][0]["text"] == "hi"
    assert "mcp-session-id" not in reply.headers


async def test_notifications_turn_the_answer_into_a_stream_in_order() -> None:
    message = modern("tools/call", {"name": "flood", "arguments": {"count": 50}}, request_id="a")
    async with serving(WireHub()) as (_, port):
        reply = await call_once(port, message, modern_headers(message))
    assert reply.headers["content-type"] == "text/event-stream"
    assert reply.headers["x-accel-buffering"] == "no"
    events = [event.json for event in parse_events(reply.body)]
    assert [event["params"]["progress"] for event in events[:-1]] == list(range(50))
    assert events[-1]["id"] == "a"
    assert all(event.id is None for event in parse_events(reply.body))


async def test_a_subscription_is_a_stream_that_ends_with_a_result_when_the_hub_drains() -> None:
    hub = WireHub()
    message = modern("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, request_id=7)
    async with serving(hub) as (app, port), connected(port) as connection:
        await connection.send("POST", "/mcp", modern_headers(message), json.dumps(message).encode())
        status, headers = await connection.head()
        assert (status, headers["content-type"]) == (200, "text/event-stream")
        first, second = await connection.events(2)
        assert first.json["method"] == "notifications/subscriptions/acknowledged"
        assert second.json["method"] == "notifications/tools/list_changed"
        await app.drain()
        (last,) = await connection.events(1)
        assert last.json["id"] == 7
        refused = await call_once(port, ECHO, modern_headers(ECHO))
        assert (refused.status, refused.headers["retry-after"]) == (503, "5")


async def test_closing_the_connection_cancels_a_call_that_answered_nothing_yet() -> None:
    hub = WireHub()
    message = modern("tools/call", {"name": "slow"})
    async with serving(hub) as (app, port):
        async with connected(port) as connection:
            await connection.send("POST", "/mcp", modern_headers(message), json.dumps(message).encode())
            await until(lambda: hub.started.get("slow") == 1)
        await until(lambda: hub.cancelled.get("slow") == 1)
        await until(lambda: app.in_flight == 0)


async def test_a_thousand_cancelled_calls_leave_no_task_behind() -> None:
    hub = WireHub()
    message = modern("tools/call", {"name": "slow", "arguments": {"steps": 1}})
    body = json.dumps(message).encode()
    async with serving(hub) as (app, port):
        before = len(asyncio.all_tasks())

        async def cancel_some() -> None:
            for _ in range(50):
                async with connected(port) as connection:
                    await connection.send("POST", "/mcp", modern_headers(message), body)
                    await connection.head()

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(cancel_some)
        await until(lambda: hub.cancelled.get("slow", 0) == hub.started["slow"] == 1000)
        await until(lambda: app.in_flight == 0 and len(asyncio.all_tasks()) <= before)


async def test_shutdown_cancels_calls_that_outlast_its_patience_and_says_so() -> None:
    hub = WireHub()
    message = modern("tools/call", {"name": "slow"})
    async with serving(hub) as (app, port), connected(port) as connection:
        hub.gate = anyio.Event()  # the drain hook sets the first one; this call waits for another
        await connection.send("POST", "/mcp", modern_headers(message), json.dumps(message).encode())
        await until(lambda: hub.started.get("slow") == 1)
        await app.drain(0)
        reply = await connection.reply()
        assert (reply.status, reply.json["id"]) == (503, 1)
        assert "shutting down" in reply.message
        assert hub.cancelled["slow"] == 1


async def test_errors_take_the_status_of_their_code() -> None:
    expected = {"refused": 403, "limited": 429, "locked": 401, "unknown": 400, "bug": 200, "unwritable": 200}
    async with serving(WireHub()) as (_, port):
        replies = {}
        for name in expected:
            message = modern("tools/call", {"name": name}, request_id=name)
            replies[name] = await call_once(port, message, modern_headers(message))
        gone = modern("ping")
        assert (await call_once(port, gone, modern_headers(gone))).status == 404
        init = modern("initialize")
        assert (await call_once(port, init, modern_headers(init))).status == 404
        bad = await call_once(port, ECHO, modern_headers(ECHO, authorization="Bearer bad"))
    assert {name: reply.status for name, reply in replies.items()} == expected
    assert all(reply.json["id"] == name for name, reply in replies.items())
    assert replies["limited"].headers["retry-after"] == "3"
    assert replies["locked"].headers["www-authenticate"] == "Bearer"
    assert bad.headers["www-authenticate"] == 'Bearer error="invalid_token"'


async def test_a_bug_is_answered_with_the_call_id_and_nothing_of_its_text() -> None:
    hub = WireHub()
    message = modern("tools/call", {"name": "bug"})
    async with serving(hub) as (_, port):
        reply = await call_once(port, message, modern_headers(message))
    assert reply.code == -32603
    assert hub.calls[0].id in reply.message
    assert b"secret" not in reply.body


async def test_results_that_the_fast_writer_refuses_are_written_all_the_same() -> None:
    message = modern("tools/call", {"name": "huge"})
    async with serving(WireHub()) as (_, port):
        reply = await call_once(port, message, modern_headers(message))
    assert reply.json["result"]["structuredContent"] == {"n": 2**80}


REJECTED: list[tuple[str, Any, dict[str, str | None], int, int, str]] = [
    ("no _meta", modern("tools/list", meta=None), {}, 400, -32602, "clientCapabilities"),
    ("empty _meta", modern("tools/list", meta={}), {}, 400, -32602, "protocolVersion"),
    ("_meta no object", modern("tools/list", meta=3), {}, 400, -32602, "_meta"),
    (
        "capabilities no object",
        modern("tools/list", meta=MODERN_META | {"io.modelcontextprotocol/clientCapabilities": []}),
        {},
        400,
        -32602,
        "must be an object",
    ),
    ("no version header", ECHO, {"mcp_protocol_version": None}, 400, -32020, "MCP-Protocol-Version"),
    ("handshake version header", ECHO, {"mcp_protocol_version": "2025-11-25"}, 400, -32020, "2025-11-25"),
    ("other version header", ECHO, {"mcp_protocol_version": "2099-01-01"}, 400, -32020, "2099-01-01"),
    ("no method header", ECHO, {"mcp_method": None}, 400, -32020, "Mcp-Method"),
    ("method in capitals", ECHO, {"mcp_method": "TOOLS/CALL"}, 400, -32020, "Mcp-Method"),
    ("no name header", ECHO, {"mcp_name": None}, 400, -32020, "Mcp-Name"),
    ("other name", ECHO, {"mcp_name": "slow"}, 400, -32020, "Mcp-Name"),
    ("broken base64 name", ECHO, {"mcp_name": "=?base64?ZWNobw?="}, 400, -32020, "Mcp-Name"),
    ("only JSON accepted", ECHO, {"accept": "application/json"}, 406, -32600, "text/event-stream"),
    ("nothing we have accepted", ECHO, {"accept": "text/html;q=1, */*;q=0"}, 406, -32600, "Accept"),
    ("not JSON", ECHO, {"content_type": "text/plain"}, 415, -32600, "Content-Type"),
    ("other charset", ECHO, {"content_type": "application/json; charset=latin-1"}, 415, -32600, "UTF-8"),
    ("foreign host", ECHO, {"host": "evil.example.com"}, 421, -32012, "allowed_hosts"),
    ("foreign origin", ECHO, {"origin": "http://evil.example.com"}, 403, -32012, "allowed_origins"),
    ("opaque origin", ECHO, {"origin": "null"}, 403, -32012, "allowed_origins"),
    ("a response", {"jsonrpc": "2.0", "id": 1, "result": {}, "method_": 0}, {"mcp_method": None}, 400, -32600, ""),
    ("a batch", [ECHO], {}, 400, -32600, "one JSON-RPC object"),
    ("id null", ECHO | {"id": None}, {}, 400, -32600, "id must"),
    ("id with a fraction", ECHO | {"id": 1.5}, {}, 400, -32600, "id must"),
    ("wrong jsonrpc", ECHO | {"jsonrpc": "1.0"}, {}, 400, -32600, "jsonrpc"),
    ("method no string", ECHO | {"method": 5}, {}, 400, -32600, "method"),
    ("params no object", ECHO | {"params": []}, {}, 400, -32602, "params"),
    ("cut short", b'{"jsonrpc": "2.0"', {}, 400, -32700, "JSON"),
    ("nothing", b"", {}, 400, -32700, "JSON"),
    ("NaN", b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"n":NaN}}', {}, 400, -32700, "JSON"),
    ("invalid UTF-8", b'{"jsonrpc":"2.0","id":"\xff"}', {}, 400, -32700, "UTF-8"),
    ("lone surrogate", b'{"jsonrpc":"2.0","id":"\\ud800"}', {}, 400, -32700, "surrogate"),
    ("a long integer", b'{"jsonrpc":"2.0","id":18446744073709551616}', {}, 400, -32700, "64 bits"),
    ("too deep", b'{"jsonrpc":"2.0","a":' + b"[" * 70 + b"]" * 70 + b"}", {}, 400, -32600, "64 levels"),
]


@pytest.mark.parametrize(
    ("case", "message", "changes", "status", "code", "says"), REJECTED, ids=[c[0] for c in REJECTED]
)
async def test_an_improper_request_is_refused_saying_why(
    case: str, message: Any, changes: dict[str, str | None], status: int, code: int, says: str
) -> None:
    hub = WireHub()
    named = message if isinstance(message, dict) and isinstance(message.get("params"), dict) else ECHO
    async with serving(hub) as (_, port):
        reply = await call_once(port, message, modern_headers(named, **changes))
    assert (reply.status, reply.code) == (status, code), reply
    assert says in reply.message
    assert hub.calls == []


async def test_an_unknown_version_is_answered_with_the_versions_served() -> None:
    meta = MODERN_META | {"io.modelcontextprotocol/protocolVersion": "v999"}
    message = modern("server/discover", meta=meta, request_id=301)
    async with serving(WireHub()) as (_, port):
        reply = await call_once(port, message, modern_headers(message, mcp_protocol_version="v999"))
    assert (reply.status, reply.code, reply.json["id"]) == (400, -32022, 301)
    assert reply.json["error"]["data"] == {
        "supported": ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"],
        "requested": "v999",
    }


async def test_header_names_in_any_case_and_padded_or_encoded_values_are_fine() -> None:
    for headers in (
        {"Mcp-Method": "tools/call", "MCP-NAME": "  echo  "},
        {"mcp-method": "tools/call", "mcp-name": "=?base64?ZWNobw==?="},
    ):
        base = modern_headers(ECHO, mcp_method=None, mcp_name=None)
        async with serving(WireHub()) as (_, port):
            assert (await call_once(port, ECHO, base | headers)).status == 200


async def test_a_header_that_decides_something_must_not_come_twice() -> None:
    async with serving(WireHub()) as (_, port):
        for name, value, code in (("mcp-method", "tools/call", -32020), ("authorization", "Bearer x", -32600)):
            pairs = [*modern_headers(ECHO, authorization="Bearer x").items(), (name, value)]
            reply = await call_once(port, ECHO, pairs)
            assert (reply.status, reply.code) == (400, code)


async def test_a_notification_is_accepted_and_a_response_is_not() -> None:
    async with serving(WireHub()) as (_, port):
        note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
        assert (await call_once(port, note, modern_headers(note))).status == 202
        old = await call_once(port, note, modern_headers(note, mcp_protocol_version="2031-01-01"))
        assert (old.status, old.code) == (400, -32022)
        response = {"jsonrpc": "2.0", "id": 1, "result": {}}
        reply = await call_once(port, response, modern_headers(ECHO))
        assert (reply.status, reply.code) == (400, -32600)


async def test_param_headers_reach_the_call() -> None:
    hub = WireHub()
    async with serving(hub) as (_, port):
        await call_once(port, ECHO, modern_headers(ECHO) | {"Mcp-Param-Region": " eu ", "X-Other": "1"})
    assert hub.calls[0].headers == {"mcp-param-region": "eu"}


async def test_a_bearer_token_and_forwarding_show_in_the_credentials() -> None:
    hub = WireHub()
    async with serving(hub) as (_, port):
        await call_once(port, ECHO, modern_headers(ECHO))
        await call_once(port, ECHO, modern_headers(ECHO, authorization="bearer  k1 "))
        await call_once(port, ECHO, modern_headers(ECHO, x_forwarded_for="8.8.8.8"))
    seen = [(call.credentials.bearer, call.credentials.loopback) for call in hub.calls]
    assert seen == [(None, True), ("k1", True), (None, False)]


async def test_pages_are_served_and_only_probes_may_use_a_foreign_host() -> None:
    async with serving(WireHub()) as (_, port), connected(port) as connection:
        for method, path, host, status in (
            ("GET", "/healthz", "10.0.0.7", 200),
            ("GET", "/metrics", "localhost", 200),
            ("HEAD", "/metrics", "localhost", 200),
            ("GET", "/metrics", "10.0.0.7", 421),
            ("POST", "/metrics", "localhost", 405),
            ("GET", "/nowhere", "localhost", 404),
            ("PUT", "/mcp", "localhost", 405),
        ):
            await connection.send(method, path, {"host": host})
            got, headers = await connection.head()
            if method != "HEAD":
                await connection._exactly(int(headers["content-length"]))
            assert got == status, (method, path)


async def test_get_and_delete_belong_to_the_handshake_era() -> None:
    async with serving(WireHub()) as (_, port), connected(port) as connection:
        for method in ("GET", "DELETE"):
            await connection.send(method, "/mcp", {"mcp-protocol-version": "2026-07-28"})
            reply = await connection.reply()
            assert (reply.status, reply.headers["allow"]) == (405, "POST")


async def test_only_named_origins_may_read_answers_in_a_browser() -> None:
    chosen = settings(allowed_origins=("https://app.example.com",))
    async with serving(WireHub(), chosen) as (_, port), connected(port) as connection:
        asked = {"access-control-request-method": "POST", "access-control-request-headers": "mcp-method"}
        await connection.send("OPTIONS", "/mcp", asked | {"origin": "https://app.example.com"})
        preflight = await connection.head()
        assert preflight[0] == 204
        assert preflight[1]["access-control-allow-origin"] == "https://app.example.com"
        assert preflight[1]["access-control-allow-headers"] == "*, authorization"
        local = await call_once(port, ECHO, modern_headers(ECHO, origin="http://localhost:5173"))
        assert local.status == 200
        assert "access-control-allow-origin" not in local.headers


async def test_the_sdk_reports_a_refusal_as_the_error_it_is() -> None:
    async with (
        serving(WireHub()) as (_, port),
        Client(f"http://127.0.0.1:{port}/mcp", mode="2026-07-28") as client,
    ):
        with pytest.raises(MCPError, match="Not for you"):
            await client.call_tool("refused", {})
