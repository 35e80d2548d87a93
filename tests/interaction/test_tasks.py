"""Long-running tools as tasks, in the form of the extension: what the conformance suite does not look at."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.server.mcpserver import Context, MCPServer
from mcp.types import (
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequiredResult,
    ToolAnnotations,
)
from reference.hub import RunningHub, reference, running_hub
from reference.people import make_key, revoke_key
from reference.raw_client import FINAL, TASKS, ModernClient, Refused, text_of

from quantum_suite.core.principals import Role
from quantum_suite.hub.mounts import Extra

pytestmark = pytest.mark.anyio

CONFIRM = {"action": "accept", "content": {"confirm": True}}


@asynccontextmanager
async def a_hub(home: Path, **options: Any) -> AsyncIterator[RunningHub]:
    async with running_hub(home, {"reference": reference(prefix="", **options)}) as hub:
        async with ModernClient(hub.url) as client:
            await client.until_offered("slow_compute")
        yield hub


@asynccontextmanager
async def a_client(home: Path) -> AsyncIterator[ModernClient]:
    async with a_hub(home) as hub, ModernClient(hub.url) as client:
        yield client


def audit(home: Path) -> list[dict[str, Any]]:
    files = sorted((home / "data" / "audit").rglob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


# -- who may ask -----------------------------------------------------------------------------------------------


async def test_nobody_else_can_see_answer_or_cancel_a_task(tmp_path):
    async with a_hub(tmp_path) as hub:
        theirs = make_key(tmp_path, "other", Role.ADMIN)
        async with ModernClient(hub.url) as owner, ModernClient(hub.url, key=theirs) as other:
            task_id = await owner.begin("confirm_delete", filename="a")
            asked = await owner.until(task_id, "input_required")
            said = []
            for method, params in (
                ("tasks/get", {}),
                ("tasks/update", {"inputResponses": dict.fromkeys(asked["inputRequests"], CONFIRM)}),
                ("tasks/cancel", {}),
            ):
                for wanted in (task_id, "task_" + "x" * 32):
                    with pytest.raises(Refused) as refused:
                        await other.request(method, {"taskId": wanted, **params})
                    said.append((refused.value.code, refused.value.message, refused.value.status))
            async with other.listening(task_id) as (agreed, _):
                assert agreed == []
            still = await owner.get(task_id)

    assert len(set(said)) == 1, "a task of somebody else's is told apart from one that does not exist"
    assert said[0][:2] == (-32602, "Failed to retrieve task: Task not found")
    assert still["status"] == "input_required"


async def test_hostile_ids_are_unknown_ids(tmp_path):
    hostile = ["", "x", "../../etc/passwd", "task_", "task_" + "a" * 31, "task_" + "a" * 4000, "run_1' OR 1=1 --"]
    async with a_client(tmp_path) as client:
        for task_id in (*hostile, "t\u00e4sk"):
            header = {} if task_id.isascii() else {"mcp-name": "=?base64?dMOkc2s=?="}
            with pytest.raises(Refused) as refused:
                await client.request("tasks/get", {"taskId": task_id}, header)
            assert (refused.value.code, refused.value.message) == (
                -32602,
                "Failed to retrieve task: Task not found",
            )
        for wrong in (None, 7, ["a"], {"a": 1}):
            with pytest.raises(Refused) as refused:
                await client.request("tasks/cancel", {"taskId": wrong}, {"mcp-name": str(wrong)})
            assert refused.value.code == -32020


async def test_task_ids_are_random_beyond_guessing(tmp_path):
    async with a_client(tmp_path) as client:
        ids = {await client.begin("slow_compute", seconds=0) for _ in range(20)}
    assert len(ids) == 20
    assert all(len(one.removeprefix("task_")) == 32 for one in ids), "24 bytes in base 64"
    # A time or a counter in it would show as a common prefix.
    assert len({one.removeprefix("task_")[:2] for one in ids}) > 5


async def test_a_revoked_key_neither_reads_its_tasks_nor_has_them_go_on(tmp_path):
    async with a_hub(tmp_path) as hub:
        key = make_key(tmp_path, "gone", Role.ADMIN)
        async with ModernClient(hub.url, key=key) as client, ModernClient(hub.url) as local:
            task_id = await client.begin("confirm_delete", filename="a")
            await client.until(task_id, "input_required")
            revoke_key(tmp_path, "gone")
            again = make_key(tmp_path, "gone", Role.VIEWER)
            async with ModernClient(hub.url, key=again) as successor:
                assert (await successor.get(task_id))["status"] == "input_required"
                revoke_key(tmp_path, "gone")
                await successor.answer(task_id, {"1.confirm": CONFIRM})
            ended: list[dict[str, Any]] = []
            while not ended or ended[-1]["outcome"] == "input_required":
                await anyio.sleep(0.05)
                ended = [one for one in audit(tmp_path) if one["target"] == "confirm_delete"]
            assert await local.call("greet", {"name": "still here"})

    assert ended[-1]["outcome"] == "refused"
    assert ended[-1]["reason"] == "unauthenticated"


# -- what it says ----------------------------------------------------------------------------------------------


async def test_progress_becomes_the_status_message_and_the_audit_log_knows_begin_and_end(tmp_path):
    async with a_client(tmp_path) as client:
        task_id = await client.begin("slow_compute", seconds=1.5, label="x")
        seen = set()
        while (task := await client.get(task_id))["status"] == "working":
            seen.add(task.get("statusMessage"))
            await anyio.sleep(0.02)

    assert any(message and "of 6 - step" in message for message in seen), seen
    assert text_of(task["result"]) == "computed x"
    assert "statusMessage" not in task
    records = [one for one in audit(tmp_path) if one["target"] == "slow_compute"]
    assert [one["outcome"] for one in records] == ["task", "ok"]
    assert records[0]["call_id"] == records[1]["call_id"]
    assert records[0]["reason"] == task_id
    assert records[1]["duration_ms"] >= 1400


async def test_input_is_asked_under_keys_that_are_never_used_twice(tmp_path):
    server: MCPServer[Any] = MCPServer("twice")

    @server.tool(annotations=ToolAnnotations(read_only_hint=True), meta={"quantum/longRunning": True})
    async def interview(ctx: Context[Any, Any]) -> Any:
        schema = {"type": "object", "properties": {"word": {"type": "string"}}}
        said = json.loads(ctx.request_state or "[]")
        answer = (ctx.input_responses or {}).get("word")
        if isinstance(answer, ElicitResult) and answer.content:
            said.append(answer.content["word"])
        if len(said) == 3:
            return " ".join(said)
        question = ElicitRequest(params=ElicitRequestFormParams(message="?", requested_schema=schema))
        return InputRequiredResult(input_requests={"word": question}, request_state=json.dumps(said))

    async with (
        running_hub(tmp_path, {}, extra=[Extra("twice", server, "twice")]) as hub,
        ModernClient(hub.url) as client,
    ):
        task_id = await client.begin("twice_interview")
        keys: list[str] = []
        for word in ("one", "two", "three"):
            task = await client.until(task_id, "input_required")
            (key,) = task["inputRequests"]
            keys.append(key)
            await client.answer(task_id, {key: {"action": "accept", "content": {"word": word}}, "never-asked": {}})
            # An answer to a question that was answered already is no error, and changes nothing.
            await client.answer(task_id, {key: {"action": "accept", "content": {"word": "late"}}})
        task = await client.until(task_id)

    assert len(set(keys)) == 3
    assert text_of(task["result"]) == "one two three"


async def test_an_answer_must_be_an_object(tmp_path):
    async with a_client(tmp_path) as client:
        task_id = await client.begin("confirm_delete", filename="a")
        (key,) = (await client.until(task_id, "input_required"))["inputRequests"]
        for responses in ([], "x", {key: "yes"}, {key: None}):
            with pytest.raises(Refused) as refused:
                await client.request("tasks/update", {"taskId": task_id, "inputResponses": responses})
            assert refused.value.code == -32602
        assert (await client.get(task_id))["status"] == "input_required"


async def test_a_subscription_tells_every_change_and_says_nothing_of_tasks_nobody_named(tmp_path):
    async with a_client(tmp_path) as client:
        named, other = [await client.begin("confirm_delete", filename=name) for name in ("a", "b")]
        await client.until(named, "input_required")
        async with client.listening(named) as (agreed, stream):
            first = await stream.next()
            await client.answer(other, {"1.confirm": CONFIRM})
            await client.answer(named, {"1.confirm": CONFIRM})
            told = await stream.until("completed")

    assert agreed == [named]
    assert first["params"]["status"] == "input_required"
    assert first["params"]["inputRequests"]
    assert {one["taskId"] for one in told} == {named}
    assert text_of(told[-1]["result"]) == "a deleted"
    assert all("io.modelcontextprotocol/subscriptionId" in one["_meta"] for one in told)


async def test_a_subscription_to_what_is_no_list_of_ids_is_refused(tmp_path):
    async with a_client(tmp_path) as client:
        for wanted in ("x", [1], {"a": 1}, ["t"] * 101):
            with pytest.raises(Refused) as refused:
                await client.request("subscriptions/listen", {"notifications": {"taskIds": wanted}})
            assert refused.value.code == -32602


# -- ends ------------------------------------------------------------------------------------------------------


async def test_cancelling_stops_the_call_where_it_works(tmp_path):
    async with a_hub(tmp_path, longRunning=["wait_for_file"]) as hub, ModernClient(hub.url) as client:
        task_id = await client.begin("wait_for_file", path=str(tmp_path / "never"))

        async def waiting(count: str) -> None:
            with anyio.fail_after(25):
                while text_of(await client.call("count_waiting")) != count:
                    await anyio.sleep(0.02)

        await waiting("1")
        assert (await client.request("tasks/cancel", {"taskId": task_id})).keys() == {"resultType", "_meta"}
        await waiting("0")
        task = await client.until(task_id)

    assert task["status"] == "cancelled"
    assert not {"result", "error", "inputRequests"} & task.keys()
    outcomes = [one["outcome"] for one in audit(tmp_path) if one["target"] == "wait_for_file"]
    assert outcomes == ["accepted", "task", "cancelled"]


async def test_the_going_away_of_the_client_does_not_stop_a_task(tmp_path):
    async with a_hub(tmp_path) as hub:
        async with ModernClient(hub.url) as client:
            task_id = await client.begin("slow_compute", seconds=0.5, label="alone")
        async with ModernClient(hub.url) as returned:
            assert text_of((await returned.until(task_id))["result"]) == "computed alone"


async def test_an_operator_says_which_tools_run_long_and_one_that_is_not_marked_stays_as_it_is(tmp_path):
    async with a_hub(tmp_path, longRunning=["echo"]) as hub, ModernClient(hub.url) as client:
        task_id = await client.begin("echo", text="later")
        assert text_of((await client.until(task_id))["result"]) == "later"
        assert text_of(await client.call("greet", {"name": "now"})) == "Hello, now!"
        tools = {tool["name"]: tool for tool in (await client.request("tools/list"))["tools"]}
        assert all("execution" not in tool for tool in tools.values()), "2026-07-28 has no such field"


async def test_a_client_without_the_extension_waits_with_progress(tmp_path):
    async with a_hub(tmp_path) as hub, Client(hub.url) as client:
        told: list[float] = []

        async def progress(done: float, total: float | None, message: str | None) -> None:
            told.append(done)

        result = await client.call_tool("slow_compute", {"seconds": 1, "label": "in"}, progress_callback=progress)
    assert text_of(result.model_dump(by_alias=True)) == "computed in"
    assert len(told) >= 3


async def test_a_person_approves_before_the_task_is_made(tmp_path):
    server: MCPServer[Any] = MCPServer("danger")
    ran = []

    @server.tool(annotations=ToolAnnotations(destructive_hint=True), meta={"quantum/longRunning": True})
    def wipe(what: str) -> str:
        ran.append(what)
        return f"wiped {what}"

    async with running_hub(tmp_path, {}, extra=[Extra("danger", server, "danger")]) as hub:
        key = make_key(tmp_path, "ops")
        async with ModernClient(hub.url, key=key) as client:
            asked = await client.call("danger_wipe", {"what": "disk"})
            assert asked["resultType"] == "input_required"
            assert not ran
            yes = {"quantum_approval": {"action": "accept", "content": {"approve": True}}}
            made = await client.call(
                "danger_wipe", {"what": "disk"}, inputResponses=yes, requestState=asked["requestState"]
            )
            assert made["resultType"] == "task"
            assert not {"requestState", "inputRequests"} & made.keys()
            task = await client.until(made["taskId"])
    assert text_of(task["result"]) == "wiped disk"
    assert ran == ["disk"]


async def test_what_is_kept_of_a_call_holds_no_credential_and_no_token_of_one_request(tmp_path):
    seen: dict[str, Any] = {}
    server: MCPServer[Any] = MCPServer("mirror")

    @server.tool(annotations=ToolAnnotations(read_only_hint=True), meta={"quantum/longRunning": True})
    def mirror(ctx: Context[Any, Any]) -> str:
        seen.update(ctx.request_context.meta or {})
        return "seen"

    async with running_hub(tmp_path, {}, extra=[Extra("m", server, "m")]) as hub:
        key = make_key(tmp_path, "holder", Role.ADMIN)
        async with ModernClient(hub.url, key=key) as client:
            meta = {
                "progressToken": "mine",
                "traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01",
                "api_key": "s3cret",
            }
            made = await client.call("m_mirror", {}, _meta=meta)
            await client.until(made["taskId"])

    assert seen["traceparent"] == meta["traceparent"]
    assert "api_key" not in seen
    assert seen.get("progressToken") != "mine"
    assert len(seen["quantum/idempotencyKey"]) == 64
    assert made["taskId"] not in json.dumps(seen)
    assert TASKS in json.dumps(seen)


async def test_a_task_can_be_asked_for_while_many_others_run(tmp_path):
    async with a_client(tmp_path) as client:
        ids = [await client.begin("slow_compute", seconds=0.3, label=str(number)) for number in range(20)]
        ended = [await client.until(one, *FINAL) for one in ids]
    assert [text_of(task["result"]) for task in ended] == [f"computed {number}" for number in range(20)]
