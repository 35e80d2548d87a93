"""QAgent over MCP, through the real hub: an assistant plans, submits, mends, applies and takes back."""

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError
from reference.answers import read, refusal, text_of, told
from reference.hub import running_hub, tool_names
from reference.judging import patch_of, write_project
from reference.people import Person, client_with, make_key

from quantum_suite.core.principals import Role
from quantum_suite.hub.mounts import Extra
from quantum_suite.servers.module import Services
from quantum_suite.servers.qagent import build
from quantum_suite.services.capacity.memory import MemoryCapacity
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.knowledge.opening import open_knowledge
from quantum_suite.services.workspaces import Workspaces

pytestmark = pytest.mark.anyio

PROJECT = {
    "calc.py": '"""Sums."""\n\n\ndef add(a, b):\n    """Add two numbers."""\n    return a + b\n',
    "tests/test_calc.py": "from calc import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n",
    "conftest.py": "",
    "AGENTS.md": "Always write a test. Never use eval.\n",
}
GOOD = PROJECT["calc.py"] + '\n\ndef sub(a, b):\n    """Subtract."""\n    return a - b\n'
BAD = PROJECT["calc.py"].replace("a + b", "a - b")


@dataclass
class House:
    """A hub with QAgent behind it, over one granted workspace."""

    home: Path
    url: str
    workspace: Path
    asked: list[str]

    def client(
        self, *, key: str = "ann", approve: bool = True, role: Role = Role.OPERATOR
    ) -> AbstractAsyncContextManager[Client]:
        """Connect as somebody with a key of a role; destructive calls are answered with `approve`."""
        person = Person(approve, self.asked)
        return client_with(self.url, make_key(self.home, key, role), elicitation_callback=person)


@asynccontextmanager
async def house(home: Path) -> AsyncIterator[House]:
    workspace = write_project(home / "project", PROJECT)
    async with open_knowledge(
        home / "data" / "knowledge", embedding="hashing", vectors="memory:", environ={}
    ) as knowledge:
        services = Services(
            home / "data",
            Workspaces((workspace,)),
            MemoryCapacity(1),
            MemoryEventStore(EventRegistry()),
            knowledge=knowledge,
        )
        extra = [Extra("qagent", build(services).server, "qagent")]
        async with running_hub(home, {}, extra=extra) as hub:
            yield House(home, hub.url, workspace, [])


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    return told(await client.call_tool(f"qagent_{tool}", arguments))


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    return refusal(await client.call_tool(f"qagent_{tool}", arguments))


async def test_an_assistant_plans_is_refused_mends_applies_and_takes_back(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.client() as client:
        offered = [name for name in await tool_names(client) if name.startswith("qagent_")]
        assert len(offered) == 7

        planned = await client.call_tool("qagent_plan_change", {"goal": "subtract numbers beside add"})
        pack = planned.structured_content
        assert pack is not None
        assert "Never use eval" in text_of(planned)
        assert any(symbol["name"] == "add" for symbol in pack["symbols"])
        assert "tests/test_calc.py" in pack["tests"]
        assert pack["tokens"] <= 6_000
        assert any(check.startswith("tests:") for check in pack["acceptance_checks"])
        assert "def add" in await read(client, pack["context"])

        bad = await call(client, "submit_change", patch=patch_of(home.workspace, {"calc.py": BAD}))
        assert (bad["accepted"], bad["author"]) == (False, "assistant")
        assert bad["gates"][-1]["gate"] == "tests"
        assert "tests/test_calc.py::test_add" in bad["next_step"]
        assert "Refused" in await read(client, bad["report"])
        assert "was refused" in await refused(client, "apply_change", change=bad["change"])

        good = await call(
            client, "submit_change", patch=patch_of(home.workspace, {"calc.py": GOOD}), summary="sub"
        )
        assert good["accepted"], good["reason"]
        assert (home.workspace / "calc.py").read_text() == PROJECT["calc.py"]
        verdict = json.loads(await read(client, good["report"] + "/verdict"))
        assert verdict["gates"][0]["gate"] == "applies"
        assert "+def sub" in await read(client, good["report"] + "/diff")

        applied = await call(client, "apply_change", change=good["change"])
        assert (home.workspace / "calc.py").read_text() == GOOD
        assert applied["author"] == "assistant"
        undone = await call(client, "undo_change", applied=applied["applied"])
        assert undone["state"] == "undone"
        assert (home.workspace / "calc.py").read_text() == PROJECT["calc.py"]
    # The refused one as well: whether it may be applied is asked before whether it can be.
    assert len(home.asked) == 3
    assert all("apply_change" in asked or "undo_change" in asked for asked in home.asked)


async def test_without_approval_or_after_somebody_elses_edit_nothing_is_written(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        async with home.client(approve=False) as client:
            good = await call(client, "submit_change", patch=patch_of(home.workspace, {"calc.py": GOOD}))
            with pytest.raises(MCPError):
                await client.call_tool("qagent_apply_change", {"change": good["change"]})
            assert (home.workspace / "calc.py").read_text() == PROJECT["calc.py"]
        async with home.client(key="bob") as other:
            assert "There is no run" in await refused(other, "apply_change", change=good["change"])
            mine = await call(other, "submit_change", patch=patch_of(home.workspace, {"calc.py": GOOD}))
            (home.workspace / "calc.py").write_text("edited = True\n")
            await refused(other, "apply_change", change=mine["change"])
            assert (home.workspace / "calc.py").read_text() == "edited = True\n"


async def test_wrong_arguments_are_told_by_name(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.client() as client:
        patch = patch_of(home.workspace, {"calc.py": GOOD})
        assert "outside the granted" in await refused(client, "submit_change", patch=patch, path="/etc")
        assert "Did you mean patch?" in await refused(client, "submit_change", patchh=patch)
        assert "token_budget" in await refused(client, "plan_change", goal="something", token_budget=1)
        assert "oracle_tests" in await refused(client, "improve_change", goal="something")
        assert "oracle_files" in await refused(
            client, "improve_change", goal="something", oracle_files={"../x.py": "x"}
        )
        assert "There is no change" in await refused(client, "undo_change", applied="change_nothing")
        unfit = await call(client, "submit_change", patch="--- a/calc.py\n+++ b/calc.py\n@@ -1 +1 @@\n-no\n+yes\n")
        assert (unfit["accepted"], unfit["change"]) == (False, None)
        assert [gate["gate"] for gate in unfit["gates"]] == ["applies"]


async def test_without_a_model_the_assistant_is_the_author_and_gets_what_it_needs(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.client() as client:
        made = await client.call_tool("qagent_generate_code", {"goal": "subtract two numbers"})
        assert told(made)["author"] == "assistant"
        assert "you are the author" in text_of(made)
        assert "def add" in text_of(made)

        oracle = {"oracle_test_sub.py": "from calc import sub\n\n\ndef test_sub():\n    assert sub(3, 1) == 2\n"}
        cheats = patch_of(
            home.workspace,
            {"calc.py": GOOD.replace("a - b", "a * b"), "oracle_test_sub.py": "def test_sub(): ...\n"},
        )
        tried = await call(client, "improve_change", goal="subtract", patch=cheats, oracle_files=oracle)
        assert (tried["author"], tried["stopped"]) == ("assistant", "your turn")
        assert tried["rounds"][0]["refused_at"] == "oracle"
        right = patch_of(home.workspace, {"calc.py": GOOD})
        done = await call(client, "improve_change", goal="subtract", patch=right, oracle_files=oracle)
        assert done["stopped"] == "accepted"
        assert done["rounds"][0]["oracle_tests"] == 1
        assert json.loads(await read(client, done["report"]))["stopped"] == "accepted"


async def test_a_review_says_everything_the_checks_say(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.client() as client:
        source = "import json\n\njson.lods('1')\nundefined_name\n" + PROJECT["calc.py"]
        review = await call(client, "review_change", patch=patch_of(home.workspace, {"calc.py": source}))
        assert review["reader"] == "assistant"
        codes = {problem["code"] for problem in review["problems"]}
        assert {"missing-attribute", "F821"} <= codes
        assert any(note.startswith("tests:") for note in review["not_assessed"])
        assert "Review this change" in await read(client, review["reading"])


async def test_the_prompts_lead_through_a_feature_and_a_fix(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.client() as client:
        told = await client.get_prompt("qagent_implement_feature", {"goal": "subtract"})
        assert "submit_change" in str(told.messages[0].content)
        told = await client.get_prompt("qagent_fix_bug", {"report": "```\nadd is wrong\n```"})
        assert "````" in str(told.messages[0].content)


async def test_who_may_only_look_has_no_code_run_and_asks_no_model(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.client(role=Role.VIEWER) as client:
        offered = {name for name in await tool_names(client) if name.startswith("qagent_")}
        assert offered == {"qagent_plan_change"}
        with pytest.raises(MCPError):
            await client.call_tool("qagent_submit_change", {"patch": patch_of(home.workspace, {"calc.py": GOOD})})
