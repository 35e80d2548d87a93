"""Changes of an upstream reach the clients that follow them, in both eras, and nobody else."""

import sys
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.server.mcpserver import Context, MCPServer
from reference.hub import REFERENCE, eventually, running_hub, tool_names
from reference.running import listening

from quantum_suite.hub.mounts import Extra

pytestmark = pytest.mark.anyio


def a_growing_server() -> MCPServer[Any]:
    server: MCPServer[Any] = MCPServer("growing")

    @server.tool()
    async def grow(ctx: Context) -> str:
        server.add_tool(lambda: "new", name="new", description="was added later")
        await ctx.notify_tools_changed()
        await ctx.session.send_tool_list_changed()
        return "grown"

    @server.tool()
    async def touch(ctx: Context, uri: str) -> str:
        await ctx.notify_resource_updated(uri)
        await ctx.session.send_resource_updated(uri)
        return "touched"

    @server.resource("note://one")
    def one() -> str:
        return "1"

    @server.resource("note://two")
    def two() -> str:
        return "2"

    return server


class Heard:
    """Collects what a client is told."""

    def __init__(self) -> None:
        self.methods: list[str] = []
        self.uris: list[str] = []

    async def __call__(self, message: Any) -> None:
        inner = getattr(message, "root", message)
        method = getattr(inner, "method", None)
        if isinstance(method, str):
            self.methods.append(method)
            uri = getattr(getattr(inner, "params", None), "uri", None)
            if uri is not None:
                self.uris.append(str(uri))

    async def has_method(self, method: str) -> bool:
        return method in self.methods

    async def has_uri(self, uri: str) -> bool:
        return uri in self.uris


async def test_a_tool_that_appears_is_announced_to_a_session_and_listed(tmp_path) -> None:
    heard = Heard()
    extra = [Extra("growing", a_growing_server(), "growing")]
    async with (
        running_hub(tmp_path, {}, extra=extra) as hub,
        Client(hub.url, mode="legacy", message_handler=heard) as client,
    ):
        await client.call_tool("growing_grow", {})
        await eventually(lambda: heard.has_method("notifications/tools/list_changed"))
        assert "growing_new" in await tool_names(client)


async def test_a_tool_that_appears_is_announced_to_a_listening_client(tmp_path) -> None:
    extra = [Extra("growing", a_growing_server(), "growing")]
    async with running_hub(tmp_path, {}, extra=extra) as hub, Client(hub.url) as client:
        async with client.listen(tools_list_changed=True) as events:
            await client.call_tool("growing_grow", {})
            with anyio.fail_after(25):
                async for event in events:
                    assert type(event).__name__ == "ToolsListChanged"
                    break
        assert "growing_new" in await tool_names(client)


@pytest.mark.filterwarnings("ignore:resources/subscribe is removed")  # the era's own way
async def test_updates_reach_only_those_who_follow_that_resource(tmp_path) -> None:
    one, two = Heard(), Heard()
    extra = [Extra("growing", a_growing_server(), "growing")]
    async with (
        running_hub(tmp_path, {}, extra=extra) as hub,
        Client(hub.url, mode="legacy", message_handler=one) as first,
        Client(hub.url, mode="legacy", message_handler=two) as second,
    ):
        await first.session.subscribe_resource("note://one")
        await second.session.subscribe_resource("note://two")

        async def told() -> bool:
            await first.call_tool("growing_touch", {"uri": "note://one"})
            await first.call_tool("growing_touch", {"uri": "note://two"})
            return await one.has_uri("note://one") and await two.has_uri("note://two")

        await eventually(told)
    assert "note://two" not in one.uris
    assert "note://one" not in two.uris


@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_updates_of_a_server_outside_this_process_are_passed_on(tmp_path, transport) -> None:
    command = [sys.executable, str(REFERENCE / "changing_server.py")]
    if transport == "stdio":
        async with running_hub(tmp_path, {"out": {"command": command[0], "args": [command[1], "--stdio"]}}) as hub:
            await _updates_arrive(hub.url)
        return
    async with (
        listening([*command, "--http", "0"]) as (url, _),
        running_hub(tmp_path, {"out": {"type": "http", "url": url}}) as hub,
    ):
        await _updates_arrive(hub.url)


async def _updates_arrive(url: str) -> None:
    kinds: set[str] = set()
    async with Client(url) as client, anyio.create_task_group() as tasks:
        await client.call_tool("out_touch", {})  # waits for the server to be there

        async def keep_touching() -> None:
            while True:
                await client.call_tool("out_touch", {})
                await client.call_tool("out_grow", {})

        async with client.listen(resource_subscriptions=["note://one"], tools_list_changed=True) as events:
            tasks.start_soon(keep_touching)
            with anyio.fail_after(50):
                async for event in events:
                    kinds.add(type(event).__name__)
                    if kinds == {"ResourceUpdated", "ToolsListChanged"}:
                        break
        tasks.cancel_scope.cancel()
