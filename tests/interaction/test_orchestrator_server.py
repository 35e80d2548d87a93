"""Workflows over MCP, through the real hub: started, followed, decided, steered and written by several people."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp.types import ResourceLink
from reference.answers import read, refusal, text_of, told
from reference.hub import eventually, running_hub, tool_names
from reference.offered_tools import OfferedTools, finding, security_tools
from reference.people import Person, client_with, make_key
from reference.services import event_log

from quantum_suite.core.errors import ConfigurationError
from quantum_suite.core.principals import Role
from quantum_suite.hub.mounts import Extra
from quantum_suite.servers.module import Services
from quantum_suite.servers.orchestrator import build
from quantum_suite.services.capacity.memory import MemoryCapacity
from quantum_suite.services.definitions.memory import MemoryDefinitionStore
from quantum_suite.services.objects.memory import MemoryObjectStore
from quantum_suite.services.workflows.composite.composites import Composites
from quantum_suite.services.workflows.interface import Workflow, Workflows
from quantum_suite.services.workflows.memory import MemoryWorkflows
from quantum_suite.services.workspaces import Workspaces
from quantum_suite.tools.orchestrator.actions import standard_actions
from quantum_suite.tools.orchestrator.postures import POSTURE_EVENTS

pytestmark = pytest.mark.anyio

QUESTION = "2 findings in /repos/change are high or worse. Let the change through?"
ASKING = "name: asking\nsteps: [{id: ok, approval: {question: Go?, approvers: APPROVERS}}]\noutput: done"


@dataclass
class House:
    """A hub with an orchestrator behind it, and clients by role."""

    home: Path
    url: str
    tools: OfferedTools
    engine: MemoryWorkflows

    def client(
        self, role: Role | None = None, name: str = "one", **more: Any
    ) -> AbstractAsyncContextManager[Client]:
        """Connect with a key of a role; without one, as the person at this machine (an admin)."""
        return client_with(self.url, make_key(self.home, name, role) if role else None, **more)


@asynccontextmanager
async def house(home: Path) -> AsyncIterator[House]:
    tools = OfferedTools()
    security_tools(tools, [finding(1), finding(2, kind="secret", family="keys", severity="critical")])
    objects, events = MemoryObjectStore(), event_log(POSTURE_EVENTS)
    composites = Composites(tools, MemoryDefinitionStore(), standard_actions(events, objects), tools)

    async def nothing(_: object, arguments: object) -> object:
        return arguments

    hubs_own = Workflow("hub.task", nothing)
    async with MemoryWorkflows([*composites.workflows(), hubs_own]) as engine:
        services = Services(
            home / "data",
            Workspaces(()),
            MemoryCapacity(1),
            events,
            objects=objects,
            open_workflows=opened(engine),
            composites=composites,
        )
        module = build(services)
        async with running_hub(home, {}, extra=[Extra("orchestrator", module.server, "orchestrator")]) as hub:
            yield House(home, hub.url, tools, engine)


def opened(engine: MemoryWorkflows) -> Callable[[], Awaitable[Workflows]]:
    async def open_workflows() -> Workflows:
        return engine

    return open_workflows


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    return told(await client.call_tool(f"orchestrator_{tool}", arguments))


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    return refusal(await client.call_tool(f"orchestrator_{tool}", arguments))


async def asking(client: Client, run: str) -> dict[str, Any]:
    async def status() -> dict[str, Any] | None:
        answer = await call(client, "workflow_status", run=run)
        return answer if answer["asks"] else None

    return await eventually(status)


async def test_a_wrong_workflow_is_refused_by_the_name_of_its_argument(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.client() as client:
        assert await refused(client, "start_workflow", workflow="secure_chang") == (
            "workflow: There is no workflow 'secure_chang'. Did you mean 'secure_change'?"
        )
        assert await refused(client, "start_workflow", workflow="secure_change", version=99) == (
            "version: There is no version 99 of definition 'secure_change'. Leave it out for the newest."
        )


async def test_a_change_is_scanned_decided_and_reported(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.client() as client:
        started = await call(
            client, "start_workflow", workflow="secure_change", inputs={"path": "/repos/change"}, wait_seconds=0
        )
        run = started["run"]
        asked = await asking(client, run)
        assert (asked["state"], asked["asks"]["question"], asked["asks"]["yours"]) == ("waiting", QUESTION, True)
        assert asked["asks"]["details"]["about"]["groups"][0]["kind"] == "secret"
        await call(client, "approve_workflow", run=run, question=QUESTION, approved=True, reason="test keys")
        result = await client.call_tool("orchestrator_workflow_status", {"run": run, "wait_seconds": 20})
        ended = result.structured_content
        assert ended is not None
        assert (ended["state"], ended["result"]["decision"]) == ("completed", "approved")
        links = [block.uri for block in result.content if isinstance(block, ResourceLink)]
        assert links == [f"quantum://orchestrator/runs/{run}", f"quantum://orchestrator/runs/{run}/report"]
        report = await read(client, links[1])
        assert "**Approved** by `local`: test keys. There were 2 findings at least high." in report
        assert "**JavaScript**: No engine reads it." in report
        steps = json.loads(await read(client, f"{links[0]}/steps"))["steps"]
        assert [step["name"] for step in steps][:4] == [
            "scan",
            "pages[0].page",
            "triage",
            "explanations[0].explain",
        ]
        graph = await read(client, f"{links[0]}/graph")
        assert graph.startswith("flowchart TD\n")
        assert "class n1 completed" in graph
        shown = json.loads(await read(client, links[0]))
        assert shown["inputs"] == {"path": "/repos/change"}
        assert set(shown["links"]) == {"steps", "graph", "report"}


async def test_what_a_refused_change_comes_to_is_in_its_report(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.client() as client:
        run = (await call(client, "start_workflow", workflow="secure_change", inputs={"path": "/repos/change"}))[
            "run"
        ]
        await asking(client, run)
        await call(client, "approve_workflow", run=run, question=QUESTION, approved=False, reason="leaked key")
        ended = await call(client, "workflow_status", run=run, wait_seconds=20)
        assert (ended["state"], ended["result"]["decision"]) == ("completed", "refused")
        assert "**Refused** by `local`: leaked key." in await read(client, f"{ended['uri']}/report")


async def test_runs_and_definitions_are_seen_by_their_owner_and_admins_alone(tmp_path: Path) -> None:
    async with (
        house(tmp_path) as home,
        home.client() as admin,
        home.client(Role.OPERATOR, "ada") as ada,
        home.client(Role.OPERATOR, "bob") as bob,
    ):
        await call(ada, "define_workflow", definition=ASKING.replace("APPROVERS", "[]"))
        run = (await call(ada, "start_workflow", workflow="asking"))["run"]
        await asking(ada, run)
        for tool, arguments in (
            ("workflow_status", {}),
            ("control_workflow", {"action": "cancel"}),
        ):
            assert await refused(bob, tool, run=run, **arguments) == (
                f"run: There is no run {run}. List the runs."
            )
        assert await refused(bob, "start_workflow", workflow="asking") == (
            "workflow: There is no workflow 'asking'. List the workflows."
        )
        for uri in (f"runs/{run}", f"runs/{run}/steps", f"runs/{run}/graph", "definitions/asking"):
            with pytest.raises(MCPError):
                await read(bob, f"quantum://orchestrator/{uri}")
        assert json.loads(await read(bob, "quantum://orchestrator/runs/latest")) == {"runs": []}
        assert (await call(bob, "list_workflows", what="runs"))["runs"] == []
        assert [one["run"] for one in (await call(admin, "list_workflows", what="runs"))["runs"]] == [run]
        cancelled = await call(admin, "control_workflow", run=run, action="cancel")
        assert cancelled["state"] == "cancelled"
        listed = [str(resource.uri) for resource in (await ada.list_resources()).resources]
        assert "quantum://orchestrator/runs/latest" in listed
        assert not any(run in uri for uri in listed)


async def test_only_those_whom_an_approval_names_may_answer_it_and_they_see_the_run(tmp_path: Path) -> None:
    async with (
        house(tmp_path) as home,
        home.client(Role.OPERATOR, "ada", elicitation_callback=Person()) as ada,
        home.client(Role.OPERATOR, "bob", elicitation_callback=Person()) as bob,
        home.client() as admin,
    ):
        await call(ada, "define_workflow", definition=ASKING.replace("APPROVERS", "['key:bob']"))
        run = (await call(ada, "start_workflow", workflow="asking"))["run"]
        assert (await asking(ada, run))["asks"]["yours"] is False
        for other in (ada, admin):
            told = await refused(other, "approve_workflow", run=run, question="Go?", approved=True)
            assert "may not answer this. It is for key:bob." in told
        waiting = (await call(bob, "list_workflows", what="approvals"))["runs"]
        assert [(one["run"], one["asks"]["yours"]) for one in waiting] == [(run, True)]
        assert "asks something else now: Go?" in await refused(
            bob, "approve_workflow", run=run, question="Stop?", approved=True
        )
        told = await refused(bob, "control_workflow", run=run, action="cancel")
        assert told == f"Run {run} belongs to somebody else. Its owner or an admin may do that."
        await call(bob, "approve_workflow", run=run, question="Go?", approved=True)
        assert (await call(ada, "workflow_status", run=run, wait_seconds=20))["result"] == "done"
        assert "There is no run" in await refused(bob, "workflow_status", run=run)


async def test_a_run_cannot_answer_its_own_approval(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.client() as client:
        await call(client, "define_workflow", definition=ASKING.replace("APPROVERS", "[]"))
        run = (await call(client, "start_workflow", workflow="asking"))["run"]
        await asking(client, run)
        result = await client.call_tool(
            "orchestrator_approve_workflow",
            {"run": run, "question": "Go?", "approved": True},
            meta={"quantum/idempotencyKey": "run_x:1"},
        )
        assert text_of(result) == "A run cannot answer approvals: people do. Have a person call this."


async def test_a_start_under_one_idempotency_key_starts_one_run(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.client() as client:
        await call(client, "define_workflow", definition="name: quick\nsteps: [{sleep: 0}]")
        runs = set()
        for _ in range(2):
            result = await client.call_tool(
                "orchestrator_start_workflow",
                {"workflow": "quick"},
                meta={"quantum/idempotencyKey": "run_x:1"},
            )
            runs.add(told(result)["run"])
        assert len(runs) == 1


async def test_a_run_is_followed_to_its_end_and_its_steps_are_told(tmp_path: Path) -> None:
    told: list[str | None] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        told.append(message)

    async with house(tmp_path) as home, home.client() as client:
        text = "name: steady\nsteps:\n  - {id: look, call: qsecure_scan_repository, with: {path: a}}\n" + (
            "  - {sleep: 1.5}\noutput: ${{ steps.look.result.root }}"
        )
        await call(client, "define_workflow", definition=text)
        result = await client.call_tool(
            "orchestrator_run_workflow", {"workflow": "steady"}, progress_callback=progress
        )
        ended = result.structured_content
        assert ended is not None
        assert (ended["state"], ended["result"]) == ("completed", "a")
        assert {"1 step done", "2 steps done"} & set(told)


async def test_a_run_that_is_followed_comes_back_when_it_asks_somebody(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.client() as client:
        asked = await call(client, "run_workflow", workflow="secure_change", inputs={"path": "/repos/change"})
        assert (asked["state"], asked["asks"]["question"]) == ("waiting", QUESTION)
        assert await refused(client, "run_workflow", workflow="secure_chang") == (
            "workflow: There is no workflow 'secure_chang'. Did you mean 'secure_change'?"
        )


async def test_a_run_is_paused_resumed_forked_and_cancelled(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.client() as client:
        text = "name: two\nsteps:\n  - {id: look, call: qsecure_scan_repository, with: {path: a}}\n" + (
            "  - {id: ok, approval: {question: Go?}}\noutput: done"
        )
        await call(client, "define_workflow", definition=text)
        run = (await call(client, "start_workflow", workflow="two"))["run"]
        await asking(client, run)
        assert (await call(client, "control_workflow", run=run, action="pause"))["state"] == "paused"
        resumed = await call(client, "control_workflow", run=run, action="resume")
        assert resumed["state"] in ("queued", "running", "waiting")
        told = await refused(client, "control_workflow", run=run, action="fork")
        assert told.startswith("from_step: from_step goes with fork")
        forked = (await call(client, "control_workflow", run=run, action="fork", from_step=3))["run"]
        await asking(client, forked)
        assert len(home.tools.called("qsecure_scan_repository")) == 1
        assert (await call(client, "control_workflow", run=run, action="cancel"))["state"] == "cancelled"
        await call(client, "approve_workflow", run=forked, question="Go?", approved=True)
        assert (await call(client, "workflow_status", run=forked, wait_seconds=20))["result"] == "done"
        shown = json.loads(await read(client, f"quantum://orchestrator/runs/{forked}"))
        assert shown["forked_from"] == run


async def test_a_wrong_definition_is_answered_with_every_place(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.client() as client:
        wrong = "name: x\nsteps:\n  - call: qsecure_scan_repositry\n  - sleep: ${{ step.a }}\n"
        checked = await call(client, "validate_workflow", definition=wrong)
        assert checked["valid"] is False
        assert [(one["path"], one["line"], one["column"], one["hint"]) for one in checked["problems"]] == [
            ("steps[0].call", 3, 5, "Did you mean 'qsecure_scan_repository'?"),
            ("steps[1].sleep", 4, 12, "Did you mean 'steps'?"),
        ]
        told = await refused(client, "define_workflow", definition=wrong)
        assert "steps[1].sleep (line 4, column 12): There is no 'step' here. Did you mean 'steps'?" in told
        kept = await call(client, "define_workflow", definition="name: x\nsteps: [{sleep: 0}]")
        assert (kept["valid"], kept["version"], kept["uri"]) == (
            True,
            1,
            "quantum://orchestrator/definitions/x",
        )
        assert await read(client, kept["uri"]) == "name: x\nsteps: [{sleep: 0}]"
        assert "wait 0 s" in await read(client, f"{kept['uri']}/graph")
        known = json.loads(await read(client, "quantum://orchestrator/definitions/all"))["definitions"]
        assert [one["name"] for one in known] == ["change_and_prove", "nightly_posture", "secure_change", "x"]
        told = await refused(client, "start_workflow", workflow="secure_change", inputs={"pth": "a"})
        assert "inputs: 'path' is missing." in told


async def test_a_workflow_is_started_by_the_clock_until_that_is_cancelled(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.client(Role.OPERATOR, "ada") as ada, home.client() as admin:
        inputs = {"workspaces": ["/repos/a"]}
        made = await call(ada, "start_workflow", workflow="nightly_posture", inputs=inputs, cron="* * * * * *")
        assert made["schedule"].startswith("sch_")

        async def runs() -> list[dict[str, Any]] | None:
            found: list[dict[str, Any]] = (await call(ada, "list_workflows", what="runs", state="completed"))[
                "runs"
            ]
            return found or None

        first = (await eventually(runs))[-1]
        assert first["result"]["findings"] == 2
        listed = (await call(admin, "list_workflows", what="schedules"))["schedules"]
        assert [one["schedule"] for one in listed] == [made["schedule"]]
        await call(ada, "control_workflow", run=made["schedule"], action="cancel")
        assert (await call(ada, "list_workflows", what="schedules"))["schedules"] == []
        told = await refused(ada, "start_workflow", workflow="nightly_posture", inputs=inputs, cron="often")
        assert told.startswith("cron: 'often' is no schedule.")


async def test_a_viewer_looks_and_changes_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.client(Role.VIEWER, "eve") as eve:
        shown = {name for name in await tool_names(eve) if name.startswith("orchestrator")}
        assert shown == {
            "orchestrator_list_workflows",
            "orchestrator_validate_workflow",
            "orchestrator_workflow_status",
        }


async def test_runs_of_the_hub_itself_are_none_of_these(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.client() as client:
        from quantum_suite.services.workflows.interface import Owner

        await home.engine.start("hub.task", {}, Owner("local"), run_id="task_secret")
        assert (await call(client, "list_workflows", what="runs"))["runs"] == []
        assert "There is no run task_secret" in await refused(client, "workflow_status", run="task_secret")


def test_a_suite_without_an_orchestrator_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="without an orchestrator"):
        build(Services(tmp_path, Workspaces(()), MemoryCapacity(1), event_log()))
