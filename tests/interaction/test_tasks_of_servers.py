"""Servers that make tasks themselves: the hub follows them, and the client's task is always the hub's own."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from reference.hub import REFERENCE, running_hub
from reference.raw_client import ModernClient, Refused, SessionClient, text_of

pytestmark = pytest.mark.anyio

ADA = {"action": "accept", "content": {"name": "Ada"}}
FORMS = pytest.mark.parametrize("form", ["modern", "handshake"])


def task_server(form: str) -> dict[str, object]:
    return {
        "command": sys.executable,
        "args": [str(REFERENCE / "task_server.py"), form],
        "quantum": {"prefix": ""},
    }


@asynccontextmanager
async def a_hub(home: Path, form: str) -> AsyncIterator[str]:
    async with running_hub(home, {"theirs": task_server(form)}) as hub:
        async with ModernClient(hub.url) as client:
            await client.until_offered("work")
        yield hub.url


async def tasks_there(client: ModernClient, count: str, *, cancelled: bool) -> None:
    """Wait until the server has so many tasks. Callers with other capabilities may reach another process of it."""
    with anyio.fail_after(25):
        while text_of(await client.call("count_tasks", {"cancelled": cancelled})) != count:
            await anyio.sleep(0.02)


@FORMS
async def test_a_servers_task_becomes_one_of_the_hubs(tmp_path, form):
    async with a_hub(tmp_path, form) as url, ModernClient(url) as client:
        task_id = await client.begin("work", seconds=0.3)
        task = await client.until(task_id)
    assert task_id.startswith("task_")
    assert text_of(task["result"]) == "work done"
    assert "theirs-" not in str(task), "the server's own id stays between it and the hub"


@FORMS
async def test_its_questions_are_the_tasks_questions(tmp_path, form):
    async with a_hub(tmp_path, form) as url, ModernClient(url) as client:
        task_id = await client.begin("ask")
        task = await client.until(task_id, "input_required")
        (key,) = task["inputRequests"]
        assert task["inputRequests"][key]["params"]["message"] == "Who are you?"
        await client.answer(task_id, {key: ADA})
        task = await client.until(task_id)
    assert text_of(task["result"]) == "hello Ada"


@FORMS
async def test_its_error_is_the_tasks_error(tmp_path, form):
    async with a_hub(tmp_path, form) as url, ModernClient(url) as client:
        task = await client.until(await client.begin("breaks"))
    assert task["status"] == "failed"
    assert task["error"] == {"code": -32050, "message": "it broke"}


@FORMS
async def test_cancelling_reaches_the_servers_task(tmp_path, form):
    async with a_hub(tmp_path, form) as url, ModernClient(url) as client:
        working, asking = await client.begin("work", seconds=60), await client.begin("ask")
        await client.until(asking, "input_required")
        for task_id in (working, asking):
            await client.request("tasks/cancel", {"taskId": task_id})
            assert (await client.until(task_id))["status"] == "cancelled"
        await tasks_there(client, "2", cancelled=True)


@FORMS
async def test_a_modern_client_without_the_extension_waits_for_the_servers_task(tmp_path, form):
    async with a_hub(tmp_path, form) as url, ModernClient(url, capabilities={"elicitation": {}}) as client:
        assert text_of(await client.call("work", {"seconds": 0.2})) == "work done"
        asked = await client.call("ask")
        assert asked["resultType"] == "input_required"
        (key,) = asked["inputRequests"]
        said = await client.call("ask", inputResponses={key: ADA}, requestState=asked["requestState"])
        assert text_of(said) == "hello Ada"
        with pytest.raises(Refused) as refused:
            await client.call("breaks")
        assert refused.value.code == -32050


@FORMS
async def test_a_session_without_tasks_waits_for_the_servers_task(tmp_path, form):
    answers = {"elicitation/create": ADA}
    async with a_hub(tmp_path, form) as url, SessionClient(url, answers=answers, version="2025-06-18") as client:
        work = {"name": "work", "arguments": {"seconds": 0.2}}
        assert text_of(await client.request("tools/call", work)) == "work done"
        said = await client.request("tools/call", {"name": "ask", "arguments": {}})
        assert text_of(said) == "hello Ada"
        assert "_meta" not in said or "related-task" not in str(said["_meta"])


@FORMS
async def test_a_client_that_no_longer_waits_takes_the_servers_task_with_it(tmp_path, form):
    async with a_hub(tmp_path, form) as url, ModernClient(url, capabilities={}) as watcher:
        async with ModernClient(url, capabilities={}) as client, anyio.create_task_group() as calls:
            calls.start_soon(client.call, "work", {"seconds": 60})
            await tasks_there(watcher, "1", cancelled=False)
            calls.cancel_scope.cancel()
        await tasks_there(watcher, "1", cancelled=True)


async def test_a_2025_11_25_task_can_be_made_of_a_2025_11_25_servers_tool(tmp_path):
    answers = {"elicitation/create": ADA}
    async with a_hub(tmp_path, "handshake") as url, SessionClient(url, answers=answers) as client:
        tools = {tool["name"]: tool for tool in (await client.request("tools/list"))["tools"]}
        assert tools["ask"]["execution"] == {"taskSupport": "optional"}, "the hub can wait where its server cannot"
        made = await client.begin("ask")
        result = await client.request("tasks/result", {"taskId": made["taskId"]})
    assert text_of(result) == "hello Ada"
    assert "theirs-" not in str(result)
