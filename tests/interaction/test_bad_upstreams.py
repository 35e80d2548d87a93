"""Whatever a server does, the others behind the hub answer as before, and the hub says what is wrong with it."""

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import pytest
from mcp import Client, MCPError
from mcp.types import TextContent
from reference.hub import (
    PROMPT_SECONDS,
    REFERENCE,
    bad,
    call_text,
    eventually,
    running_hub,
    status,
    tool_names,
)
from reference.running import listening

pytestmark = pytest.mark.anyio

HANG_SECONDS = 1
"""The deadline of a server whose calls are expected never to be answered."""


@asynccontextmanager
async def _beside_a_good_one(
    home, mode: str, transport: str, *, deadline_seconds: float = 30
) -> AsyncIterator[Client]:
    """A client of a hub that fronts the server `bad` and, after it, the server `good`."""
    async with AsyncExitStack() as stack:
        state = {"TOOLS_FILE": str(home / "tools")}
        entry = {**bad(mode, deadlineSeconds=deadline_seconds), "env": state}
        if transport == "http":
            command = [sys.executable, str(REFERENCE / "bad_servers.py"), mode, "--http", "0"]
            url, _ = await stack.enter_async_context(listening(command, state))
            entry = {"type": "http", "url": url, "quantum": {"deadlineSeconds": deadline_seconds}}
        hub = await stack.enter_async_context(running_hub(home, {"bad": entry, "good": bad("good")}))
        yield await stack.enter_async_context(Client(hub.url))


async def _good_answers(client: Client, times: int = 4) -> None:
    for _ in range(times):
        with anyio.fail_after(PROMPT_SECONDS):
            assert (await call_text(client, "good_work")).startswith("worked")
            assert "good_work" in await tool_names(client)


async def _outcome(client: Client) -> str:
    """Call the bad server's tool; return what came of it: the answer's text, or the error's."""
    try:
        result = await client.call_tool("bad_work", {})
    except MCPError as error:
        return str(error)
    return "".join(block.text for block in result.content if isinstance(block, TextContent))


async def _state(client: Client, wanted: str):
    async def reached():
        found = await status(client, "bad")
        return found if found["state"] == wanted else None

    return await eventually(reached)


async def _is_healthy(client: Client):
    return await _state(client, "healthy")


@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_a_server_that_never_answers_is_away_with_the_reason_and_delays_nobody(tmp_path, transport):
    async with _beside_a_good_one(tmp_path, "hangs-at-start", transport) as client:
        await _good_answers(client)
        found = await _state(client, "degraded")
        assert "did not answer" in found["problem"]
        assert found["tools"] == 0
        assert not any(name.startswith("bad_") for name in await tool_names(client))
        await _good_answers(client)


async def test_a_server_that_ends_at_start_is_away_with_what_it_printed(tmp_path):
    async with _beside_a_good_one(tmp_path, "dies-at-start", "stdio") as client:
        found = await _state(client, "degraded")
        assert "cannot open the database at db.internal" in found["problem"]
        await _good_answers(client)


@pytest.mark.parametrize(
    ("mode", "transport"),
    [
        ("hangs-on-call", "stdio"),
        ("hangs-on-call", "http"),
        ("wrong-ids", "stdio"),
        ("wrong-ids", "http"),
        ("dies-mid-call", "stdio"),
        ("floods-line", "stdio"),
        ("floods-line", "http"),
        ("result-is-text", "stdio"),
        ("result-is-text", "http"),
        ("error-is-text", "stdio"),
        ("error-is-text", "http"),
        ("floods-progress", "stdio"),
        ("floods-progress", "http"),
    ],
)
async def test_a_call_that_cannot_be_answered_fails_by_itself_while_the_good_server_answers(
    tmp_path, mode, transport
):
    async with _beside_a_good_one(tmp_path, mode, transport, deadline_seconds=HANG_SECONDS) as client:
        await _is_healthy(client)
        outcomes: list[str] = []

        async def call_bad() -> None:
            with anyio.fail_after(30):
                outcomes.append(await _outcome(client))

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(call_bad)
            await _good_answers(client)

        assert len(outcomes) == 3
        for outcome in outcomes:
            assert not outcome.startswith("worked")
            assert "'bad'" in outcome, "the error names the server it came from"
        await _good_answers(client)


async def test_errors_of_a_servers_own_are_passed_on_and_do_not_count_against_it(tmp_path):
    async with _beside_a_good_one(tmp_path, "answers-with-errors", "stdio") as client:
        await _is_healthy(client)
        for _ in range(12):
            with pytest.raises(MCPError, match="out of paper") as caught:
                await client.call_tool("bad_work", {})
            assert caught.value.error.code == -32000
        assert (await status(client, "bad"))["state"] == "healthy"


@pytest.mark.parametrize(
    ("mode", "transport"),
    [
        ("floods-stderr", "stdio"),
        ("prints-garbage", "stdio"),
        ("answers-twice", "stdio"),
        ("answers-twice", "http"),
    ],
)
async def test_noise_around_an_answer_is_kept_from_everybody(tmp_path, mode, transport):
    async with _beside_a_good_one(tmp_path, mode, transport) as client:
        await _is_healthy(client)
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(_good_answers, client)
            with anyio.fail_after(30):
                assert (await _outcome(client)).startswith("worked")
        await _good_answers(client)


async def test_what_a_server_prints_is_kept_for_inspection_in_bounds(tmp_path):
    async with _beside_a_good_one(tmp_path, "floods-stderr", "stdio") as client:
        await _is_healthy(client)
        await _outcome(client)

        async def printed():
            read = await client.read_resource("quantum://hub/servers/bad/stderr", cache_mode="bypass")
            return read.contents[0].text

        text = await eventually(printed)
        assert "noise" in text
        assert len(text) < 1024 * 1024


@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_tools_that_are_no_tools_are_left_out_by_name_and_the_rest_stands(tmp_path, transport):
    async with _beside_a_good_one(tmp_path, "invalid-schemas", transport) as client:
        found = await _is_healthy(client)
        listed = {name for name in await tool_names(client) if name.startswith("bad_")}
        assert listed == {"bad_work", "bad_twice"}
        for named in (
            "schema_is_text",
            "schema_is_list",
            "schema_of_numbers",
            "properties_are_text",
            "twice",
            "huge",
        ):
            assert named in found["problem"]
        assert (await _outcome(client)).startswith("worked")
        await _good_answers(client)


async def test_a_list_that_is_no_list_puts_its_server_away_with_the_reason(tmp_path):
    async with _beside_a_good_one(tmp_path, "list-is-no-list", "stdio") as client:
        found = await _state(client, "degraded")
        assert "tools/list" in found["problem"]
        await _good_answers(client)


async def test_a_list_that_never_ends_is_cut_and_named(tmp_path):
    async with _beside_a_good_one(tmp_path, "list-never-ends", "stdio") as client:
        found = await _is_healthy(client)
        assert "does not end" in found["problem"]
        assert 0 < found["tools"] <= 5_000
        await _good_answers(client)


async def test_a_slow_server_joins_when_it_is_ready_and_delays_nobody(tmp_path):
    async with _beside_a_good_one(tmp_path, "slow", "stdio") as client:
        await _good_answers(client)
        await _is_healthy(client)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_outcome, client)
            await _good_answers(client)


@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_a_changed_list_reaches_clients_when_the_server_announces_it(tmp_path, transport):
    async with _beside_a_good_one(tmp_path, "changes-tools", transport) as client:
        await _is_healthy(client)
        async with client.listen(tools_list_changed=True) as changes:
            await _outcome(client)
            with anyio.fail_after(25):
                await anext(aiter(changes))

        async def listed():
            return "bad_work_1" in await tool_names(client)

        await eventually(listed)


@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_a_changed_list_is_found_when_the_server_says_nothing(tmp_path, transport):
    async with _beside_a_good_one(tmp_path, "changes-tools-silently", transport) as client:
        await _is_healthy(client)
        await _outcome(client)

        async def listed():
            return "bad_work_1" in await tool_names(client)

        await eventually(listed)
        assert (await call_text(client, "bad_work_1")).startswith("worked")
