"""A client of either era uses a server of either era, questions included."""

import sys
from typing import Any

import anyio
import pytest
from mcp import Client, MCPError
from mcp.types import ElicitResult, TextContent
from reference.hub import REFERENCE, call_text, running_hub, tool_names

pytestmark = pytest.mark.anyio

CLIENTS = {"modern": "2026-07-28", "handshake": "legacy"}


def one_era(era: str) -> dict[str, object]:
    return {"command": sys.executable, "args": [str(REFERENCE / "one_era_server.py"), era]}


async def ada(context: Any, params: Any) -> ElicitResult:
    return ElicitResult(action="accept", content={"name": "Ada"})


def client_of(url: str, era: str, **more: Any) -> Client:
    return Client(url, mode=CLIENTS[era], **more)


@pytest.mark.parametrize("client_era", CLIENTS)
@pytest.mark.parametrize("server_era", CLIENTS)
async def test_a_servers_question_reaches_the_person_and_the_answer_comes_back(
    tmp_path, client_era, server_era
) -> None:
    async with (
        running_hub(tmp_path, {"era": one_era(server_era)}) as hub,
        client_of(hub.url, client_era, elicitation_callback=ada) as client,
    ):
        with anyio.fail_after(50):
            assert await call_text(client, "era_ask") == "hello Ada"
            assert await call_text(client, "era_ask") == "hello Ada"


@pytest.mark.parametrize("client_era", CLIENTS)
async def test_a_question_to_a_client_that_cannot_answer_is_refused(tmp_path, client_era) -> None:
    async with (
        running_hub(tmp_path, {"era": one_era("handshake")}) as hub,
        client_of(hub.url, client_era) as client,
    ):
        with anyio.fail_after(50):
            result = await client.call_tool("era_ask", {})
    assert result.is_error
    assert isinstance(result.content[0], TextContent)


@pytest.mark.parametrize("client_era", CLIENTS)
@pytest.mark.parametrize("server_era", CLIENTS)
async def test_lists_and_reads_look_the_same_from_both_eras(tmp_path, client_era, server_era) -> None:
    async with (
        running_hub(tmp_path, {"era": one_era(server_era)}) as hub,
        client_of(hub.url, client_era) as client,
    ):
        with anyio.fail_after(50):
            assert {"era_ask", "era_any"} <= await tool_names(client)
            read = await client.read_resource("era://who")
            assert read.contents[0].text == "me"
            with pytest.raises(MCPError) as missing:
                await client.read_resource("era://nobody")
            with pytest.raises(MCPError) as unknown:
                await client.read_resource("elsewhere://nobody")
    by_server = {"modern": -32602, "handshake": -32002}[server_era]
    assert missing.value.error.code == (-32602 if client_era == "modern" else by_server)
    assert unknown.value.error.code == (-32602 if client_era == "modern" else -32002)


async def test_structured_content_that_is_no_object_is_withheld_from_earlier_revisions(tmp_path) -> None:
    async with running_hub(tmp_path, {"era": one_era("modern")}) as hub:
        async with client_of(hub.url, "modern") as client:
            assert (await client.call_tool("era_any", {})).structured_content == [1, 2]
        async with client_of(hub.url, "handshake") as client:
            result = await client.call_tool("era_any", {})
            assert result.structured_content is None
            assert isinstance(result.content[0], TextContent)
