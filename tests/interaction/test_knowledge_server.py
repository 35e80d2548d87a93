"""Knowledge over MCP, through the real hub: what an assistant asks, and what it is answered."""

import base64
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp.types import ResourceLink
from reference.answers import read, refusal, told
from reference.hub import running_hub, tool_names
from reference.people import client_with, make_key

from quantum_suite.core.errors import ConfigurationError
from quantum_suite.hub.mounts import Extra
from quantum_suite.servers.knowledge import build
from quantum_suite.servers.module import Services
from quantum_suite.services.capacity.memory import MemoryCapacity
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.knowledge.opening import open_knowledge
from quantum_suite.services.workspaces import Workspaces

pytestmark = pytest.mark.anyio

KEY = "AKIA" + "IOSFODNN7" + "EXAMPLE"
TILL = f'''"""The till of a shop."""

TOKEN = "{KEY}"


class Till:
    """Takes money."""

    def open_drawer(self, amount):
        """Open the drawer and count the coins."""
        return count_coins(amount)


def count_coins(amount):
    return amount // 2
'''
GUIDE = "# Manual\n\n## Refunds\n\nA refund needs the signature of a manager.\n"


@dataclass
class House:
    """A hub with the knowledge server behind it, over one granted workspace."""

    home: Path
    url: str
    workspace: Path

    def client(self, workspaces: list[str] | None = None) -> AbstractAsyncContextManager[Client]:
        """Connect as the person at this machine, or with a key that is granted `workspaces` alone."""
        key = None if workspaces is None else make_key(self.home, "one", workspaces=workspaces)
        return client_with(self.url, key)


@asynccontextmanager
async def house(home: Path) -> AsyncIterator[House]:
    workspace = home / "shop"
    (workspace / "src").mkdir(parents=True)
    (workspace / "src" / "till.py").write_text(TILL)
    (workspace / "guide.md").write_text(GUIDE)
    (workspace / "big.py").write_bytes(b"# x\n" * 1_000_000)
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
        extra = [Extra("knowledge", build(services).server, "knowledge")]
        async with running_hub(home, {}, extra=extra) as hub:
            yield House(home, hub.url, workspace)


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    return told(await client.call_tool(f"knowledge_{tool}", arguments))


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    return refusal(await client.call_tool(f"knowledge_{tool}", arguments))


async def test_an_assistant_indexes_a_workspace_and_asks_about_it(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.client() as client:
        assert len([name for name in await tool_names(client) if name.startswith("knowledge_")]) == 7
        assert (await call(client, "index_status"))["state"] == "absent"
        assert "index_workspace" in await refused(client, "search_code", query="anything")
        told: list[str] = []

        async def progress(done: float, total: float | None, message: str | None) -> None:
            told.append(message or "")

        indexed = await client.call_tool(
            "knowledge_index_workspace", {"wait_for_vectors": True}, progress_callback=progress
        )
        report = indexed.structured_content
        assert report is not None
        assert (report["state"], report["files_indexed"], report["stale_files"]) == ("ready", 2, 0)
        assert report["vectors"] == report["chunks"] > 0
        assert any("big.py" in item["path"] and "MiB" in item["reason"] for item in report["not_indexed"])
        assert any("files read" in message for message in told)

        found = await client.call_tool("knowledge_search_code", {"query": "count the coins in the drawer"})
        answer = found.structured_content
        assert answer is not None
        assert answer["hits"][0]["name"] == "Till.open_drawer"
        assert answer["hits"][0]["path"] == "src/till.py"
        link = next(block for block in found.content if isinstance(block, ResourceLink))
        assert "return count_coins(amount)" in await read(client, str(link.uri))

        (section, *_) = (await call(client, "search_docs", query="who signs a refund"))["hits"]
        assert section["name"] == "Manual > Refunds"
        (symbol, *_) = (await call(client, "find_symbol", name="open_drawer"))["symbols"]
        assert (symbol["name"], symbol["line"]) == ("Till.open_drawer", 9)
        used = (await call(client, "find_references", name="count_coins"))["references"]
        assert [(one["line"], one["within"], one["certain"]) for one in used] == [(11, "Till.open_drawer", True)]
        assert "count_coins" in (await call(client, "repository_map", token_budget=200))["map"]


async def test_an_edited_file_is_found_by_what_it_says_now(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.client() as client:
        await call(client, "index_workspace")
        (home.workspace / "src" / "till.py").write_text("def greet_customer():\n    return 'hello'\n")
        (home.workspace / "new.py").write_text("def brand_new():\n    return greet_customer()\n")
        answer = await call(client, "search_code", query="greet_customer")
        assert answer["hits"][0]["name"] == "greet_customer"
        symbols = (await call(client, "find_symbol", name="brand_new"))["symbols"]
        assert [one["path"] for one in symbols] == ["new.py"]
        assert (await call(client, "find_symbol", name="open_drawer"))["symbols"] == []


async def test_secrets_in_files_never_reach_an_assistant(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.client() as client:
        await call(client, "index_workspace")
        found = await client.call_tool("knowledge_search_code", {"query": "TOKEN of the till"})
        symbols = await client.call_tool("knowledge_find_symbol", {"name": "TOKEN"})
        assert "TOKEN" in repr(found)
        assert KEY not in repr(found)
        assert "***" in repr(symbols)
        assert KEY not in repr(symbols)
        shown = await read(client, told(symbols)["symbols"][0]["uri"])
        assert "***" in shown
        assert KEY not in shown


async def test_what_is_not_granted_is_neither_indexed_nor_shown(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "secret.py").write_text("def hidden():\n    pass\n")
    async with house(tmp_path) as home:
        (home.workspace / "way_out").symlink_to(other)
        async with home.client() as client:
            await call(client, "index_workspace")
            assert (await call(client, "find_symbol", name="hidden"))["symbols"] == []
            assert "outside" in await refused(client, "index_workspace", path=str(other))
            assert "outside" in await refused(client, "search_code", path="way_out", query="hidden")
            name = base64.urlsafe_b64encode(str(other / "secret.py").encode()).decode().rstrip("=")
            with pytest.raises(MCPError):
                await read(client, f"quantum://knowledge/files/{name}")
        async with home.client(workspaces=[str(other)]) as client:
            assert "outside" in await refused(client, "search_code", path=str(home.workspace), query="till")
            (one, *_) = [other / "secret.py"]
            await call(client, "index_workspace", path=str(one.parent))
            assert len((await call(client, "find_symbol", path=str(other), name="hidden"))["symbols"]) == 1


async def test_wrong_calls_are_answered_with_what_would_be_right(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.client() as client:
        await call(client, "index_workspace")
        assert "is a file" in await refused(client, "index_workspace", path="guide.md")
        assert "query" in await refused(client, "search_code", query="  ")
        assert "not indexed" in await refused(client, "search_code", query="x", language="cobol")
        assert "limit" in await refused(client, "search_code", query="x", limit=0)
        assert "name" in await refused(client, "find_symbol", name="...")
        assert "focus" in await refused(client, "repository_map", focus=["nowhere.py"])
        assert "token_budget" in await refused(client, "repository_map", token_budget=1)
        assert "Did you mean" in await refused(client, "search_code", qery="x")


@pytest.mark.parametrize("tail", ["x", "L3g/lines-9-1", "L3g/other", "!!", "L3g/lines-0-1"])
async def test_a_resource_that_is_none_is_not_found(tmp_path: Path, tail: str) -> None:
    async with house(tmp_path) as home, home.client() as client:
        with pytest.raises(MCPError):
            await read(client, f"quantum://knowledge/files/{tail}")


def test_a_suite_without_knowledge_says_so(tmp_path: Path) -> None:
    services = Services(tmp_path, Workspaces(()), MemoryCapacity(1), MemoryEventStore(EventRegistry()))
    with pytest.raises(ConfigurationError):
        build(services)
