"""Events start workflows through the real hub: its own scanner, event store, saga and durable orchestrator."""

import json
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from reference.answers import read, told
from reference.hub import RunningHub, eventually, running_hub, tool_names
from reference.people import client_with, make_key

pytestmark = pytest.mark.anyio

# It scans again what was just scanned: left alone, that would never end.
RESCAN = """
name: rescan
on:
  - event: qsecure.scan.completed
    where: ${{ event.data.counts.high > 0 }}
    key: ${{ event.data.root }}
    inputs: {path: "${{ event.data.root }}", scan: "${{ event.data.scan }}"}
inputs: {path: {type: string, required: true}, scan: {type: string, required: true}}
steps:
  - id: again
    call: qsecure_scan_repository
    with: {path: "${{ inputs.path }}"}
output: {first: "${{ inputs.scan }}", second: "${{ steps.again.result.scan }}"}
"""


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    return told(await client.call_tool(tool, arguments, read_timeout_seconds=60))


async def runs(client: Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await call(client, "orchestrator_list_workflows", what="runs"))["runs"]
    return found


def following(hub: RunningHub) -> bool:
    """Whether the consumer that starts workflows takes in what comes."""
    return b'quantum_projection_troubled{projection="triggers"} 0.0' in hub.gateway.metrics.render()


async def test_a_scan_starts_the_workflow_that_listens_to_it_once_and_not_in_circles(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    repo.mkdir()
    (repo / "a.py").write_text("import subprocess\nsubprocess.run(input(), shell=True)\n")
    async with running_hub(tmp_path, {}, modules=True) as hub:
        key = make_key(tmp_path, "ada", workspaces=[str(repo)])
        async with client_with(hub.url, key) as client:

            async def mounted() -> bool:
                wanted = {"qsecure_scan_repository", "orchestrator_define_workflow"}
                return wanted <= await tool_names(client) and following(hub)

            await eventually(mounted)
            kept = await call(client, "orchestrator_define_workflow", definition=RESCAN)
            assert kept["problems"] == []
            assert not (tmp_path / "data" / "workflows.db").exists()
            scan = await call(client, "qsecure_scan_repository", path=str(repo))

            async def started() -> list[dict[str, Any]]:
                # Asking for runs opens the engine: first it has to be opened by the event.
                return await runs(client) if (tmp_path / "data" / "workflows.db").exists() else []

            (run,) = await eventually(started, seconds=60)
            ended = await call(client, "orchestrator_workflow_status", run=run["run"], wait_seconds=50)
            assert (ended["state"], ended["result"]["first"]) == ("completed", scan["scan"])
            assert ended["result"]["second"] != scan["scan"]
            shown = json.loads(await read(client, f"quantum://orchestrator/runs/{run['run']}"))
            assert (shown["owner"], shown["started_by"]["stream"]) == ("key:ada", f"qsecure.scan/{scan['scan']}")

            # The key is free again: another scan of somebody's starts a second run, and the runs' own scans none.
            async def second() -> bool:
                return len(await runs(client)) == 2

            await call(client, "qsecure_scan_repository", path=str(repo))
            await eventually(second, seconds=60)
            for one in await runs(client):
                await call(client, "orchestrator_workflow_status", run=one["run"], wait_seconds=50)
            assert len(await runs(client)) == 2
            listed = await call(client, "orchestrator_list_workflows")
            (row,) = [one for one in listed["definitions"] if one["name"] == "rescan"]
            assert row["on"][0]["event"] == "qsecure.scan.completed"
