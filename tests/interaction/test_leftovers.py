"""Calls that are cancelled and children that are killed leave nothing behind."""

import asyncio
import os
import signal
import sys

import anyio
import psutil
import pytest
from mcp import Client
from reference.hub import REFERENCE, bad, call_text, eventually, reference, running_hub, tool_names
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
            children_before = {child.pid for child in psutil.Process().children(recursive=True)}

            for round_ in range(CANCELLED // AT_ONCE):
                await cancel_some(prefixes[round_ % 3], AT_ONCE)
                await eventually(nobody_waits)

            async def nothing_is_left():
                children = {child.pid for child in psutil.Process().children(recursive=True)}
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
    async with running_hub(tmp_path, servers) as hub:

        async def up():
            async with Client(hub.url) as client:
                return {"one_work", "stuck_work", "reference_echo"} <= await tool_names(client)

        await eventually(up)
        children = psutil.Process().children(recursive=True)
        assert len(children) >= 3
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
