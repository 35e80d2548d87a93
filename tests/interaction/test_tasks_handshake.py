"""Long-running tools as tasks in the form of 2025-11-25."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from reference.hub import RunningHub, reference, running_hub
from reference.raw_client import FINAL, PATIENCE_SECONDS, ModernClient, Refused, SessionClient, text_of

pytestmark = pytest.mark.anyio

RELATED = "io.modelcontextprotocol/related-task"
ACCEPTED = {"action": "accept", "content": {"confirm": True, "name": "Ada"}}


@asynccontextmanager
async def a_hub(home: Path) -> AsyncIterator[RunningHub]:
    async with running_hub(home, {"reference": reference(prefix="")}) as hub:
        async with ModernClient(hub.url) as client:
            await client.until_offered("slow_compute")
        yield hub


async def until(client: SessionClient, task_id: str, *statuses: str) -> dict[str, Any]:
    wanted = frozenset(statuses) or FINAL
    with anyio.fail_after(PATIENCE_SECONDS):
        while (task := await client.request("tasks/get", {"taskId": task_id}))["status"] not in wanted:
            await anyio.sleep(0.03)
    return task


async def test_the_form_is_offered_to_the_one_revision_that_has_it(tmp_path):
    async with a_hub(tmp_path) as hub:
        async with SessionClient(hub.url) as client:
            assert client.server["capabilities"]["tasks"] == {
                "list": {},
                "cancel": {},
                "requests": {"tools": {"call": {}}},
            }
            tools = {tool["name"]: tool for tool in (await client.request("tools/list"))["tools"]}
        assert tools["slow_compute"]["execution"] == {"taskSupport": "optional"}
        assert tools["failing_job"]["execution"] == {"taskSupport": "required"}
        assert "execution" not in tools["greet"]
        async with SessionClient(hub.url, version="2025-06-18") as older:
            assert "tasks" not in older.server["capabilities"]
            tools = {tool["name"]: tool for tool in (await older.request("tools/list"))["tools"]}
            assert "execution" not in tools["slow_compute"]
            call = {"name": "slow_compute", "arguments": {"seconds": 0}, "task": {"ttl": 1000}}
            assert text_of(await older.request("tools/call", call)) == "computed", "an unknown field is overlooked"
            with pytest.raises(Refused) as refused:
                await older.request("tasks/list")
            assert refused.value.code == -32601


async def test_a_task_goes_from_creation_to_its_result(tmp_path):
    async with a_hub(tmp_path) as hub, SessionClient(hub.url) as client:
        made = await client.begin("slow_compute", ttl=60_000, seconds=0.5, label="old")
        assert made["status"] == "working"
        assert made["ttl"] == 60_000
        assert isinstance(made["pollInterval"], int)
        assert {"createdAt", "lastUpdatedAt"} <= made.keys()
        assert not {"ttlMs", "pollIntervalMs", "resultType"} & made.keys()
        result = await client.request("tasks/result", {"taskId": made["taskId"]})
        ended = await client.request("tasks/get", {"taskId": made["taskId"]})
        listed = await client.request("tasks/list")

    assert text_of(result) == "computed old"
    assert result["_meta"][RELATED] == {"taskId": made["taskId"]}
    assert "resultType" not in result
    assert ended["status"] == "completed"
    assert not {"result", "_meta"} & ended.keys()
    assert [task["taskId"] for task in listed["tasks"]] == [made["taskId"]]
    assert RELATED not in str(listed)


async def test_a_tools_error_is_a_failed_task_whose_result_says_so(tmp_path):
    async with a_hub(tmp_path) as hub, SessionClient(hub.url) as client:
        failing, broken = await client.begin("failing_job"), await client.begin("protocol_error_job")
        result = await client.request("tasks/result", {"taskId": failing["taskId"]})
        assert result["isError"] is True
        assert (await until(client, failing["taskId"], "failed"))["statusMessage"]
        with pytest.raises(Refused) as refused:
            await client.request("tasks/result", {"taskId": broken["taskId"]})
        assert refused.value.code == -32603
        assert (await until(client, broken["taskId"]))["status"] == "failed"


async def test_what_is_declared_decides_how_a_tool_may_be_called(tmp_path):
    async with a_hub(tmp_path) as hub, SessionClient(hub.url) as client:
        with pytest.raises(Refused) as not_a_task:
            await client.begin("greet", name="x")
        with pytest.raises(Refused) as a_task_alone:
            await client.request("tools/call", {"name": "failing_job", "arguments": {}})
        for task in ("yes", {"ttl": -1}, {"ttl": "long"}, {"ttl": True}):
            call = {"name": "slow_compute", "arguments": {"seconds": 0}, "task": task}
            with pytest.raises(Refused) as malformed:
                await client.request("tools/call", call)
            assert malformed.value.code == -32602
    assert not_a_task.value.code == -32601
    assert a_task_alone.value.code == -32601


async def test_the_result_stream_carries_the_tasks_questions(tmp_path):
    answers = {"elicitation/create": ACCEPTED}
    async with a_hub(tmp_path) as hub, SessionClient(hub.url, answers=answers) as client:
        made = await client.begin("multi_input")
        await until(client, made["taskId"], "input_required")
        result = await client.request("tasks/result", {"taskId": made["taskId"]})

    assert text_of(result) == "Ada agrees: True"
    assert [question["method"] for question in client.asked] == ["elicitation/create"] * 2
    assert all(q["params"]["_meta"][RELATED] == {"taskId": made["taskId"]} for q in client.asked)


async def test_a_question_that_the_client_refuses_fails_the_task_with_its_words(tmp_path):
    async with a_hub(tmp_path) as hub, SessionClient(hub.url) as client:
        made = await client.begin("confirm_delete", filename="a")
        with pytest.raises(Refused) as refused:
            await client.request("tasks/result", {"taskId": made["taskId"]})
        assert (refused.value.code, refused.value.message) == (-32601, "no")
        assert (await until(client, made["taskId"]))["status"] == "failed"


async def test_cancelling_shows_at_once_and_only_once(tmp_path):
    async with a_hub(tmp_path) as hub, SessionClient(hub.url) as client:
        made = await client.begin("slow_compute", seconds=60)
        cancelled = await client.request("tasks/cancel", {"taskId": made["taskId"]})
        assert cancelled["status"] == "cancelled"
        with pytest.raises(Refused) as refused:
            await client.request("tasks/cancel", {"taskId": made["taskId"]})
        assert refused.value.code == -32602
        assert "already in terminal status 'cancelled'" in refused.value.message
        with pytest.raises(Refused):
            await client.request("tasks/result", {"taskId": made["taskId"]})


async def test_the_session_is_told_how_its_task_goes_on(tmp_path):
    async with a_hub(tmp_path) as hub, SessionClient(hub.url) as client:
        ready = anyio.Event()
        async with anyio.create_task_group() as streams:
            streams.start_soon(client.listen, ready)
            await ready.wait()
            made = await client.begin("slow_compute", seconds=0.6)
            with anyio.fail_after(PATIENCE_SECONDS):
                while not any(n["params"].get("status") == "completed" for n in client.notified):
                    await anyio.sleep(0.02)
            streams.cancel_scope.cancel()
    told = [n for n in client.notified if n["method"] == "notifications/tasks/status"]
    assert told[-1]["params"]["taskId"] == made["taskId"]
    assert RELATED not in str(told)


async def test_both_forms_show_the_same_tasks(tmp_path):
    async with a_hub(tmp_path) as hub, SessionClient(hub.url) as old, ModernClient(hub.url) as new:
        made = await old.begin("confirm_delete", filename="a")
        task = await new.until(made["taskId"], "input_required")
        await new.answer(made["taskId"], dict.fromkeys(task["inputRequests"], ACCEPTED))
        assert text_of(await old.request("tasks/result", {"taskId": made["taskId"]})) == "a deleted"
        for method in ("tasks/result", "tasks/list"):
            with pytest.raises(Refused) as refused:
                await new.request(method, {"taskId": made["taskId"]})
            assert refused.value.code == -32601


async def test_a_task_is_gone_when_its_time_is_over(tmp_path):
    async with a_hub(tmp_path) as hub, SessionClient(hub.url) as client, ModernClient(hub.url) as modern:
        made = await client.begin("confirm_delete", ttl=700, filename="a")
        assert made["ttl"] == 700
        with pytest.raises(Refused) as expired:
            pytest.fail(f"it ended instead: {await until(client, made['taskId'])}")
        assert (expired.value.code, expired.value.message) == (-32602, "Failed to retrieve task: Task has expired")
        for method, params in (("tasks/get", {}), ("tasks/update", {"inputResponses": {}}), ("tasks/cancel", {})):
            with pytest.raises(Refused) as refused:
                await modern.request(method, {"taskId": made["taskId"], **params})
            assert refused.value.code == -32602
        assert (await client.request("tasks/list"))["tasks"] == []
        with pytest.raises(Refused) as bad_cursor:
            await client.request("tasks/list", {"cursor": "not one of yours"})
        assert bad_cursor.value.code == -32602
