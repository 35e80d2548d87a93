"""The shipped workflows over the suite's real tools, called through the real hub."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.types import TextContent
from reference.hub import RunningHub, eventually, running_hub, tool_names
from reference.people import client_with, make_key
from reference.services import event_log

from quantum_suite.services.definitions.memory import MemoryDefinitionStore
from quantum_suite.services.objects.memory import MemoryObjectStore
from quantum_suite.services.workflows.composite.composites import Composites
from quantum_suite.services.workflows.composite.shipped import SHIPPED, shipped_sources
from quantum_suite.services.workflows.interface import APPROVAL_STATUS, Owner, Verdict
from quantum_suite.services.workflows.memory import MemoryWorkflows
from quantum_suite.services.workflows.tool_calls import Progress, ToolCall
from quantum_suite.services.workflows.tool_catalogue import ToolOffer
from quantum_suite.tools.orchestrator.actions import standard_actions
from quantum_suite.tools.orchestrator.postures import POSTURE_EVENTS

pytestmark = pytest.mark.anyio
ADA = Owner("key:ada", ("operator",))


@dataclass
class OverTheWire:
    """Tools as a client of the hub sees and calls them."""

    client: Client

    async def offers(self, owner: Owner) -> Mapping[str, ToolOffer]:
        tools = (await self.client.list_tools(cache_mode="bypass")).tools
        return {
            tool.name: ToolOffer(
                tool.name,
                tool.input_schema,
                tool.output_schema,
                destructive=tool.annotations is None or tool.annotations.destructive_hint is not False,
            )
            for tool in tools
        }

    async def call(self, owner: Owner, call: ToolCall, progress: Progress | None = None) -> dict[str, Any]:
        result = await self.client.call_tool(call.tool, dict(call.arguments), read_timeout_seconds=60)
        text = [{"type": "text", "text": block.text} for block in result.content if isinstance(block, TextContent)]
        return {
            "resultType": "complete",
            "content": text,
            "structuredContent": result.structured_content,
            "isError": result.is_error,
        }


def client_of(hub: RunningHub, workspace: Path) -> AbstractAsyncContextManager[Client]:
    """Connect as an operator who may look at one directory."""
    return client_with(hub.url, make_key(hub.config.parent, "ada", workspaces=[str(workspace)]))


async def test_the_shipped_workflows_fit_the_tools_there_are_and_judge_a_change(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    repo.mkdir()
    (repo / "a.py").write_text("import subprocess\nsubprocess.run(input(), shell=True)\neval(input())\n")
    async with running_hub(tmp_path, {}, modules=True) as hub, client_of(hub, repo) as client:

        async def mounted() -> bool:
            return "qsecure_scan_repository" in await tool_names(client)

        await eventually(mounted)
        wire, objects = OverTheWire(client), MemoryObjectStore()
        actions = standard_actions(event_log(POSTURE_EVENTS), objects)
        composites = Composites(wire, MemoryDefinitionStore(), actions, wire)
        for name in SHIPPED:
            assert (await composites.check(shipped_sources()[name][1], ADA))[1] == []
        async with MemoryWorkflows(composites.workflows()) as engine:
            inputs = {"path": str(repo), "severity_at_least": "low"}
            run = await engine.start("secure_change", inputs, ADA)

            async def asked() -> dict[str, Any] | None:
                standing = await engine.get(run.id)
                assert standing.failure is None, standing.failure
                question: dict[str, Any] | None = standing.status.get(APPROVAL_STATUS)
                return question

            groups = (await eventually(asked, seconds=60))["details"]["about"]["groups"]
            assert "a.py:2" in {place for group in groups for place in group["places"]}
            await engine.approve(run.id, Verdict(False, "ada", "shell"))
            ended = await engine.wait(run.id, 20)
            assert (ended.state, ended.result["decision"]) == ("completed", "refused")
            report = (await objects.get(ended.result["report"])).decode()
            assert "**Refused** by `ada`: shell." in report
            assert "## Not assessed" in report
            night = await engine.start("nightly_posture", {"workspaces": [str(repo), "/absent"]}, ADA)
            ended = await engine.wait(night.id, 60)
            assert (ended.failure, ended.result["not_scanned"]) == (None, 1)
            assert ended.result["findings"] >= 2
