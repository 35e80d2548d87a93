"""Incidents over MCP and over the webhook, through the real hub."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from mcp import Client
from mcp.types import CallToolResult
from reference.answers import read, text_of, told
from reference.backends import running
from reference.hub import RunningHub, eventually, running_hub
from reference.people import make_key
from reference.prometheus import Alertmanager

from quantum_suite.core.principals import Role

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def watched_hub(home: Path) -> AsyncIterator[tuple[RunningHub, Client]]:
    home.mkdir(exist_ok=True)
    async with running_hub(home, {}, modules=True) as hub, Client(hub.url) as client:
        yield hub, client


async def call(client: Client, tool: str, **arguments: Any) -> CallToolResult:
    return await client.call_tool(f"qsre_{tool}", arguments)


def hook(hub: RunningHub, name: str = "alertmanager") -> str:
    return hub.url.replace("/mcp", f"/hooks/qsre/{name}")


async def declared_size(hub: RunningHub, size: int) -> bytes:
    """Return the beginning of the answer to a post that says it is so large."""
    address = httpx.URL(hub.url)
    async with await anyio.connect_tcp(address.host, address.port or 0) as stream:
        head = f"POST /hooks/qsre/alertmanager HTTP/1.1\r\nhost: {address.host}\r\ncontent-length: {size}\r\n"
        await stream.send(f"{head}content-type: application/json\r\n\r\n".encode())
        with anyio.fail_after(10):
            return (await stream.receive())[:12]


def message(state: str = "firing", *, fingerprint: str = "f1") -> dict[str, Any]:
    alert = {
        "status": state,
        "labels": {"alertname": "ShopBurns", "severity": "critical", "service": "shop"},
        "annotations": {"summary": "The shop fails"},
        "startsAt": "2026-11-27T10:00:00Z",
        "endsAt": "2026-11-27T10:20:00Z" if state == "resolved" else "0001-01-01T00:00:00Z",
        "fingerprint": fingerprint,
    }
    return {"version": "4", "groupKey": '{}:{alertname="ShopBurns"}', "status": state, "alerts": [alert]}


async def test_an_incident_is_kept_from_the_first_word_to_the_post_mortem_across_a_restart(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with watched_hub(home) as (_, client):
        opened = told(await call(client, "manage_incident", action="open", text="Checkout fails", service="cart"))
        name = opened["incident"]
        assert (opened["state"], opened["severity"], opened["origin"]) == ("open", "high", "hand")
        for change in (
            {"action": "severity", "severity": "critical", "text": "Every order fails"},
            {"action": "role", "role": "commander", "assignee": "team-shop"},
            {"action": "hypothesis", "text": "The new release of cart", "confidence": 0.7},
            {"action": "evidence", "text": "Errors began with it", "hypothesis": "h1", "supports": True},
        ):
            told(await call(client, "manage_incident", incident=name, **change))
    async with watched_hub(home) as (_, client):
        for change in (
            {"action": "action", "text": "Rolled cart back", "outcome": "Errors ended"},
            {"action": "hypothesis", "hypothesis": "h1", "verdict": "confirmed"},
            {"action": "resolve", "text": "A release broke orders.", "cause": "Release 41 of cart"},
        ):
            result = await call(client, "manage_incident", incident=name, **change)
        assert (told(result)["state"], told(result)["entries"]) == ("resolved", 8)
        assert told(await call(client, "list_incidents"))["found"] == 0
        assert told(await call(client, "list_incidents", state="all"))["incidents"][0]["incident"] == name
        page = await read(client, f"quantum://qsre/incidents/{name}/post-mortem")
        assert "Release 41 of cart" in page
        assert "| h1 | The new release of cart | confirmed | 0.70 | 1 | 0 |" in page
        assert "Rolled cart back -> Errors ended" in page
        timeline = await read(client, f"quantum://qsre/incidents/{name}/timeline")
        assert len([line for line in timeline.splitlines() if line.startswith("- ")]) == 8


async def test_a_wrong_change_names_the_field_and_writes_nothing(tmp_path: Path) -> None:
    async with watched_hub(tmp_path / "home") as (_, client):
        name = told(await call(client, "manage_incident", action="open", text="Slow"))["incident"]
        for change, said in (
            ({"action": "note"}, "text: The action 'note' needs text."),
            ({"action": "note", "text": "x", "severity": "low"}, "severity: severity is no part"),
            ({"action": "hypothesis", "hypothesis": "h3", "verdict": "refuted"}, "hypothesis: "),
            ({"action": "reopen", "text": "still bad"}, "incident: "),
            ({"action": "severity", "severity": "high"}, "severity: "),
        ):
            result = await call(client, "manage_incident", incident=name, **change)
            assert result.is_error, change
            assert said in text_of(result)
        assert "There is no incident" in text_of(
            await call(client, "manage_incident", action="note", incident="inc_none", text="x")
        )
        assert told(await call(client, "list_incidents"))["incidents"][0]["entries"] == 1


async def test_alertmanager_itself_opens_an_incident_once_and_notes_its_end(tmp_path: Path) -> None:
    """The real Alertmanager, started with the hub's hook as its webhook."""
    async with watched_hub(tmp_path / "home") as (hub, client):
        (tmp_path / "alertmanager").mkdir()
        manager = Alertmanager(tmp_path / "alertmanager", hook(hub))
        with running(manager):
            labels = {"alertname": "ShopBurns", "severity": "page", "service": "shop"}
            alert: dict[str, Any] = {"labels": labels, "annotations": {"summary": "The shop fails"}}
            async with httpx.AsyncClient() as http:
                for _ in range(2):
                    assert (await http.post(f"{manager.url}/api/v2/alerts", json=[alert])).is_success

                async def listed(state: str = "open") -> list[dict[str, Any]]:
                    return told(await call(client, "list_incidents", state=state))["incidents"]

                (incident,) = await eventually(listed)
                assert (incident["title"], incident["severity"], incident["origin"]) == (
                    "The shop fails",
                    "critical",
                    "alert",
                )
                assert (incident["service"], incident["firing"]) == ("shop", 1)
                ended = {**alert, "endsAt": datetime.now(UTC).isoformat()}
                assert (await http.post(f"{manager.url}/api/v2/alerts", json=[ended])).is_success

                async def quiet() -> list[dict[str, Any]]:
                    return [one for one in await listed() if one["firing"] == 0]

                (after,) = await eventually(quiet)
                assert (after["incident"], after["entries"]) == (incident["incident"], 3)


async def test_a_hook_takes_only_who_has_the_role_and_only_what_it_knows(tmp_path: Path) -> None:
    async with watched_hub(tmp_path / "home") as (hub, client):
        viewer = make_key(tmp_path / "home", "viewer", Role.VIEWER)
        operator = make_key(tmp_path / "home", "operator")
        async with httpx.AsyncClient() as http:

            async def post(body: object, key: str, name: str = "alertmanager") -> tuple[int, dict[str, Any]]:
                headers = {"authorization": f"Bearer {key}"}
                reply = await http.post(hook(hub, name), json=body, headers=headers)
                return reply.status_code, reply.json()

            assert (await post(message(), viewer))[0] == 403
            assert (await post(message(), "qs_wrong_key"))[0] == 401
            assert (await post(message(), operator, "other"))[0] == 404
            assert (await post({"version": "3"}, operator))[0] == 400
            status, said = await post({**message(), "alerts": [{}]}, operator)
            assert (status, said["error"]) == (400, "caller_error")
            assert "alerts.0.status" in said["message"]
            assert (await http.get(hook(hub))).status_code == 405
            assert await declared_size(hub, 99_999_999) == b"HTTP/1.1 413"
            deep = await http.post(hook(hub), content=b"[" * 500, headers={"content-type": "application/json"})
            assert deep.status_code == 400
            assert told(await call(client, "list_incidents", state="all"))["found"] == 0

            status, first = await post(message(), operator)
            assert (status, first["opened"]) == (200, True)
            assert (await post(message(), operator))[1] == {**first, "opened": False}
            assert (await post(message("resolved"), operator))[1]["entries"] == 3
            assert (await post(message("resolved"), operator))[1]["entries"] == 3
            told(await call(client, "manage_incident", action="resolve", incident=first["incident"], text="Over"))
            assert (await post(message(), operator))[1] == {"incident": None, "opened": False}
            status, next_one = await post(message(fingerprint="f2"), operator)
            assert next_one["opened"]
            assert next_one["incident"] != first["incident"]

            assert (await post({"what": "release 41", "service": "cart"}, operator, "changes"))[0] == 200
            status, said = await post({"what": ""}, operator, "changes")
            assert (status, said["message"][:5]) == (400, "what:")
