"""Recovery over MCP, through the real hub: plan, drill, evidence, and approval before a live system is read."""

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from mcp import Client, MCPError
from reference.answers import read, refusal, text_of, told
from reference.hub import running_hub
from reference.people import Person, client_with, make_key

from quantum_suite.core.recovery_events import RECOVERY_EVENTS
from quantum_suite.hub.mounts import Extra
from quantum_suite.servers.module import Services
from quantum_suite.servers.module_server import ModuleServer
from quantum_suite.servers.qinfra.prompts import add_prompts
from quantum_suite.servers.qinfra.recovery_resources import add_recovery_resources
from quantum_suite.servers.qinfra.recovery_tools import add_recovery_tools
from quantum_suite.services.capacity.memory import MemoryCapacity
from quantum_suite.services.encryption.memory import MemoryKeyProvider
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.recovery.opening import open_recovery
from quantum_suite.services.workspaces import Workspaces
from quantum_suite.tools.qinfra.run_drill import Driller

pytestmark = pytest.mark.anyio


@dataclass
class House:
    """A hub with recovery behind it."""

    home: Path
    url: str
    events: MemoryEventStore
    asked: list[str] = field(default_factory=list)

    def client(self, name: str = "ann") -> AbstractAsyncContextManager[Client]:
        """Connect as an operator who approves nothing."""
        key = make_key(self.home, name)
        return client_with(self.url, key, elicitation_callback=Person(False, self.asked))


@asynccontextmanager
async def house(home: Path, scratch: Path) -> AsyncIterator[House]:
    events = MemoryEventStore(EventRegistry(RECOVERY_EVENTS))
    recovery = open_recovery(home / "data" / "qinfra", MemoryKeyProvider(), environ={}, scratch=scratch)
    services = Services(home / "data", Workspaces((home,)), MemoryCapacity(1), events, recovery=recovery)
    server = ModuleServer("qinfra", title="QInfra", instructions="", version="0", log_level="WARNING")
    add_recovery_tools(server, recovery, Driller(recovery, events, services.capacity), services.workspaces)
    add_recovery_resources(server, recovery)
    add_prompts(server)
    async with running_hub(home, {}, extra=[Extra("qinfra", server, "qinfra")]) as hub:
        yield House(home, hub.url, events)


async def test_a_plan_says_what_is_missing_and_a_drill_how_long_it_takes(
    tmp_path: Path, backends_directory: Path, postgres_url: str
) -> None:
    wanted = {"target": postgres_url, "rto_seconds": 60, "rpo_rows": 0}
    async with (
        house(tmp_path, backends_directory / "drills-hub") as one,
        one.client() as ann,
        one.client("bob") as bob,
    ):
        plan = told(await ann.call_tool("qinfra_plan_recovery", wanted))
        failover, restore = plan["strategies"]
        assert (failover["reach"], restore["reach"]) == ("after_changes", "no")
        assert failover["expected_rto_seconds"] is None
        assert any("synchronous_standby_names" in gap["change"] for gap in failover["gaps"])
        assert any("archive_mode = on" in gap["change"] for gap in restore["gaps"])

        drill = await ann.call_tool(
            "qinfra_run_drill", {"kind": "failover", "rows": 40, "rto_seconds": 60, "rpo_rows": 0}
        )
        found = told(drill)
        assert found["state"] == "met"
        assert found["rows"]["lost"] == found["rows"]["altered"] == found["rows"]["unexpected"] == 0
        assert found["rows"]["acknowledged"] == found["rows"]["present"] >= 40
        assert "Failover drill: objectives met; recovered in" in text_of(drill)

        page = await read(ann, found["markdown"])
        assert found["digest"] in page
        assert "| rpo_rows | 0 | 0 | met, 0 to spare |" in page
        assert "## Last lines of the primary" in page
        assert json.loads(await read(ann, found["evidence"]))["facts"]["replica"].startswith("pg_verifybackup")
        with pytest.raises(MCPError):
            await read(bob, found["markdown"])
        (event,) = await one.events.read(None)
        assert (event.data["state"], event.data["digest"]) == ("met", found["digest"])

        again = await ann.call_tool("qinfra_plan_recovery", wanted)
        assert told(again)["strategies"][0]["expected_rto_seconds"] == pytest.approx(
            found["rto_seconds"], abs=0.001
        )
        page = await read(ann, told(again)["markdown"])
        assert f"(last: {found['drill']})" in page
        assert "1. Make sure that the primary is gone" in page
        assert (
            told(await bob.call_tool("qinfra_plan_recovery", wanted))["strategies"][0]["worst_rto_seconds"] is None
        )


async def test_a_live_system_is_not_read_without_a_person_who_agrees(
    tmp_path: Path, backends_directory: Path, postgres_url: str
) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        backups = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender'"
        async with house(tmp_path, backends_directory / "drills-asked") as one, one.client() as ann:
            asked = {"source": postgres_url, "kind": "failover"}
            with pytest.raises(MCPError, match="did not approve"):
                await ann.call_tool("qinfra_drill_live_copy", asked)
            assert one.asked[0].count(postgres_url) == 1
            refused = await ann.call_tool("qinfra_run_drill", asked)
            assert refused.is_error
            assert "source" in text_of(refused)
            assert connection.execute(backups).fetchone() == (0,)


async def test_what_cannot_be_planned_says_what_would_be_right(tmp_path: Path, backends_directory: Path) -> None:
    async with house(tmp_path, backends_directory / "drills-wrong") as one, one.client() as ann:

        async def refused(**arguments: Any) -> str:
            return refusal(await ann.call_tool("qinfra_plan_recovery", {"rto_seconds": 5, **arguments}))

        assert "rpo_seconds or rpo_rows" in await refused(target="postgresql://u@127.0.0.1:1/d")
        assert "holds a password" in await refused(target="postgresql://u:hunter22@h/d", rpo_rows=0)
        away = await refused(target="postgresql://u@127.0.0.1:1/d", rpo_rows=0)
        assert "postgresql://u@127.0.0.1:1/d cannot be looked at" in away
        nowhere = str(tmp_path / "nowhere")
        assert "backups: " in await refused(target="postgresql://u@127.0.0.1:1/d", rpo_rows=0, backups=nowhere)
        prompt = await ann.get_prompt(
            "qinfra_prepare_recovery", {"target": "postgresql://u@h/d", "rto_seconds": "5", "rpo": "no row"}
        )
        assert "within 5 s, losing at most no row" in str(prompt.messages[0].content)
