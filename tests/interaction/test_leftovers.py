"""Calls that are cancelled and children that are killed leave nothing behind."""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from typing import Any

import anyio
import psutil
import pytest
from mcp import Client
from mcp.server.mcpserver import MCPServer
from mcp.types import ElicitResult, ToolAnnotations
from reference.children import own_children
from reference.hub import REFERENCE, bad, call_text, eventually, reference, running_hub, tool_names
from reference.people import client_with, make_key
from reference.running import listening
from reference.server import build

from quantum_suite.hub.mounts import Extra

pytestmark = pytest.mark.anyio

AT_ONCE = 50
CANCELLED = 1_000


async def test_a_thousand_cancelled_calls_leave_no_child_and_no_task(tmp_path):
    never = str(tmp_path / "never")
    command = [sys.executable, str(REFERENCE / "server.py"), "--http", "0"]
    async with listening(command) as (upstream, _):
        servers = {"stdio": reference(), "http": {"type": "http", "url": upstream}}
        embedded = Extra("embedded", build(), "embedded")
        async with running_hub(tmp_path, servers, extra=[embedded]) as hub, Client(hub.url) as client:
            prefixes = ("stdio", "http", "embedded")

            async def up():
                return {f"{prefix}_echo" for prefix in prefixes} <= await tool_names(client)

            async def waiting(count: int) -> bool:
                return [await call_text(client, f"{prefix}_count_waiting") for prefix in prefixes] == [
                    str(count)
                ] * 3

            async def nobody_waits():
                return await waiting(0) and not any(one.in_flight for one in hub.gateway.statuses())

            async def cancel_some(prefix: str, calls: int) -> None:
                async def hold() -> None:
                    await client.call_tool(f"{prefix}_wait_for_file", {"path": never})

                async def all_wait():
                    return await call_text(client, f"{prefix}_count_waiting") == str(calls)

                async with anyio.create_task_group() as tasks:
                    for _ in range(calls):
                        tasks.start_soon(hold)
                    await eventually(all_wait)
                    tasks.cancel_scope.cancel()

            await eventually(up)
            for prefix in prefixes:
                await cancel_some(prefix, AT_ONCE)
            await eventually(nobody_waits)
            tasks_before = len(asyncio.all_tasks())
            children_before = {child.pid for child in own_children()}

            for round_ in range(CANCELLED // AT_ONCE):
                await cancel_some(prefixes[round_ % 3], AT_ONCE)
                await eventually(nobody_waits)

            async def nothing_is_left():
                children = {child.pid for child in own_children()}
                return children == children_before and len(asyncio.all_tasks()) <= tasks_before

            await eventually(nothing_is_left)


async def test_a_child_that_is_killed_is_replaced_for_the_next_call(tmp_path):
    async with running_hub(tmp_path, {"good": bad("good")}) as hub, Client(hub.url) as client:

        async def up():
            return "good_work" in await tool_names(client)

        await eventually(up)
        killed = int((await call_text(client, "good_work")).removeprefix("worked in "))
        os.kill(killed, signal.SIGKILL)
        process = psutil.Process(killed)
        await anyio.to_thread.run_sync(lambda: process.wait(timeout=5))

        replaced = int((await call_text(client, "good_work")).removeprefix("worked in "))
        assert replaced != killed


async def test_stopping_the_hub_ends_every_child(tmp_path):
    servers = {"one": bad("good"), "stuck": bad("hangs-on-call"), "reference": reference()}
    others = set(own_children())
    async with running_hub(tmp_path, servers) as hub:

        async def up():
            async with Client(hub.url) as client:
                return {"one_work", "stuck_work", "reference_echo"} <= await tool_names(client)

        await eventually(up)
        children = set(own_children()) - others
        assert len(children) >= 3
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


def asking() -> dict[str, object]:
    """Return the entry of a server of the handshake era whose tool `ask` asks the client."""
    return {"command": sys.executable, "args": [str(REFERENCE / "one_era_server.py"), "handshake"]}


def a_destructive_server() -> MCPServer[Any]:
    server: MCPServer[Any] = MCPServer("things")

    @server.tool(annotations=ToolAnnotations(destructive_hint=True))
    def wipe() -> str:
        return "wiped"

    return server


class Silent:
    """A person who is asked and never answers."""

    def __init__(self) -> None:
        self.asked = 0

    async def __call__(self, context: Any, params: Any) -> ElicitResult:
        self.asked += 1
        await anyio.sleep_forever()
        raise AssertionError("It sleeps for ever.")


def hub_tasks() -> int:
    """Return how many tasks the hub has; the client's, in this process too, linger where it tries to resume."""
    return sum(task.get_name().startswith(("quantum_suite.", "upstream ")) for task in asyncio.all_tasks())


async def test_a_call_cancelled_while_a_person_is_asked_leaves_nothing_behind(tmp_path):
    person = Silent()
    async with (
        running_hub(tmp_path, {"old": asking()}) as hub,
        Client(hub.url, mode="legacy", elicitation_callback=person) as client,
    ):

        async def up():
            return "old_ask" in await tool_names(client)

        async def nobody_waits():
            return not any(one.in_flight for one in hub.gateway.statuses())

        async def ask_and_cancel() -> None:
            asked_before = person.asked

            async def asked():
                return person.asked > asked_before

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.call_tool, "old_ask", {})
                await eventually(asked)
                tasks.cancel_scope.cancel()
            await eventually(nobody_waits)

        await eventually(up)
        await ask_and_cancel()
        before = hub_tasks()
        for _ in range(10):
            await ask_and_cancel()

        async def nothing_is_left():
            return hub_tasks() <= before

        await eventually(nothing_is_left)


async def test_a_hub_that_stops_while_people_are_asked_does_not_wait_for_their_answers(tmp_path):
    """Its own question before a tool may run, in both eras, and one of a server's, whose call is parked."""
    person = Silent()
    others = set(own_children())
    extra = [Extra("things", a_destructive_server(), "things")]

    async def ask(url: str, tool: str, mode: str, key: str | None) -> None:
        with suppress(Exception):
            async with client_with(url, key, mode=mode, elicitation_callback=person) as client:
                await client.call_tool(tool, {})

    with anyio.fail_after(40):
        async with anyio.create_task_group() as tasks:
            async with running_hub(tmp_path, {"old": asking()}, extra=extra) as hub:
                key = make_key(tmp_path, "ops")

                async def up():
                    async with Client(hub.url) as client:
                        return "old_ask" in await tool_names(client)

                async def all_asked():
                    return person.asked == 3

                await eventually(up)
                tasks.start_soon(ask, hub.url, "things_wipe", "2026-07-28", key)
                tasks.start_soon(ask, hub.url, "things_wipe", "legacy", key)
                tasks.start_soon(ask, hub.url, "old_ask", "2026-07-28", None)
                await eventually(all_asked)
                children = set(own_children()) - others
            tasks.cancel_scope.cancel()
    assert children
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
