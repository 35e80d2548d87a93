"""Language models over MCP, through the real hub: asked, listed, accounted for, under budgets."""

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp.types import ResourceLink
from reference.answers import read, refusal, text_of, told
from reference.gateways import event_store, logged
from reference.hub import eventually, running_hub, tool_names
from reference.models import MODEL, ModelServer, configured, provider
from reference.people import client_with, make_key

from quantum_suite.core.errors import ConfigurationError
from quantum_suite.core.principals import Role
from quantum_suite.hub.mounts import Extra
from quantum_suite.servers.llm import build
from quantum_suite.servers.module import Services
from quantum_suite.services.capacity.memory import MemoryCapacity
from quantum_suite.services.limits.memory import MemoryRateLimiter
from quantum_suite.services.llm.opening import open_models
from quantum_suite.services.workspaces import Workspaces

pytestmark = pytest.mark.anyio


@dataclass
class House:
    """A hub with the module behind it, and clients by name."""

    home: Path
    url: str
    events: Any

    def client(
        self, name: str | None = None, role: Role = Role.OPERATOR, **more: Any
    ) -> AbstractAsyncContextManager[Client]:
        """Connect with a key of that name; without one, as the person at this machine (an admin)."""
        return client_with(self.url, make_key(self.home, name, role) if name else None, **more)


@asynccontextmanager
async def house(
    home: Path, providers: dict[str, Any] | None, environ: dict[str, str] | None = None, **more: Any
) -> AsyncIterator[House]:
    data = home / "data"
    data.mkdir(mode=0o700)
    if providers is not None:
        configured(data / "providers.yaml", providers, **more)
    events = event_store()
    async with open_models(
        data, None, events=events, cache=None, limiter=MemoryRateLimiter(), environ=environ or {}
    ) as models:
        services = Services(data, Workspaces(()), MemoryCapacity(1), events, models=models)
        async with running_hub(home, {}, extra=[Extra("llm", build(services).server, "llm")]) as hub:
            yield House(home, hub.url, events)


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    return told(await client.call_tool(f"llm_{tool}", arguments))


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    return refusal(await client.call_tool(f"llm_{tool}", arguments))


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_model_is_asked_and_accounted_for_in_both_eras(
    mode: str, tmp_path: Path, model_server: ModelServer
) -> None:
    async with house(tmp_path, {"local": provider(model_server.url)}) as home, home.client(mode=mode) as client:
        assert {"llm_ask_model", "llm_list_models", "llm_model_usage"} <= await tool_names(client)
        said = await call(client, "ask_model", prompt="Say hello.", max_output_tokens=4, purpose="greet")
        assert said["text"]
        assert (said["provider"], said["model"], said["cost_usd"]) == ("local", MODEL, 0)
        assert said["output_tokens"] > 0
        used = await call(client, "model_usage")
        (row,) = used["rows"]
        assert (row["principal"], row["model"], row["purpose"], row["answered"]) == (
            "local",
            f"local/{MODEL}",
            "greet",
            1,
        )
        assert row["output_tokens"] == said["output_tokens"]
        report = await read(client, "quantum://llm/usage/month")
        assert f"| local | local/{MODEL} | greet | 1 |" in report
        (event,) = await eventually(lambda: logged(home.events))
        assert event.principal == "local"
        assert event.correlation_id


async def test_a_conversation_and_an_answer_by_schema(tmp_path: Path, model_server: ModelServer) -> None:
    schema = {"type": "object", "properties": {"yes": {"type": "boolean"}}, "required": ["yes"]}
    async with house(tmp_path, {"local": provider(model_server.url)}) as home, home.client() as client:
        turns = [
            {"role": "user", "text": "Hi"},
            {"role": "assistant", "text": "Hi"},
            {"role": "user", "text": "Yes?"},
        ]
        asked: dict[str, Any] = {
            "messages": turns,
            "system": "Be brief.",
            "output_schema": schema,
            "temperature": 0,
            "max_output_tokens": 20,
        }
        said = await call(client, "ask_model", **asked)
        assert isinstance(said["data"]["yes"], bool)
        assert not said["cached"]
        again = await call(client, "ask_model", **asked)
        assert (again["data"], again["cached"], again["cost_usd"]) == (said["data"], True, 0)
        assert (await call(client, "model_usage"))["attempts"] == 1


async def test_a_budget_refuses_beforehand_and_says_what_is_left(
    tmp_path: Path, model_server: ModelServer
) -> None:
    budgets = [{"per": "day", "tokens": 250}, {"principal": "all", "per": "month", "tokens": 400}]
    async with (
        house(tmp_path, {"local": provider(model_server.url)}, budgets=budgets) as home,
        home.client("ann") as ann,
        home.client("bob") as bob,
    ):
        await call(ann, "ask_model", prompt="Say hello.", max_output_tokens=4)
        yours, everybodys = (await call(ann, "list_models"))["budgets"]
        assert (yours["of"], yours["tokens"], everybodys["of"]) == ("you", 250, "everybody")
        assert 150 < yours["tokens_left"] < 250
        assert "budget of key:ann for this day is 250 tokens" in await refused(
            ann, "ask_model", prompt="Say hello.", max_output_tokens=300
        )
        assert "The call may take 20 tokens" in await refused(
            ann, "ask_model", prompt="Say hello.", max_output_tokens=4, budget_tokens=20
        )
        # What was refused was not sent, and what one spends is not the other's.
        assert (await call(ann, "model_usage"))["attempts"] == 1
        assert (await call(bob, "model_usage"))["rows"] == []
        assert (await call(bob, "list_models"))["budgets"][0]["tokens_left"] == 250


async def test_everybodys_usage_is_for_administrators(tmp_path: Path, model_server: ModelServer) -> None:
    async with (
        house(tmp_path, {"local": provider(model_server.url)}) as home,
        home.client("ann") as ann,
        home.client() as admin,
    ):
        await call(ann, "ask_model", prompt="Say hello.", max_output_tokens=2)
        assert "for administrators" in await refused(ann, "model_usage", everybody=True)
        with pytest.raises(MCPError, match="for administrators"):
            await read(ann, "quantum://llm/usage/day/everybody")
        (row,) = (await call(admin, "model_usage", everybody=True))["rows"]
        assert row["principal"] == "key:ann"
        assert "| key:ann |" in await read(admin, "quantum://llm/usage/day/everybody")
        assert "No model was asked" in await read(admin, "quantum://llm/usage/day")
        with pytest.raises(MCPError, match="Ask for day or month"):
            await read(admin, "quantum://llm/usage/year")


async def test_a_viewer_looks_and_does_not_ask(tmp_path: Path, model_server: ModelServer) -> None:
    async with (
        house(tmp_path, {"local": provider(model_server.url)}) as home,
        home.client("vic", Role.VIEWER) as viewer,
    ):
        assert (await call(viewer, "list_models"))["configured"]
        assert "llm_ask_model" not in await tool_names(viewer)


async def test_models_and_providers_are_listed_without_their_keys(tmp_path: Path) -> None:
    providers = {
        "cloud": {"kind": "openai", "api_key": "${KEY}", "models": {"gpt-4o": {}, "own": {"price": "free"}}},
        "lost": {"kind": "anthropic", "api_key": "${LOST}", "models": {"claude-sonnet-4-5": {}}},
        "local": provider("http://127.0.0.1:9"),
    }
    routes = {"default": ["cloud/gpt-4o", f"local/{MODEL}"], "cheap": [f"local/{MODEL}"]}
    environ = {"KEY": "a-key-nobody-may-see"}
    async with house(tmp_path, providers, environ, routes=routes) as home, home.client() as client:
        result = await client.call_tool("llm_list_models", {})
        listed = result.structured_content
        assert listed is not None
        assert {route["name"]: route["models"] for route in listed["routes"]} == routes
        cloud, lost, local = listed["providers"]
        assert (cloud["host"], cloud["state"]) == ("api.openai.com", "ready")
        assert [model["price"] for model in cloud["models"]] == ["list", "free"]
        assert (lost["state"], lost["why"]) == ("unusable", "The environment variable LOST is not set.")
        assert [model["price"] for model in local["models"]] == ["free"]
        (link,) = [block for block in result.content if isinstance(block, ResourceLink)]
        page = await read(client, str(link.uri))
        assert json.loads(page)["providers"] == listed["providers"]
        assert json.loads(await read(client, "quantum://llm/providers/lost")) == lost
        with pytest.raises(MCPError, match="There are cloud, lost, local"):
            await read(client, "quantum://llm/providers/other")
        assert "a-key-nobody-may-see" not in page + text_of(result)


async def test_who_has_no_model_is_told_how_to_get_one(tmp_path: Path) -> None:
    async with house(tmp_path, None) as home, home.client() as client:
        assert "QUANTUM_MODELS" in await refused(client, "ask_model", prompt="Hello?")
        listed = await call(client, "list_models")
        assert not listed["configured"]
        assert "QUANTUM_MODELS" in listed["how_to_configure"]
        assert (await call(client, "model_usage"))["attempts"] == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "prompt: Give prompt or messages"),
        ({"prompt": "a", "messages": [{"role": "user", "text": "b"}]}, "not both"),
        ({"messages": [{"role": "assistant", "text": "b"}]}, "messages: The last turn is not the user's"),
        ({"messages": [{"role": "tool", "text": "b"}]}, "messages.0.role"),
        ({"prompt": "a", "model": "nowhere"}, "model: There is no model 'nowhere'"),
        ({"prompt": "a", "max_output_tokens": 0}, "max_output_tokens"),
        ({"prompt": "a", "output_schema": {"type": "nothing"}}, "output_schema: The output schema is none"),
        ({"prompt": "a", "promt": "b"}, "Did you mean prompt?"),
        ({"prompt": "a", "deadline_seconds": 5}, "No model answered: away/smollm2"),
    ],
)
async def test_a_wrong_call_says_what_would_be_right(arguments: dict[str, Any], says: str, tmp_path: Path) -> None:
    async with (
        house(tmp_path, {"away": provider("http://127.0.0.1:9", attempts=1)}) as home,
        home.client() as client,
    ):
        assert says in await refused(client, "ask_model", **arguments)


def test_the_module_needs_a_gateway(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="without a gateway"):
        build(Services(tmp_path, Workspaces(()), MemoryCapacity(1), event_store()))
