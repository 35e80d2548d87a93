"""The handshake revisions over real HTTP: sessions, streams both ways, resumption, batches."""

import asyncio
import json
import time
from typing import Any

import anyio
import mcp_types as types
import pytest
from interaction.wire_support import (
    MODERN_META,
    WireHub,
    call_once,
    connected,
    handshake_headers,
    initialize,
    modern,
    modern_headers,
    open_session,
    parse_events,
    serving,
    settings,
    until,
)
from mcp.client import Client
from mcp.client.context import ClientRequestContext

from quantum_suite.hub.wire import sessions

pytestmark = pytest.mark.anyio


def request(method: str, params: Any = None, request_id: Any = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params or {}}


def tool(name: str, request_id: Any = 1, **arguments: Any) -> dict[str, Any]:
    return request("tools/call", {"name": name, "arguments": arguments}, request_id)


def note(method: str, params: Any = None) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method, "params": params or {}}


async def test_the_sdk_client_initialises_calls_hears_progress_and_ends_its_session() -> None:
    hub = WireHub()
    heard: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)

    async with serving(hub) as (app, port):
        async with Client(f"http://127.0.0.1:{port}/mcp", mode="legacy") as client:
            assert client.protocol_version == "2025-11-25"
            assert len((await client.list_tools()).tools) == 3
            await client.call_tool("flood", {"count": 3}, progress_callback=on_progress)
            assert heard == [0, 1, 2]
            assert app.session_count == 1
        await until(lambda: len(hub.closed) == 1)
        assert hub.opened == hub.closed
        assert hub.opened[0].initialized
        assert app.session_count == 0


async def test_the_sdk_client_answers_a_question_asked_in_the_middle_of_its_call() -> None:
    async def answer(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
        return types.ElicitResult(action="accept", content={"name": "Ada"})

    async with (
        serving(WireHub()) as (_, port),
        Client(f"http://127.0.0.1:{port}/mcp", mode="legacy", elicitation_callback=answer) as client,
    ):
        result = await client.call_tool("ask", {})
    content = result.content[0]
    assert isinstance(content, types.TextContent)
    assert json.loads(content.text) == {"action": "accept", "content": {"name": "Ada"}}


@pytest.mark.parametrize(
    ("asked", "got"),
    [
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2024-11-05", "2025-11-25"),
        (None, "2025-11-25"),
    ],
)
async def test_initialize_opens_a_session_at_the_version_the_hub_chose(asked: str | None, got: str) -> None:
    hub = WireHub()
    message = initialize("x")
    message["params"]["protocolVersion"] = asked
    async with serving(hub) as (_, port):
        reply = await call_once(port, message, handshake_headers())
        session_id = reply.headers["mcp-session-id"]
        assert reply.json["result"]["protocolVersion"] == hub.opened[0].protocol_version == got
        assert hub.opened[0].capabilities == {"elicitation": {}}
        assert len(session_id) >= 32
        pong = await call_once(port, request("ping"), handshake_headers(session_id))
        assert pong.json == {"jsonrpc": "2.0", "id": 1, "result": {}}


async def test_session_ids_that_are_missing_unknown_ended_or_foreign_are_refused() -> None:
    async with serving(WireHub()) as (_, port):
        session_id = await open_session(port, authorization="Bearer ada")
        mine = handshake_headers(session_id, authorization="Bearer ada")
        others = handshake_headers(session_id, authorization="Bearer bob")
        assert (await call_once(port, request("ping"), handshake_headers())).status == 400
        assert (await call_once(port, request("ping"), handshake_headers("nope"))).status == 404
        for message in (
            request("ping"),
            note("notifications/initialized"),
            {"jsonrpc": "2.0", "id": 1, "result": {}},
        ):
            reply = await call_once(port, message, others)
            assert (reply.status, reply.code) == (404, -32015), message
        async with connected(port) as connection:
            for method in ("GET", "DELETE"):
                await connection.send(method, "/mcp", others)
                assert (await connection.reply()).status == 404
            await connection.send("DELETE", "/mcp", mine)
            assert (await connection.head())[0] == 204
        assert (await call_once(port, request("ping"), mine)).status == 404


async def test_errors_of_the_hub_are_answered_with_200_so_that_older_clients_read_them() -> None:
    async with serving(WireHub()) as (_, port):
        headers = handshake_headers(await open_session(port))
        for message, status, code in (
            (request("no/such"), 200, -32601),
            (tool("refused"), 200, -32012),
            (tool("limited"), 200, -32014),
            (tool("bug"), 200, -32603),
            (tool("locked"), 401, -32013),
        ):
            reply = await call_once(port, message, headers)
            assert (reply.status, reply.code) == (status, code)


async def test_the_version_header_must_name_a_handshake_revision() -> None:
    async with serving(WireHub()) as (_, port):
        session_id = await open_session(port)
        for version in ("2025-06-18", "2025-11-25"):
            headers = handshake_headers(session_id, mcp_protocol_version=version)
            assert (await call_once(port, request("ping"), headers)).status == 200
        headers = handshake_headers(session_id, mcp_protocol_version="1999-01-01")
        assert (await call_once(port, request("ping"), headers)).status == 400
        async with connected(port) as connection:
            await connection.send("GET", "/mcp", handshake_headers(session_id, mcp_protocol_version="2026-07-28"))
            assert (await connection.reply()).status == 405


async def test_initialize_on_an_open_session_is_refused_and_modern_requests_need_none() -> None:
    async with serving(WireHub()) as (_, port):
        session_id = await open_session(port)
        assert (await call_once(port, initialize(), handshake_headers(session_id))).status == 400
        message = modern("tools/call", {"name": "echo"}, meta=MODERN_META)
        headers = modern_headers(message) | {"mcp-session-id": "whatever"}
        assert (await call_once(port, message, headers)).status == 200


async def test_sessions_are_limited_and_idle_ones_end() -> None:
    hub = WireHub()
    async with serving(hub, settings(max_sessions=2, session_idle_seconds=60)) as (app, port):
        first = await open_session(port)
        await open_session(port)
        full = await call_once(port, initialize(), handshake_headers())
        assert (full.status, full.headers["retry-after"]) == (503, "30")
        assert "MAX_SESSIONS" in full.message
        async with connected(port) as stream:
            await stream.send("GET", "/mcp", handshake_headers(first))
            await stream.head()
            await app.sweep(time.monotonic() + 61)
            assert app.session_count == 1
        await until(lambda: (app.session_count, len(hub.closed)) == (1, 1))
        await open_session(port)


async def test_a_stream_begins_with_a_priming_event_where_the_revision_has_it() -> None:
    async with serving(WireHub()) as (_, port):
        for version, primed in (("2025-11-25", True), ("2025-06-18", False)):
            headers = handshake_headers(await open_session(port, version))
            events = parse_events((await call_once(port, tool("flood", count=2), headers)).body)
            assert (events[0].data == "", events[0].retry is not None) == (primed, primed)
            assert all(event.id for event in events)
            assert len({event.id for event in events}) == len(events) == 3 + primed


async def test_a_broken_stream_is_resumed_where_it_broke_and_ends_with_the_answer() -> None:
    hub = WireHub()
    async with serving(hub) as (_, port):
        headers = handshake_headers(await open_session(port))
        async with connected(port) as connection:
            await connection.send("POST", "/mcp", headers, json.dumps(tool("slow", steps=3)).encode())
            await connection.head()
            events = await connection.events(2)
        async with connected(port) as connection:
            await connection.send("GET", "/mcp", headers | {"last-event-id": events[1].id or ""})
            assert (await connection.head())[0] == 200
            missed = await connection.events(2)
            assert [event.json["params"]["progress"] for event in missed] == [1, 2]
            hub.gate.set()
            (last,) = await connection.events(1)
            assert last.json["result"]["content"][0]["text"] == "done"
            assert await connection.chunk() == b""
        assert hub.cancelled == {}


async def test_an_answer_given_while_nobody_listened_is_replayed_on_its_own_stream_only() -> None:
    hub = WireHub()
    async with serving(hub) as (_, port):
        headers = handshake_headers(await open_session(port))
        async with connected(port) as connection:
            await connection.send("POST", "/mcp", headers, json.dumps(tool("slow", steps=1)).encode())
            await connection.head()
            _, first = await connection.events(2)
        hub.gate.set()
        await until(lambda: hub.finished.get("slow") == 1)
        async with connected(port) as connection:
            await connection.send("GET", "/mcp", headers | {"last-event-id": first.id or ""})
            events = parse_events((await connection.reply()).body)
        assert [event.json["id"] for event in events] == [1]
        async with connected(port) as connection:
            await connection.send("GET", "/mcp", headers | {"last-event-id": "77_1"})
            reply = await connection.reply()
            assert (reply.status, reply.code) == (400, -32600)


async def test_a_broken_stream_that_nobody_resumes_ends_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "RESUME_SECONDS", 0.05)
    hub = WireHub()
    async with serving(hub) as (app, port):
        headers = handshake_headers(await open_session(port))
        async with connected(port) as connection:
            await connection.send("POST", "/mcp", headers, json.dumps(tool("slow", steps=1)).encode())
            await connection.head()
            (primer,) = await connection.events(1)
        await until(lambda: hub.cancelled.get("slow") == 1 and app.in_flight == 0)
        async with connected(port) as connection:
            await connection.send("GET", "/mcp", headers | {"last-event-id": primer.id or ""})
            last = parse_events((await connection.reply()).body)[-1].json
            assert "not taken up again in time" in last["error"]["message"]


async def test_a_connection_closed_before_any_event_ends_the_work_at_once() -> None:
    hub = WireHub()
    async with serving(hub) as (app, port):
        headers = handshake_headers(await open_session(port))
        async with connected(port) as connection:
            await connection.send("POST", "/mcp", headers, json.dumps(tool("slow")).encode())
            await until(lambda: hub.started.get("slow") == 1)
        await until(lambda: hub.cancelled.get("slow") == 1 and app.in_flight == 0)


@pytest.mark.parametrize("steps", [0, 2])
async def test_a_cancelled_request_stops_and_gets_no_response(steps: int) -> None:
    hub = WireHub()
    async with serving(hub) as (_, port), connected(port) as connection:
        headers = handshake_headers(await open_session(port))
        await connection.send("POST", "/mcp", headers, json.dumps(tool("slow", "r1", steps=steps)).encode())
        await until(lambda: hub.started.get("slow") == 1)
        for wrong in (None, {}, {"requestId": True}, {"requestId": "r2"}):
            sent = await call_once(port, note("notifications/cancelled", wrong), headers)
            assert sent.status == 202
        await call_once(port, note("notifications/cancelled", {"requestId": "r1"}), headers)
        reply = await connection.reply()
        assert reply.headers["content-type"] == "text/event-stream"
        messages = [event.json for event in parse_events(reply.body) if event.data]
        assert [message["method"] for message in messages] == ["notifications/progress"] * steps
        assert hub.cancelled == {"slow": 1}


async def test_another_session_cannot_cancel_and_a_used_id_is_refused() -> None:
    hub = WireHub()
    async with serving(hub) as (_, port), connected(port) as connection:
        mine, other = [handshake_headers(await open_session(port)) for _ in range(2)]
        await connection.send("POST", "/mcp", mine, json.dumps(tool("slow", 5)).encode())
        await until(lambda: hub.started.get("slow") == 1)
        await call_once(port, note("notifications/cancelled", {"requestId": 5}), other)
        again = await call_once(port, tool("echo", 5), mine)
        assert (again.status, again.code) == (400, -32600)
        hub.gate.set()
        assert (await connection.reply()).json["id"] == 5
        assert hub.cancelled == {}


async def test_standalone_messages_wait_for_the_get_stream_and_only_one_is_open() -> None:
    hub = WireHub()
    async with serving(hub) as (_, port), connected(port) as connection:
        headers = handshake_headers(await open_session(port))
        await hub.opened[0].peer.notify("notifications/tools/list_changed", {})
        await connection.send("GET", "/mcp", headers)
        await connection.head()
        primer, first = await connection.events(2)
        assert (primer.data, first.json["method"]) == ("", "notifications/tools/list_changed")
        async with connected(port) as second:
            await second.send("GET", "/mcp", headers)
            assert (await second.reply()).status == 409
        async with connected(port) as second:
            await second.send("GET", "/mcp", headers | {"last-event-id": primer.id or ""})
            await second.head()
            (again,) = await second.events(1)
            assert again.id == first.id
            assert await connection.chunk() == b""
            await hub.opened[0].peer.notify("notifications/prompts/list_changed", {})
            (new,) = await second.events(1)
            assert new.json["method"] == "notifications/prompts/list_changed"


async def test_a_question_on_the_get_stream_is_answered_by_a_post_while_a_notification_is_taken() -> None:
    hub = WireHub()
    async with serving(hub) as (_, port), connected(port) as connection:
        headers = handshake_headers(await open_session(port))
        await connection.send("GET", "/mcp", headers)
        await connection.head()
        await connection.events(1)
        assert (await call_once(port, note("notifications/roots/list_changed"), headers)).status == 202
        (question,) = await connection.events(1)
        assert question.json["method"] == "roots/list"
        answer = {"jsonrpc": "2.0", "id": question.json["id"], "result": {"roots": []}}
        assert (await call_once(port, answer, headers)).status == 202
        await until(lambda: ("roots", {"roots": []}) in hub.heard)
        assert (await call_once(port, answer, headers)).status == 202


async def test_a_refused_question_raises_the_clients_own_error_in_the_tool() -> None:
    async with serving(WireHub()) as (_, port), connected(port) as connection:
        headers = handshake_headers(await open_session(port))
        await connection.send("POST", "/mcp", headers, json.dumps(tool("ask")).encode())
        await connection.head()
        _, question = await connection.events(2)
        refusal = {"jsonrpc": "2.0", "id": question.json["id"], "error": {"code": -1, "message": "No."}}
        await call_once(port, refusal, headers)
        (last,) = await connection.events(1)
        assert last.json["error"] == {"code": -1, "message": "No."}


async def test_a_cancelled_question_is_taken_back_from_the_client() -> None:
    async with serving(WireHub()) as (_, port), connected(port) as connection:
        headers = handshake_headers(await open_session(port))
        await connection.send("POST", "/mcp", headers, json.dumps(tool("ask", 9)).encode())
        await connection.head()
        _, question = await connection.events(2)
        await call_once(port, note("notifications/cancelled", {"requestId": 9}), headers)
        (back,) = await connection.events(1)
        assert back.json["method"] == "notifications/cancelled"
        assert back.json["params"] == {"requestId": question.json["id"]}


async def test_batches_are_served_in_the_revision_that_has_them_and_refused_in_others() -> None:
    hub = WireHub()
    batch = [
        tool("echo", 1, text="a"),
        note("notifications/initialized"),
        request("no/such", request_id=2),
        tool("echo", 3),
    ]
    async with serving(hub) as (_, port):
        headers = handshake_headers(await open_session(port, "2025-03-26"))
        reply = await call_once(port, batch, headers)
        assert reply.status == 200
        assert {message["id"]: "result" in message for message in reply.json} == {1: True, 2: False, 3: True}
        assert ("notifications/initialized", {}) in hub.heard
        assert (await call_once(port, [note("notifications/x")], headers)).status == 202
        streamed = await call_once(port, [tool("flood", 1, count=2), tool("echo", 2)], headers)
        ids = [event.json.get("id") for event in parse_events(streamed.body)]
        assert sorted(i for i in ids if i) == [1, 2]
        for wrong in ([], [1], [initialize()], [tool("echo", 1), tool("echo", 1)], [note("x")] * 101):
            assert (await call_once(port, wrong, headers)).status == 400, wrong
        newer = handshake_headers(await open_session(port, "2025-06-18"))
        assert (await call_once(port, batch, newer)).status == 400


async def test_ending_a_session_ends_what_it_had_open() -> None:
    hub = WireHub()
    async with serving(hub) as (app, port), connected(port) as call, connected(port) as stream:
        headers = handshake_headers(await open_session(port))
        await stream.send("GET", "/mcp", headers)
        await stream.head()
        await stream.events(1)
        await call.send("POST", "/mcp", headers, json.dumps(tool("slow", steps=1)).encode())
        await call.head()
        async with connected(port) as connection:
            await connection.send("DELETE", "/mcp", headers)
            assert (await connection.head())[0] == 204
        await until(lambda: hub.cancelled.get("slow") == 1 and app.in_flight == 0)
        assert await stream.chunk() == b""
        assert hub.closed == hub.opened


async def test_draining_ends_get_streams_and_still_takes_what_calls_in_flight_wait_for() -> None:
    hub = WireHub()
    async with serving(hub, settings(drain_seconds=30)) as (app, port):
        headers = handshake_headers(await open_session(port))
        async with connected(port) as call, connected(port) as stream:
            await stream.send("GET", "/mcp", headers)
            await stream.head()
            await stream.events(1)
            await call.send("POST", "/mcp", headers, json.dumps(tool("ask")).encode())
            await call.head()
            _, question = await call.events(2)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(app.drain)
                assert await stream.chunk() == b""
                assert (await call_once(port, tool("echo", 2), headers)).status == 503
                assert (await call_once(port, initialize(), handshake_headers())).status == 503
                answer = {"jsonrpc": "2.0", "id": question.json["id"], "result": {"action": "decline"}}
                assert (await call_once(port, answer, headers)).status == 202
                (last,) = await call.events(1)
                assert "decline" in last.json["result"]["content"][0]["text"]
        assert app.session_count == 0


async def test_a_thousand_cancelled_session_calls_leave_no_task_behind() -> None:
    hub = WireHub()
    async with serving(hub) as (app, port):
        headers = handshake_headers(await open_session(port))
        before = len(asyncio.all_tasks())

        async def cancel_some(worker: int) -> None:
            async with connected(port) as connection, connected(port) as other:
                for number in range(50):
                    request_id = f"{worker}.{number}"
                    await connection.send(
                        "POST", "/mcp", headers, json.dumps(tool("slow", request_id, steps=1)).encode()
                    )
                    await connection.head()
                    await connection.chunk()
                    sent = await other.post(note("notifications/cancelled", {"requestId": request_id}), headers)
                    assert sent.status == 202
                    while await connection.chunk():
                        pass

        async with anyio.create_task_group() as tasks:
            for worker in range(20):
                tasks.start_soon(cancel_some, worker)
        await until(lambda: hub.cancelled.get("slow", 0) == 1000)
        await until(lambda: app.in_flight == 0 and len(asyncio.all_tasks()) <= before)
