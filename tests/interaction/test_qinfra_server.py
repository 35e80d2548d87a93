"""QInfra over MCP, through the real hub: an assistant plans, a person approves, exactly that is applied."""

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError
from reference.answers import read, text_of, told
from reference.hub import running_hub, tool_names
from reference.people import Person, client_with, make_key
from reference.stacks import Project

from quantum_suite.core.infrastructure_events import INFRASTRUCTURE_EVENTS
from quantum_suite.hub.mounts import Extra
from quantum_suite.servers.module import Services
from quantum_suite.servers.qinfra import build
from quantum_suite.services.capacity.memory import MemoryCapacity
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.workspaces import Workspaces

pytestmark = pytest.mark.anyio

PROGRAM = 'a = File("a", config.get_secret("word") or "hello")\nFile("b", a.text)\npulumi.export("text", a.text)\n'


@dataclass
class House:
    """A hub with QInfra behind it, over one granted workspace that holds a stack's project."""

    home: Path
    url: str
    project: Project
    events: MemoryEventStore
    asked: list[str] = field(default_factory=list)

    def client(self, *, approve: bool = True, name: str = "ann") -> AbstractAsyncContextManager[Client]:
        """Connect as an operator; destructive calls are answered with `approve`."""
        key = make_key(self.home, name)
        return client_with(self.url, key, elicitation_callback=Person(approve, self.asked))


@asynccontextmanager
async def house(home: Path) -> AsyncIterator[House]:
    project = Project.python(home, PROGRAM)
    events = MemoryEventStore(EventRegistry(INFRASTRUCTURE_EVENTS))
    services = Services(home / "data", Workspaces((project.folder,)), MemoryCapacity(1), events)
    async with running_hub(home, {}, extra=[Extra("qinfra", build(services).server, "qinfra")]) as hub:
        yield House(home, hub.url, project, events)


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    return told(await client.call_tool(f"qinfra_{tool}", {"folder": ".", "stack": "dev", **arguments}))


async def test_a_stack_is_planned_approved_applied_and_destroyed(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.client() as client:
        offered = {name for name in await tool_names(client) if name.startswith("qinfra_")}
        assert {"qinfra_preview_stack", "qinfra_apply_stack", "qinfra_destroy_stack"} <= offered

        plan = await call(
            client, "preview_stack", config={"word": "hunter2-hunter2"}, secret_config=["word"], refresh=True
        )
        assert plan["applicable"]
        assert plan["changes"] == [
            "create a (pulumi-python:dynamic:Resource)",
            "create b (pulumi-python:dynamic:Resource)",
        ]
        page = await read(client, plan["markdown"])
        assert "2 to create" in page or "3 to create" in page
        assert plan["digest"] in page
        graph = await read(client, plan["graph"])
        assert graph.startswith("graph LR\n")
        assert "r0 --> r1" in graph or "r1 --> r0" in graph
        whole = await read(client, plan["document"])
        assert json.loads(whole)["digest"] == plan["digest"]
        assert "hunter2" not in page + graph + whole
        assert home.asked == []
        assert home.project.files() == {}

        applied = await call(client, "apply_stack", plan_digest=plan["digest"])
        assert (applied["state"], applied["done"]) == ("succeeded", {"create": 2})
        assert applied["outputs"] == {"text": "[secret]"}
        assert home.project.files() == {"a": "hunter2-hunter2", "b": "hunter2-hunter2"}
        assert plan["digest"] in home.asked[0]
        stored = "".join(path.read_text() for path in (tmp_path / "data" / "qinfra").rglob("*.json"))
        assert "hunter2" not in stored

        # The same approval is no good twice: the state has moved on.
        again = await client.call_tool(
            "qinfra_apply_stack", {"folder": ".", "stack": "dev", "plan_digest": plan["digest"]}
        )
        assert again.is_error
        assert "the state was written since" in text_of(again)

        plan = await call(client, "preview_stack", destroy=True)
        assert plan["kind"] == "destroy"
        wrong = await client.call_tool(
            "qinfra_apply_stack", {"folder": ".", "stack": "dev", "plan_digest": plan["digest"]}
        )
        assert "That plan is to destroy the stack" in text_of(wrong)
        gone = await call(client, "destroy_stack", plan_digest=plan["digest"])
        assert (gone["state"], gone["done"]) == ("succeeded", {"delete": 2})
        assert home.project.files() == {}

        told = [(event.type, event.data["verb"], event.data.get("state")) for event in await home.events.read()]
        assert told == [
            ("qinfra.run.started.v1", "up", None),
            ("qinfra.run.ended.v1", "up", "succeeded"),
            ("qinfra.run.started.v1", "up", None),
            ("qinfra.run.ended.v1", "up", "refused"),
            ("qinfra.run.started.v1", "destroy", None),
            ("qinfra.run.ended.v1", "destroy", "succeeded"),
        ]


async def test_nothing_is_applied_without_a_persons_yes_and_nothing_outside_the_grant(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.client(approve=False) as client:
        plan = await call(client, "preview_stack")
        with pytest.raises(MCPError, match="did not approve"):
            await call(client, "apply_stack", plan_digest=plan["digest"])
        assert home.project.files() == {}
        outside = await client.call_tool("qinfra_preview_stack", {"folder": str(tmp_path), "stack": "dev"})
        assert "folder: " in text_of(outside)
        assert "outside the granted workspaces" in text_of(outside)
        odd = await client.call_tool("qinfra_preview_stack", {"folder": ".", "stack": "../dev"})
        assert "stack: '../dev' is no stack's name" in text_of(odd)
        prompt = await client.get_prompt("qinfra_review_plan", {"digest": plan["digest"]})
        assert plan["digest"] in str(prompt.messages[0].content)
