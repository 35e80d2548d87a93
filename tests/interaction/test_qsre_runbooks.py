"""Runbooks through the real hub: planned, approved, verified, undone, and noted in the incident."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations
from reference.answers import read, text_of, told
from reference.hub import eventually, running_hub

from quantum_suite.hub.mounts import Extra

pytestmark = pytest.mark.anyio

RUNBOOK = """
runbook: go_back
description: Goes back to the release before.
inputs:
  release: {type: string, required: true, description: Where to go back to.}
steps:
  - id: look
    title: Look which release runs
    call: ops_health
  - id: back
    title: Go back
    call: ops_release
    with: {name: "${{ inputs.release }}"}
    undo:
      call: ops_release
      with: {name: "${{ steps.look.result.release }}"}
    verify:
      call: ops_health
      holds: result.errors == 0
      within_seconds: 0.5
      every_seconds: 0.1
"""


@dataclass
class Fleet:
    """What the tools work on: release 41 is broken, 40 is well."""

    release: str = "41"
    history: list[str] = field(default_factory=list)

    def server(self) -> MCPServer[Any]:
        server: MCPServer[Any] = MCPServer("ops")

        @server.tool(annotations=ToolAnnotations(read_only_hint=True))
        def health() -> dict[str, Any]:
            return {"release": self.release, "errors": 0 if self.release == "40" else 7}

        @server.tool(annotations=ToolAnnotations(read_only_hint=False, destructive_hint=False))
        def release(name: str) -> dict[str, Any]:
            self.release = name
            self.history.append(name)
            return {"release": name}

        return server


@asynccontextmanager
async def fleet_hub(tmp_path: Path, fleet: Fleet) -> AsyncIterator[Client]:
    home, workspace = tmp_path / "home", tmp_path / "workspace"
    home.mkdir(exist_ok=True)
    workspace.mkdir(exist_ok=True)
    (workspace / "go_back.yaml").write_text(RUNBOOK)
    extra = [Extra("ops", fleet.server(), "ops")]
    async with (
        running_hub(home, {}, extra=extra, modules=True, workspaces=(workspace,)) as hub,
        Client(hub.url) as client,
    ):
        yield client


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    return told(await client.call_tool(tool, arguments))


async def approve(client: Client, run: str, *, approved: bool) -> str:
    """Answer what a run asks; returns the question."""

    async def asked() -> dict[str, Any] | None:
        status = await call(client, "orchestrator_workflow_status", run=run)
        assert status["state"] not in ("failed", "completed"), status
        return status["asks"]

    question: str = (await eventually(asked))["question"]
    await call(client, "orchestrator_approve_workflow", run=run, question=question, approved=approved)
    return question


async def ended(client: Client, run: str) -> str:
    async def final() -> str | None:
        status = await call(client, "orchestrator_workflow_status", run=run, wait_seconds=5)
        return status["state"] if status["state"] in ("completed", "failed", "cancelled") else None

    return await eventually(final)


async def timeline(client: Client, incident: str) -> str:
    return await read(client, f"quantum://qsre/incidents/{incident}/timeline")


async def test_a_runbook_is_planned_then_approved_verified_and_noted(tmp_path: Path) -> None:
    fleet = Fleet()
    async with fleet_hub(tmp_path, fleet) as client:
        incident = (await call(client, "qsre_manage_incident", action="open", text="Errors"))["incident"]
        asked = {"runbook": "go_back.yaml", "inputs": {"release": "40"}, "incident": incident}
        plan = await call(client, "qsre_run_runbook", **asked)
        assert plan["run"] is None
        assert [(step["id"], step["effect"]) for step in plan["steps"]] == [
            ("look", "reads"),
            ("back", "changes"),
            ("back", "verifies"),
        ]
        assert plan["steps"][1]["undo"] == "ops_release"
        assert plan["steps"][1]["arguments"] == {"name": "40"}
        assert fleet.history == []

        other = {**asked, "inputs": {"release": "39"}, "plan": plan["plan"]}
        refused = await client.call_tool("qsre_run_runbook", other)
        assert refused.is_error
        assert "not what was planned" in text_of(refused)

        run = (await call(client, "qsre_run_runbook", **asked, plan=plan["plan"]))["run"]
        assert await approve(client, run, approved=True) == "Go back: call ops_release with name=40?"
        assert await ended(client, run) == "completed"
        assert fleet.history == ["40"]
        page = await timeline(client, incident)
        for line in ("Runbook go_back -> begun", "Go back -> done", "Go back: verified", "every step done"):
            assert line in page
        assert f"quantum://orchestrator/runs/{run}" in page


async def test_what_does_not_hold_is_undone_and_what_nobody_wants_is_not_done(tmp_path: Path) -> None:
    fleet = Fleet()
    async with fleet_hub(tmp_path, fleet) as client:
        incident = (await call(client, "qsre_manage_incident", action="open", text="Errors"))["incident"]
        asked = {"runbook": "go_back.yaml", "inputs": {"release": "39"}, "incident": incident}
        plan = (await call(client, "qsre_run_runbook", **asked))["plan"]
        run = (await call(client, "qsre_run_runbook", **asked, plan=plan))["run"]
        await approve(client, run, approved=True)
        assert await ended(client, run) == "failed"

        async def undone() -> bool:
            return "failed or cancelled" in await timeline(client, incident)

        assert await eventually(undone)
        assert fleet.history == ["39", "41"]

        run = (await call(client, "qsre_run_runbook", **asked, plan=plan))["run"]
        await approve(client, run, approved=False)
        assert await ended(client, run) == "failed"
        assert fleet.history == ["39", "41"]


async def test_the_shipped_runbooks_can_be_planned_with_tools_that_are_there(tmp_path: Path) -> None:
    async with fleet_hub(tmp_path, Fleet()) as client:
        common = {"tool": "ops_release", "arguments": {"name": "40"}, "bad_while": "(errors > 0)[1m:5s]"}
        plan = await call(client, "qsre_run_runbook", runbook="rollback_deployment", inputs=common)
        assert [(step["tool"], step["effect"], step["undo"]) for step in plan["steps"]] == [
            ("ops_release", "changes", ""),
            ("qsre_query_metrics", "verifies", ""),
        ]
        both = {**common, "undo_tool": "ops_release", "undo_arguments": {"name": "41"}}
        plan = await call(client, "qsre_run_runbook", runbook="rollback_deployment", inputs=both)
        assert plan["steps"][0]["undo"] == "ops_release"
        restart = {**common, "up_query": "(up == 1)[10s:5s]"}
        plan = await call(client, "qsre_run_runbook", runbook="restart_and_verify", inputs=restart)
        assert [step["effect"] for step in plan["steps"]] == ["changes", "verifies", "verifies"]
        for inputs, said in (
            ({**common, "tool": "ops_relaese"}, "Did you mean 'ops_release'?"),
            ({**common, "arguments": {"nam": "40"}}, "nam"),
            ({"tool": "ops_release", "arguments": {"name": "40"}}, "bad_while"),
            ({**common, "arguments": {"name": "${{ run.id }}"}}, "holds an expression"),
        ):
            wrong = await client.call_tool(
                "qsre_run_runbook", {"runbook": "rollback_deployment", "inputs": inputs}
            )
            assert wrong.is_error, inputs
            assert said in text_of(wrong)
