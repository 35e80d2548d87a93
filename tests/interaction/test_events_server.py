"""Events over MCP, through the real hub: what each may see, what may be asked, and what is put right."""

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, MCPError
from mcp.types import ResourceLink
from reference.answers import read, refusal, told
from reference.happenings import Happened, Noticed, happen
from reference.hub import eventually, running_hub, tool_names
from reference.people import Person, client_with, make_key

from quantum_suite.core.errors import ConfigurationError
from quantum_suite.core.events import Event, EventFilter
from quantum_suite.core.principals import Role
from quantum_suite.hub.mounts import Extra
from quantum_suite.servers.events import build
from quantum_suite.servers.module import Services
from quantum_suite.services.analytics.duckdb import DuckdbAnalytics
from quantum_suite.services.capacity.memory import MemoryCapacity
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.leases.memory import MemoryLeaseStore
from quantum_suite.services.projections.control_events import CONTROL_EVENTS
from quantum_suite.services.projections.memory import MemoryProgressStore
from quantum_suite.services.projections.runner import ProjectionRunner
from quantum_suite.services.workspaces import Workspaces

pytestmark = pytest.mark.anyio


@dataclass
class Mailer:
    """A consumer that is broken until somebody mends it."""

    name: str = "mailer"
    where: EventFilter = field(default_factory=lambda: EventFilter(types=frozenset({"demo.thing.happened"})))
    broken: bool = True
    sent: list[str] = field(default_factory=list)

    async def handle(self, event: Event) -> None:
        if self.broken:
            raise RuntimeError("The template is wrong.")
        self.sent.append(event.id)


@dataclass
class House:
    """A hub with the events server behind it, and clients by role."""

    home: Path
    url: str
    events: MemoryEventStore
    mailer: Mailer

    def client(self, role: Role | None = None, **more: Any) -> AbstractAsyncContextManager[Client]:
        """Connect with a key of a role (`key:one`); without one, as the person at this machine (an admin)."""
        return client_with(self.url, make_key(self.home, "one", role) if role else None, **more)


@asynccontextmanager
async def house(home: Path, *, analytics: bool = True) -> AsyncIterator[House]:
    events = MemoryEventStore(EventRegistry([Happened, Noticed, *CONTROL_EVENTS]), polling_seconds=0.02)
    runner = ProjectionRunner(events, MemoryProgressStore(), MemoryLeaseStore(), holder="here")
    mailer = Mailer()
    runner.add_consumer(mailer)
    tables = DuckdbAnalytics(home / "analytics") if analytics else None
    if tables is not None:
        runner.add_projection(tables)
    services = Services(
        home / "data", Workspaces(()), MemoryCapacity(1), events, projections=runner, analytics=tables
    )
    await happen(events, 1, 2, principal="key:one")
    await happen(events, 3, principal="key:other", thing="2")
    extra = [Extra("events", build(services).server, "events")]
    async with running_hub(home, {}, extra=extra) as hub, anyio.create_task_group() as tasks:
        tasks.start_soon(runner.run)
        with anyio.fail_after(50):
            while any(status.handled == 0 and status.parked == 0 for status in runner.statuses()):
                await anyio.sleep(0.01)
        yield House(home, hub.url, events, mailer)
        tasks.cancel_scope.cancel()


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    return told(await client.call_tool(f"events_{tool}", arguments))


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    return refusal(await client.call_tool(f"events_{tool}", arguments))


async def page_of(client: Client, uri: str) -> dict[str, Any]:
    page: dict[str, Any] = json.loads(await read(client, uri))
    return page


async def test_an_administrator_asks_in_sql_and_sees_everybodys_events(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.client() as client:
        assert {"events_query_analytics", "events_list_events"} <= await tool_names(client)
        sql = "SELECT principal, count(*) AS events FROM events GROUP BY principal ORDER BY principal"
        answer = await call(client, "query_analytics", sql=sql)
        assert answer["columns"] == ["principal", "events"]
        assert answer["rows"] == [["key:one", 2], ["key:other", 1]]
        listed = await call(client, "list_events", types=["demo."])
        assert [row["principal"] for row in listed["events"]].count("key:other") == 1


async def test_others_see_their_own_events_alone_and_write_no_queries(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.client(Role.OPERATOR) as client:
        listed = await call(client, "list_events")
        assert {row["principal"] for row in listed["events"]} == {"key:one"}
        assert len(listed["events"]) == 2
        assert "administrators" in await refused(client, "query_analytics", sql="SELECT 1")
        assert "administrators" in await refused(client, "list_parked_events")
        assert "no stream" in await refused(client, "list_events", stream="demo.thing/2")
        with pytest.raises(MCPError, match="no stream"):
            await page_of(client, "quantum://events/streams/demo.thing.2")
        page = await page_of(client, "quantum://events/streams/demo.thing.1")
        assert [event["data"]["number"] for event in page["events"]] == [1, 2]
        assert page["next"] is None


async def test_a_wrong_query_is_answered_with_what_would_be_right(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.client() as client:
        assert "Only a single SELECT" in await refused(client, "query_analytics", sql="DROP TABLE events")
        assert "no_such" in await refused(client, "query_analytics", sql="SELECT no_such FROM events")
        assert "no offset" in await refused(client, "list_events", since="2026-01-01T00:00:00")
        assert "Did you mean" in await refused(client, "list_events", stremm="x")


async def test_events_link_to_their_history_which_is_paged(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.client() as client:
        await happen(home.events, *range(10, 260), thing="long")
        await happen(home.events, 1, thing="odd:name/with~more")
        result = await client.call_tool("events_list_events", {"stream": "demo.thing/odd:name/with~more"})
        (link,) = [block for block in result.content if isinstance(block, ResourceLink)]
        assert len((await page_of(client, str(link.uri)))["events"]) == 1
        first = await call(client, "list_events", stream="demo.thing/long")
        assert (len(first["events"]), first["next_after"]) == (200, 200)
        rest = await call(client, "list_events", stream="demo.thing/long", after_version=200)
        assert (len(rest["events"]), rest["next_after"]) == (50, None)
        page = await page_of(client, "quantum://events/streams/demo.thing.long")
        second = await page_of(client, page["next"])
        assert [event["streamversion"] for event in second["events"]] == list(range(201, 251))


@pytest.mark.parametrize("uri", ["b64-____", "b64-!", "x", "a.b.c", "demo.thing.1/after-x", "demo.thing.1/other"])
async def test_a_history_that_is_none_is_not_found(tmp_path: Path, uri: str) -> None:
    async with house(tmp_path) as home, home.client() as client:
        with pytest.raises(MCPError):
            await page_of(client, f"quantum://events/streams/{uri}")


async def test_a_parked_event_is_shown_replayed_and_dealt_with(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.client(elicitation_callback=Person()) as client:

        async def three_parked() -> list[dict[str, Any]] | None:
            parked: list[dict[str, Any]] = (await call(client, "list_parked_events", consumer="mailer"))["parked"]
            return parked if len(parked) == 3 else None

        parked = await eventually(three_parked)
        assert parked[0]["problem"] == "RuntimeError: The template is wrong."
        place = {"consumer": "mailer", "position": parked[0]["position"]}
        assert (await call(client, "replay_parked_event", **place))["outcome"] == "failed_again"
        home.mailer.broken = False
        assert (await call(client, "replay_parked_event", **place))["outcome"] == "dealt_with"
        assert home.mailer.sent == [parked[0]["event_id"]]
        assert "parked no event" in await refused(client, "replay_parked_event", **place)
        other = {**place, "position": parked[1]["position"]}
        assert (await call(client, "replay_parked_event", leave=True, **other))["outcome"] == "left"
        assert "named 'nobody'" in await refused(client, "replay_parked_event", consumer="nobody", position="1")
        left = (await call(client, "list_parked_events"))["parked"]
        assert [row["position"] for row in left] == [parked[2]["position"]]


async def test_without_duckdb_events_are_listed_and_sql_says_what_to_install(tmp_path: Path) -> None:
    async with house(tmp_path, analytics=False) as home, home.client() as client:
        assert "pip install" in await refused(client, "query_analytics", sql="SELECT 1")
        assert len((await call(client, "list_events", stream="demo.thing/1"))["events"]) == 2
        newest = (await call(client, "list_events", limit=3))["events"]
        assert len(newest) == 3
        assert [row["time"] for row in newest] == sorted((row["time"] for row in newest), reverse=True)


def test_a_suite_without_projections_says_so(tmp_path: Path) -> None:
    services = Services(tmp_path, Workspaces(()), MemoryCapacity(1), MemoryEventStore(EventRegistry()))
    with pytest.raises(ConfigurationError):
        build(services)
