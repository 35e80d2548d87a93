"""Who may see and call what, through the real hub: keys, roles, approval, audit."""

import json
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client, MCPError
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer
from mcp.types import (
    CallToolResult,
    ListToolsResult,
    ReadResourceResult,
    ResourceLink,
    TextContent,
    TextResourceContents,
    Tool,
    ToolAnnotations,
)
from reference.hub import bad, eventually, running_hub, status, tool_names
from reference.people import Person, client_with, make_key, revoke_key

from quantum_suite.core.principals import Role
from quantum_suite.hub.access import revocation
from quantum_suite.hub.envelope import hub_envelope
from quantum_suite.hub.mounts import Extra
from quantum_suite.hub.serve import pages
from quantum_suite.hub.settings import HubSettings
from quantum_suite.hub.wire.asgi import HubApp

pytestmark = pytest.mark.anyio


def a_server() -> MCPServer[Any]:
    server: MCPServer[Any] = MCPServer("things")

    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    def look() -> str:
        return "seen"

    @server.tool(annotations=ToolAnnotations(read_only_hint=False, destructive_hint=False))
    def add(password: str = "") -> str:
        return "added"

    @server.tool(annotations=ToolAnnotations(destructive_hint=True))
    def wipe(what: str) -> str:
        return f"wiped {what}"

    return server


def a_linking_server() -> Server[Any]:
    """Answers its one tool with a link to a resource that it does not list."""

    async def list_tools(ctx: Any, params: Any) -> ListToolsResult:
        read_only = ToolAnnotations(read_only_hint=True)
        return ListToolsResult(tools=[Tool(name="link", input_schema={"type": "object"}, annotations=read_only)])

    async def call_tool(ctx: Any, params: Any) -> CallToolResult:
        return CallToolResult(content=[ResourceLink(uri="private://1", name="one")])

    async def read(ctx: Any, params: Any) -> ReadResourceResult:
        return ReadResourceResult(contents=[TextResourceContents(uri=params.uri, text="for one pair of eyes")])

    return Server("linking", on_list_tools=list_tools, on_call_tool=call_tool, on_read_resource=read)


THINGS = [Extra("things", a_server(), "things")]


def audited(home: Path) -> list[dict[str, Any]]:
    files = sorted((home / "data" / "audit").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


async def test_a_viewer_neither_sees_nor_calls_what_changes_things(tmp_path) -> None:
    async with running_hub(tmp_path, {}, extra=THINGS) as hub:
        key = make_key(tmp_path, "a-viewer", Role.VIEWER)
        async with client_with(hub.url, key) as client:
            assert {n for n in await tool_names(client) if n.startswith("things")} == {"things_look"}
            assert not (await client.call_tool("things_look", {})).is_error
            with pytest.raises(MCPError) as hidden:
                await client.call_tool("things_add", {})
            with pytest.raises(MCPError) as unknown:
                await client.call_tool("things_nothing", {})
    assert hidden.value.error.code == unknown.value.error.code
    assert hidden.value.error.message.replace("add", "nothing") == unknown.value.error.message


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
@pytest.mark.parametrize("approved", [True, False])
async def test_an_operator_destroys_only_what_a_person_approves(tmp_path, mode, approved) -> None:
    person = Person(approved)
    async with running_hub(tmp_path, {}, extra=THINGS) as hub:
        key = make_key(tmp_path, "an-operator")
        async with client_with(hub.url, key, mode=mode, elicitation_callback=person) as client:
            assert "things_wipe" in await tool_names(client)
            if approved:
                result = await client.call_tool("things_wipe", {"what": "disk"})
                assert isinstance(result.content[0], TextContent)
                assert result.content[0].text == "wiped disk"
            else:
                with pytest.raises(MCPError):
                    await client.call_tool("things_wipe", {"what": "disk"})
    assert len(person.asked) == 1
    assert "things_wipe" in person.asked[0]


async def test_a_wrong_key_is_refused_even_on_this_machine(tmp_path) -> None:
    async with running_hub(tmp_path, {}, extra=THINGS) as hub, httpx2.AsyncClient() as http:
        body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}}
        headers = {
            "Authorization": "Bearer qs_nonsense",
            "Accept": "application/json, text/event-stream",
        }
        answer = await http.post(hub.url, json=body, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_every_call_is_audited_with_a_digest_and_no_argument_values(tmp_path) -> None:
    async with running_hub(tmp_path, {}, extra=THINGS) as hub, Client(hub.url) as client:
        await client.call_tool("things_add", {"password": "open sesame"})
        with pytest.raises(MCPError):
            await client.call_tool("things_nothing", {})
    records = [record for record in audited(tmp_path) if record["method"] == "tools/call"]
    added = [record for record in records if record["target"] == "things_add"]
    assert [record["outcome"] for record in added] == ["accepted", "ok"]
    assert len({record["call_id"] for record in added}) == 1
    assert len(added[-1]["arguments_sha256"]) == 64
    assert "open sesame" not in json.dumps(audited(tmp_path))
    assert any(record["outcome"].startswith("error") for record in records)


async def test_a_principals_session_is_no_use_to_another(tmp_path) -> None:
    async with running_hub(tmp_path, {}, extra=THINGS) as hub, httpx2.AsyncClient() as http:
        key = make_key(tmp_path, "a-viewer", Role.VIEWER)
        headers = {"Accept": "application/json, text/event-stream"}
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
        body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
        opened = await http.post(hub.url, json=body, headers=headers)
        session = opened.headers["Mcp-Session-Id"]
        theirs = {**headers, "Mcp-Session-Id": session, "Authorization": f"Bearer {key}"}
        ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
        with anyio.fail_after(25):
            refused = await http.post(hub.url, json=ping, headers=theirs)
            stream = await http.get(hub.url, headers={**theirs, "Accept": "text/event-stream"})
            ended = await http.delete(hub.url, headers=theirs)
            mine = await http.post(
                hub.url, json=ping, headers={k: v for k, v in theirs.items() if k != "Authorization"}
            )
    assert [refused.status_code, stream.status_code, ended.status_code] == [404, 404, 404]
    assert mine.status_code == 200


async def test_a_resource_that_was_linked_to_one_principal_is_unknown_to_every_other(tmp_path) -> None:
    extra = [Extra("linking", a_linking_server(), "linking")]
    async with (
        running_hub(tmp_path, {}, extra=extra) as hub,
        Client(hub.url) as mine,
        client_with(hub.url, make_key(tmp_path, "a-viewer", Role.VIEWER)) as theirs,
    ):
        await mine.call_tool("linking_link", {})
        read = await mine.read_resource("private://1")
        assert read.contents[0].text == "for one pair of eyes"
        with pytest.raises(MCPError, match="not found"):
            await theirs.read_resource("private://1")


async def test_only_an_admin_reads_paths_of_this_machine_and_what_servers_printed(tmp_path) -> None:
    async with running_hub(tmp_path, {"bad": bad("dies-at-start")}) as hub, Client(hub.url) as admin:

        async def away():
            return (await status(admin, "bad"))["state"] == "degraded"

        await eventually(away)
        found = await status(admin, "bad")
        assert "db.internal" in found["problem"]
        assert str(tmp_path) in found["source"]
        async with client_with(hub.url, make_key(tmp_path, "an-operator")) as operator:
            for hidden in ("details", "bad/stderr"):
                with pytest.raises(MCPError, match="not found"):
                    await operator.read_resource(f"quantum://hub/servers/{hidden}")
            listed = [str(one.uri) for one in (await operator.list_resources()).resources]
            assert [uri for uri in listed if uri.startswith("quantum://hub/")] == [
                "quantum://hub/engines/all",
                "quantum://hub/servers/all",
            ]
            outline = (await operator.read_resource("quantum://hub/servers/all")).contents[0].text
    assert '"state":"degraded"' in outline
    assert "db.internal" not in outline
    assert str(tmp_path) not in outline


async def test_a_policy_that_is_added_is_soon_in_force_and_a_broken_one_changes_nothing(
    tmp_path,
) -> None:
    policies = tmp_path / "data" / "policies"
    policies.mkdir(parents=True)
    async with (
        running_hub(tmp_path, {}, extra=THINGS) as hub,
        client_with(hub.url, make_key(tmp_path, "a-viewer", Role.VIEWER)) as client,
    ):
        assert "things_look" in await tool_names(client)
        async with client.listen(tools_list_changed=True) as changes:
            (policies / "none.cedar").write_text(
                'forbid (principal, action, resource in Quantum::Server::"things");'
            )
            with anyio.fail_after(25):
                await anext(aiter(changes))
        assert "things_look" not in await tool_names(client)
        (policies / "broken.cedar").write_text("permit (")
        (policies / "none.cedar").unlink()
        with pytest.raises(MCPError):
            await client.call_tool("things_look", {})
        (policies / "broken.cedar").unlink()

        async def seen_again():
            return "things_look" in await tool_names(client)

        await eventually(seen_again)


async def test_a_revoked_keys_open_streams_end(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(revocation, "RECHECK_SECONDS", 0.05)
    async with running_hub(tmp_path, {}, extra=THINGS) as hub:
        key = make_key(tmp_path, "a-viewer", Role.VIEWER)
        headers = {"Authorization": f"Bearer {key}", "Accept": "application/json, text/event-stream"}
        async with httpx2.AsyncClient(headers=headers, timeout=30) as http, anyio.create_task_group() as tasks:
            session = {"Mcp-Session-Id": await a_session(http, hub.url)}
            ended: list[str] = []

            async def follow(name: str, *request: Any, **more: Any) -> None:
                async with http.stream(*request, **more) as answer:
                    assert answer.status_code == 200
                    opened.release()
                    with suppress(httpx2.RemoteProtocolError):
                        async for _ in answer.aiter_lines():
                            pass
                ended.append(name)

            opened = anyio.Semaphore(0)
            tasks.start_soon(partial(follow, "get", "GET", hub.url, headers=session))
            tasks.start_soon(partial(follow, "listen", "POST", hub.url, json=LISTEN, headers=LISTEN_HEADERS))
            with anyio.fail_after(50):
                await opened.acquire()
                await opened.acquire()
                revoke_key(tmp_path, "a-viewer")

                async def both_ended():
                    return len(ended) == 2

                await eventually(both_ended)


@pytest.mark.parametrize("shown", ["nothing", "a wrong key", "a good key"])
async def test_metrics_are_for_those_who_may_call_and_readiness_names_nobody(tmp_path, shown) -> None:
    async with running_hub(tmp_path, {}, extra=THINGS) as hub:
        app = HubApp(hub.gateway, HubSettings(data_dir=tmp_path), routes=pages(hub.gateway))
        key = make_key(tmp_path, "a-viewer", Role.VIEWER) if shown == "a good key" else "qs_wrong"
        headers = [(b"host", b"localhost")]
        if shown != "nothing":
            headers.append((b"authorization", f"Bearer {key}".encode()))
        status, body = await from_elsewhere(app, "/metrics", headers)
        assert status == (200 if shown == "a good key" else 401)
        assert (b"things" in body) == (shown == "a good key")
        status, body = await from_elsewhere(app, "/readyz", headers)
        assert status == 200
        assert b"things" not in body
        hub.gateway.end_streams()
        assert (await from_elsewhere(app, "/readyz", headers))[0] == 503


async def from_elsewhere(app: HubApp, path: str, headers: list[tuple[bytes, bytes]]) -> tuple[int, bytes]:
    """GET a page as a machine of another network would."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "headers": headers, "client": ("203.0.113.9", 4711)}
    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


async def a_session(http: httpx2.AsyncClient, url: str) -> str:
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
    opened = await http.post(url, json={"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})
    return opened.headers["Mcp-Session-Id"]


LISTEN_HEADERS = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "subscriptions/listen"}
LISTEN = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "subscriptions/listen",
    "params": {"notifications": {"toolsListChanged": True}, "_meta": hub_envelope()},
}


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_server_nothing_of_which_is_permitted_is_not_even_introduced(tmp_path, mode) -> None:
    secret: MCPServer[Any] = MCPServer("secret", instructions="the vault is behind the picture")
    secret.add_tool(lambda: "open", name="open_vault", description="Opens it.")
    extra = [Extra("secret", secret, "secret")]
    async with running_hub(tmp_path, {}, extra=extra) as hub:
        async with Client(hub.url, mode=mode) as admin:
            assert "picture" in (admin.instructions or "")
        async with client_with(hub.url, make_key(tmp_path, "a-viewer", Role.VIEWER), mode=mode) as viewer:
            assert "picture" not in (viewer.instructions or "")
