"""Servers mounted in this process: their lifespan, their bugs, and that callers do not mix."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import Context, MCPServer
from mcp.types import CallToolRequestParams, CallToolResult, ListToolsResult

from quantum_suite.core.errors import Unavailable
from quantum_suite.core.principals import Caller, Principal
from quantum_suite.hub.call import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    LATEST_MODERN,
    META_CLIENT_CAPABILITIES,
    META_CLIENT_INFO,
    META_VERSION,
    Json,
    NoPeer,
    RpcError,
)
from quantum_suite.hub.upstreams.inprocess import InProcessConnector
from quantum_suite.hub.upstreams.interface import Link, LinkKey

pytestmark = pytest.mark.anyio

MODERN = LinkKey("modern", "shared")


def meta(client: str = "x", capabilities: Json | None = None) -> Json:
    return {
        META_VERSION: LATEST_MODERN,
        META_CLIENT_CAPABILITIES: capabilities or {},
        META_CLIENT_INFO: {"name": client, "version": "1"},
    }


async def ignore(method: str, params: Json) -> None:
    """Hear nothing."""


async def call(link: Link, tool: str, envelope: Json | None = None, **options: Any) -> Json:
    params = {"name": tool, "arguments": {}, "_meta": envelope or meta()}
    with anyio.fail_after(25):
        return await link.request("tools/call", params, NoPeer(), **options)


def text(result: Json) -> str:
    return result["content"][0]["text"]


async def eventually(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(25):
        while not condition():
            await anyio.sleep(0.005)


async def test_the_lifespan_is_entered_once_and_left_in_the_task_that_entered_it() -> None:
    events: list[tuple[str, Any]] = []

    @asynccontextmanager
    async def lifespan(server: MCPServer[Any]) -> AsyncIterator[dict[str, str]]:
        events.append(("entered", asyncio.current_task()))
        async with anyio.create_task_group():
            yield {"color": "blue"}
        events.append(("left", asyncio.current_task()))

    server: MCPServer[Any] = MCPServer("s", lifespan=lifespan)

    @server.tool()
    async def color(ctx: Context) -> str:
        """Return what the lifespan made."""
        return str(ctx.request_context.lifespan_context["color"])

    connector = InProcessConnector(server)
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(connector.connect, MODERN, ignore)
    link = await connector.connect(LinkKey("modern", "shared"), ignore)
    assert text(await call(link, "color")) == "blue"
    await connector.aclose()

    assert [name for name, _ in events] == ["entered", "left"]
    assert events[0][1] is events[1][1]


async def test_a_server_that_cannot_start_is_unavailable_and_tried_anew() -> None:
    attempts: list[int] = []

    @asynccontextmanager
    async def lifespan(server: MCPServer[Any]) -> AsyncIterator[None]:
        attempts.append(1)
        if len(attempts) == 1:
            raise OSError("no disk")
        yield None

    connector = InProcessConnector(MCPServer("s", lifespan=lifespan))

    with pytest.raises(Unavailable, match="no disk"):
        await connector.connect(MODERN, ignore)
    link = await connector.connect(MODERN, ignore)

    assert link.hello.server_info["name"] == "s"
    await connector.aclose()


async def test_a_bug_in_a_low_level_server_shows_nothing_of_its_insides(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(ctx: Any, params: CallToolRequestParams) -> CallToolResult:
        raise KeyError("the password is hunter2")

    async def tools(ctx: Any, params: Any) -> ListToolsResult:
        return ListToolsResult(tools=[])

    connector = InProcessConnector(Server("low", on_call_tool=broken, on_list_tools=tools))
    for era in ("modern", "handshake"):
        link = await connector.connect(LinkKey("modern" if era == "modern" else "handshake", "me"), ignore)
        with pytest.raises(RpcError) as caught:
            await call(link, "x", meta() if era == "modern" else {})
        assert caught.value.code == INTERNAL_ERROR
        assert "hunter2" not in caught.value.message
    assert "hunter2" in caplog.text
    await connector.aclose()


async def test_malformed_params_are_the_callers_error() -> None:
    connector = InProcessConnector(MCPServer("s"))
    link = await connector.connect(MODERN, ignore)

    with pytest.raises(RpcError) as caught:
        await link.request("tools/call", {"name": 5, "_meta": meta()}, NoPeer())

    assert caught.value.code == INVALID_PARAMS
    await connector.aclose()


async def test_each_call_carries_its_own_caller_and_client() -> None:
    server: MCPServer[Any] = MCPServer("s")

    @server.tool()
    async def who(ctx: Context) -> str:
        """Return who calls with what, after others had the time to call too."""
        await anyio.sleep(0.01)
        caller = ctx.request_context.request
        client = ctx.session.client_params
        roots = ctx.client_capabilities is not None and ctx.client_capabilities.roots is not None
        return f"{caller.principal.id} {client.client_info.name if client else None} {roots}"

    connector = InProcessConnector(server)
    link = await connector.connect(MODERN, ignore)
    answers: dict[str, str] = {}

    async def one(name: str, capabilities: Json) -> None:
        caller = Caller(Principal(id=f"key:{name}"), "c")
        answers[name] = text(await call(link, "who", meta(f"client-{name}", capabilities), caller=caller))

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(one, "ann", {"roots": {}})
            tasks.start_soon(one, "bob", {})

    assert answers == {"ann": "key:ann client-ann True", "bob": "key:bob client-bob False"}
    await connector.aclose()


async def test_a_client_that_says_nothing_of_itself_is_served() -> None:
    connector = InProcessConnector(MCPServer("s"))
    link = await connector.connect(MODERN, ignore)

    result = await link.request(
        "tools/list", {"_meta": {META_VERSION: LATEST_MODERN, META_CLIENT_CAPABILITIES: {}}}, NoPeer()
    )

    assert result["tools"] == []
    await connector.aclose()


async def test_changes_are_announced_to_every_distinct_listener_once() -> None:
    server: MCPServer[Any] = MCPServer("s")
    heard: list[str] = []
    other: list[str] = []

    async def announce(method: str, params: Json) -> None:
        heard.append(method)

    async def announce_too(method: str, params: Json) -> None:
        other.append(method)

    @server.tool()
    async def change(ctx: Context) -> str:
        """Change something."""
        await ctx.notify_prompts_changed()
        return "changed"

    connector = InProcessConnector(server)
    link = await connector.connect(MODERN, announce)
    await connector.connect(LinkKey("handshake", "me"), announce)
    await connector.connect(LinkKey("handshake", "you"), announce_too)
    await eventually(lambda: len(server._subscriptions._listeners) == 2)  # type: ignore[attr-defined] # nothing else tells
    await call(link, "change")
    await eventually(lambda: bool(heard) and bool(other))

    assert heard == other == ["notifications/prompts/list_changed"]
    await connector.aclose()


async def test_a_server_without_subscriptions_is_mounted_all_the_same() -> None:
    connector = InProcessConnector(MCPServer("s", subscriptions=False))

    link = await connector.connect(MODERN, ignore)

    assert link.hello.capabilities["tools"] == {"listChanged": False}
    await connector.aclose()


async def test_a_lifespan_that_will_not_end_delays_nobody_for_ever() -> None:
    @asynccontextmanager
    async def lifespan(server: MCPServer[Any]) -> AsyncIterator[None]:
        try:
            yield None
        finally:
            await anyio.sleep_forever()

    connector = InProcessConnector(MCPServer("s", lifespan=lifespan), close_seconds=0.05)
    await connector.connect(MODERN, ignore)

    with anyio.fail_after(25):
        await connector.aclose()
