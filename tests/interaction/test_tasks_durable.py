"""Tasks outlive the hub they began in: `quantum up` as a child, killed and started anew; two of them at once."""

import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest
from anyio.abc import Process
from reference.hub import NO_MODULES, REFERENCE, reference, running_hub, write_config
from reference.raw_client import PATIENCE_SECONDS, ModernClient, Refused, text_of
from reference.running import listening

from quantum_suite.hub.tasks import work

pytestmark = pytest.mark.anyio

CONFIRM = {"action": "accept", "content": {"confirm": True}}


@dataclass
class Hub:
    """A hub in a process of its own, and a client of it."""

    process: Process
    client: ModernClient

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def a_hub(home: Path, servers: Mapping[str, object], tool: str) -> AsyncIterator[Hub]:
    """Run a hub on `home`, which keeps what an earlier one left there, once `tool` is offered."""
    write_config(home / "mcp.json", servers)
    quantum = str(Path(sys.executable).with_name("quantum"))
    command = [quantum, "up", "--port", "0", "--config", str(home / "mcp.json"), "--json"]
    up = listening([*command, "--data-dir", str(home / "data")])
    async with up as (url, process), ModernClient(url) as client:
        await client.until_offered(tool)
        yield Hub(process, client)


async def until_there(file: Path) -> str:
    with anyio.fail_after(PATIENCE_SECONDS):
        while not file.exists() or not (said := file.read_text()):
            await anyio.sleep(0.02)
    return said


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


REFERENCE_ALONE = {**NO_MODULES, "reference": reference(prefix="", longRunning=["wait_for_file"])}


async def test_after_a_kill_what_only_reads_is_done_again_and_the_rest_says_that_nobody_knows(tmp_path):
    async with a_hub(tmp_path, REFERENCE_ALONE, "slow_compute") as hub:
        again = await hub.client.begin("slow_compute", seconds=1, label="again")
        once = await hub.client.begin("wait_for_file", path=str(tmp_path / "go"))
        asking = await hub.client.begin("confirm_delete", filename="a")
        await hub.client.until(asking, "input_required")
        with anyio.fail_after(PATIENCE_SECONDS):
            while text_of(await hub.client.call("count_waiting")) != "1":
                await anyio.sleep(0.02)
        await hub.kill()

    async with a_hub(tmp_path, REFERENCE_ALONE, "slow_compute") as hub:
        done = await hub.client.until(again)
        doubtful = await hub.client.until(once)
        waiting = await hub.client.until(asking, "input_required")
        await hub.client.answer(asking, dict.fromkeys(waiting["inputRequests"], CONFIRM))
        answered = await hub.client.until(asking)
        assert text_of(await hub.client.call("count_waiting")) == "0", "it was not called a second time"

    assert text_of(done["result"]) == "computed again"
    assert doubtful["status"] == "failed"
    assert "may or may not have been carried out" in doubtful["error"]["message"]
    assert doubtful["error"]["data"] == {"code": "in_doubt", "retryable": False}
    assert text_of(answered["result"]) == "a deleted"


async def test_a_servers_task_is_followed_across_a_kill_and_never_made_twice(tmp_path):
    server = [sys.executable, str(REFERENCE / "task_server.py"), "modern", "--http", "0"]
    async with listening(server) as (upstream, _):
        servers = {"theirs": {"type": "http", "url": upstream, "quantum": {"prefix": ""}}}
        async with a_hub(tmp_path, servers, "work") as hub:
            working, asking = await hub.client.begin("work", seconds=2), await hub.client.begin("ask")
            first = await hub.client.until(asking, "input_required")
            await hub.kill()
        async with a_hub(tmp_path, servers, "work") as hub:
            done = await hub.client.until(working)
            # The questions of the process that is gone went with it; the server's task is asked for them anew.
            task = await hub.client.until(asking, "input_required")
            await hub.client.answer(asking, dict.fromkeys(task["inputRequests"], _named("Ada")))
            if (task := await hub.client.until(asking, "input_required", "completed"))["status"] != "completed":
                await hub.client.answer(asking, dict.fromkeys(task["inputRequests"], _named("Ada")))
                task = await hub.client.until(asking)
            made = text_of(await hub.client.call("count_tasks", {"cancelled": False}))

    assert first["inputRequests"]
    assert text_of(done["result"]) == "work done"
    assert text_of(task["result"]) == "hello Ada"
    assert made == "2"


async def test_a_run_that_a_task_follows_is_the_same_after_a_kill(tmp_path):
    text = "name: steady\nsteps:\n  - {sleep: 2}\noutput: ${{ run.id }}"
    async with a_hub(tmp_path, {}, "orchestrator_run_workflow") as hub:
        await hub.client.call("orchestrator_define_workflow", {"definition": text})
        followed = await hub.client.begin("orchestrator_run_workflow", workflow="steady")
        with anyio.fail_after(PATIENCE_SECONDS):
            while not (before := await _runs(hub.client)):
                await anyio.sleep(0.02)
        await hub.kill()
    async with a_hub(tmp_path, {}, "orchestrator_run_workflow") as hub:
        done = await hub.client.until(followed)
        after = await _runs(hub.client)

    answer = done["result"]["structuredContent"]
    assert (answer["state"], [answer["run"]], [answer["result"]]) == ("completed", before, after)


async def _runs(client: ModernClient) -> list[str]:
    listed = await client.call("orchestrator_list_workflows", {"what": "runs"})
    return [run["run"] for run in listed["structuredContent"]["runs"]]


def _named(name: str) -> dict[str, object]:
    return {"action": "accept", "content": {"name": name}}


async def test_another_hub_on_the_same_data_answers_and_steers_tasks(tmp_path):
    async with a_hub(tmp_path, REFERENCE_ALONE, "slow_compute") as one:
        waiting = await one.client.begin("wait_for_file", path=str(tmp_path / "never"))
        asking = await one.client.begin("confirm_delete", filename="a")
        async with a_hub(tmp_path, REFERENCE_ALONE, "slow_compute") as other:
            task = await other.client.until(asking, "input_required")
            async with other.client.listening(asking) as (agreed, stream):
                await other.client.answer(asking, dict.fromkeys(task["inputRequests"], CONFIRM))
                told = await stream.until("completed")
            await other.client.request("tasks/cancel", {"taskId": waiting})
            assert (await one.client.until(waiting))["status"] == "cancelled"
            with anyio.fail_after(PATIENCE_SECONDS):
                while text_of(await one.client.call("count_waiting")) != "0":
                    await anyio.sleep(0.02)
            with pytest.raises(Refused) as refused:
                await other.client.get("task_" + "0" * 32)

    assert agreed == [asking]
    assert text_of(told[-1]["result"]) == "a deleted"
    assert refused.value.code == -32602


async def test_cancelling_ends_the_tools_child_process(tmp_path):
    async with a_hub(tmp_path, REFERENCE_ALONE, "run_child") as hub:
        task_id = await hub.client.begin("run_child", pid_file=str(tmp_path / "pid"))
        pid = int(await until_there(tmp_path / "pid"))
        assert alive(pid)
        await hub.client.request("tasks/cancel", {"taskId": task_id})
        with anyio.fail_after(PATIENCE_SECONDS):
            while alive(pid):
                await anyio.sleep(0.02)
        assert (await hub.client.until(task_id))["status"] == "cancelled"


async def test_an_orderly_stop_leaves_a_task_to_the_next_hub(tmp_path):
    async with a_hub(tmp_path, REFERENCE_ALONE, "slow_compute") as hub:
        task_id = await hub.client.begin("slow_compute", seconds=2, label="late")
    async with a_hub(tmp_path, REFERENCE_ALONE, "slow_compute") as hub:
        assert text_of((await hub.client.until(task_id))["result"]) == "computed late"


async def test_work_ends_before_the_servers_it_works_with(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        # With its server gone first, a task would take the loss for an answer, were it not for this grace.
        patched.setattr(work, "STARTING_SECONDS", 0)
        async with running_hub(tmp_path, REFERENCE_ALONE) as hub, ModernClient(hub.url) as client:
            await client.until_offered("slow_compute")
            task_id = await client.begin("slow_compute", seconds=1, label="kept")
            await client.until(task_id, "working")
    async with running_hub(tmp_path, REFERENCE_ALONE) as hub, ModernClient(hub.url) as client:
        assert text_of((await client.until(task_id))["result"]) == "computed kept"
