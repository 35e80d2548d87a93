"""An upstream that stops answering, lies or is looked after badly is degraded, is tried again, and comes back."""

import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, MCPError
from mcp.server.mcpserver import MCPServer
from reference.hub import QUICK, REFERENCE, bad, call_text, eventually, reference, running_hub, status, tool_names
from reference.running import listening

from quantum_suite.hub.mounts import Extra
from quantum_suite.hub.upstream import Upstream

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def before_http(home: Path, **options: object) -> Any:
    command = [sys.executable, str(REFERENCE / "server.py"), "--http", "0"]
    async with (
        listening(command) as (url, process),
        running_hub(home, {"far": {"url": url, "quantum": options}}) as hub,
        Client(hub.url) as client,
    ):

        async def up():
            return "far_echo" in await tool_names(client)

        await eventually(up)
        yield client, process, url


async def _fails(client: Client) -> str:
    with pytest.raises(MCPError) as failed:
        await client.call_tool("far_echo", {"text": "x"})
    return failed.value.error.message


async def test_calls_to_a_stopped_server_fail_fast_once_enough_of_them_failed_and_pass_when_it_goes_on(tmp_path):
    async with before_http(tmp_path, deadlineSeconds=0.2) as (client, process, _):
        os.kill(process.pid, signal.SIGSTOP)
        try:
            for _ in range(5):
                assert "did not answer" in await _fails(client)

            async def refused_at_once():
                return "is away" in await _fails(client)

            await eventually(refused_at_once)
            assert (await status(client, "far"))["state"] == "degraded"
        finally:
            os.kill(process.pid, signal.SIGCONT)

        async def answers():
            try:
                return await call_text(client, "far_echo", text="back") == "back"
            except (MCPError, AssertionError):
                return False

        await eventually(answers)

        async def healthy():
            return (await status(client, "far"))["state"] == "healthy"

        await eventually(healthy)


async def test_a_server_that_answers_checks_but_no_calls_is_degraded_with_the_reason(tmp_path):
    servers = {"far": bad("hangs-on-call", deadlineSeconds=0.1)}
    async with running_hub(tmp_path, servers) as hub, Client(hub.url) as client:

        async def up():
            return "far_work" in await tool_names(client)

        await eventually(up)

        async def refused_at_once():
            with pytest.raises(MCPError) as failed:
                await client.call_tool("far_work", {})
            return "calls in a row" in failed.value.error.message

        await eventually(refused_at_once)
        found = await status(client, "far")
        assert found["state"] == "degraded"
        assert "calls in a row" in found["problem"]
        assert "far_work" in await tool_names(client)


async def test_a_killed_server_is_withdrawn_and_its_successor_at_the_same_address_is_taken_up(tmp_path):
    command = [sys.executable, str(REFERENCE / "server.py"), "--http"]
    async with before_http(tmp_path) as (client, process, url):
        process.kill()

        async def withdrawn():
            return "far_echo" not in await tool_names(client)

        await eventually(withdrawn)
        assert "is away" in await _fails(client)
        port = url.split(":")[2].split("/")[0]
        async with listening([*command, port]):

            async def back():
                return "far_echo" in await tool_names(client)

            await eventually(back)
            assert await call_text(client, "far_echo", text="again") == "again"


async def test_a_bug_in_looking_after_one_server_degrades_that_one_until_it_is_tried_again(tmp_path, monkeypatch):
    supervise, broken = Upstream._supervise, anyio.Event()
    failures = 0

    async def buggy(self: Upstream, pool: Any) -> None:
        nonlocal failures
        if self.name == "unlucky" and not broken.is_set():
            failures += 1
            raise ExceptionGroup("tasks", [AssertionError("a bug")])
        await supervise(self, pool)

    monkeypatch.setattr(Upstream, "_supervise", buggy)
    servers = {"unlucky": bad("good"), "lucky": bad("good")}
    async with running_hub(tmp_path, servers, policy=QUICK) as hub, Client(hub.url) as client:

        async def degraded():
            found = await status(client, "unlucky")
            return found if found["state"] == "degraded" and failures > 1 else None

        assert "bug" in (await eventually(degraded))["problem"]
        assert (await call_text(client, "lucky_work")).startswith("worked")
        broken.set()

        async def healthy():
            return "unlucky_work" in await tool_names(client)

        await eventually(healthy)
        assert (await status(client, "unlucky"))["problem"] is None


async def test_a_server_whose_every_child_is_busy_is_not_taken_for_one_that_is_away(tmp_path):
    gate = tmp_path / "gate"
    async with (
        running_hub(tmp_path, {"small": reference(maxChildren=1)}) as hub,
        Client(hub.url, mode="legacy") as client,
        Client(hub.url) as watcher,
    ):

        async def up():
            return "small_echo" in await tool_names(watcher)

        await eventually(up)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.call_tool, "small_wait_for_file", {"path": str(gate)})

            async def busy():
                return (await status(watcher, "small"))["in_flight"] == 1

            await eventually(busy)
            for _ in range(40):  # several checks long
                assert (await status(watcher, "small"))["state"] == "healthy"
                await anyio.sleep(0.05)
            gate.touch()


async def test_a_call_waits_for_its_own_server_to_start_and_for_no_other(tmp_path):
    servers = {"late": bad("slow"), "stuck": bad("hangs-at-start")}
    slow_to_give_up = QUICK.__class__(**{**_fields(QUICK), "connect_deadline_seconds": 60})
    async with running_hub(tmp_path, servers, policy=slow_to_give_up) as hub, Client(hub.url) as client:
        with anyio.fail_after(25):
            assert (await call_text(client, "late_work")).startswith("worked")


def _fields(policy: Any) -> dict[str, float]:
    return {name: getattr(policy, name) for name in policy.__dataclass_fields__}


async def test_a_lying_list_costs_its_server_the_entries_that_lie_and_nothing_else(tmp_path):
    server: MCPServer[Any] = MCPServer("embedded")

    @server.tool()
    def fine() -> str:
        return "fine"

    extra = [Extra("embedded", server, "embedded")]
    async with (
        running_hub(tmp_path, {"liar": bad("invalid-schemas")}, extra=extra) as hub,
        Client(hub.url) as client,
    ):

        async def both():
            return {"liar_work", "embedded_fine"} <= await tool_names(client)

        await eventually(both)
        problem = (await status(client, "liar"))["problem"]
        assert "'description_is_a_number'" in problem
        assert "'nested_without_end'" in problem
