"""Editing mcp.json changes what is fronted at once, and disturbs no call on what was not touched."""

import json

import anyio
import pytest
from mcp import Client
from reference.hub import (
    QUICK,
    bad,
    call_text,
    details,
    eventually,
    reference,
    running_hub,
    status,
    tool_names,
    write_config,
)

from quantum_suite.hub.app import open_hub
from quantum_suite.hub.settings import HubSettings

pytestmark = pytest.mark.anyio

HELD_SECONDS = 120
"""Time for a call to stay open while another server starts, however busy the machine is."""


async def test_two_servers_with_one_name_for_a_tool_are_never_mixed_up(tmp_path):
    servers = {"first": bad("good", prefix="same"), "second": bad("good", prefix="same")}
    async with running_hub(tmp_path, servers) as hub, Client(hub.url) as client:

        async def refused():
            first, second = await status(client, "first"), await status(client, "second")
            settled = first["state"] == second["state"] == "healthy"
            return (first, second) if settled else None

        first, second = await eventually(refused)
        owner, other = (first, second) if second["refused_names"] else (second, first)
        assert other["refused_names"] == ["same_work"]
        assert owner["refused_names"] == []
        assert [name for name in await tool_names(client) if name.startswith("same_")] == ["same_work"]

        children = {await call_text(client, "same_work") for _ in range(20)}
        assert len(children) == 1, "every call went to the same server"

        # The owner's going away hands its name to nobody; only taking it out of the file does.
        hub.mount({other["name"]: servers[other["name"]]})

        async def handed_over():
            return (await status(client, other["name"]))["refused_names"] == []

        await eventually(handed_over)
        assert await call_text(client, "same_work") not in children


async def test_a_name_is_withdrawn_rather_than_handed_over_while_its_owner_is_away(tmp_path):
    servers = {"owner": bad("good", prefix="same"), "other": bad("good", prefix="same")}
    async with running_hub(tmp_path, servers) as hub, Client(hub.url) as client:

        async def both_up():
            return all([(await status(client, name))["state"] == "healthy" for name in servers])

        await eventually(both_up)
        owned_by = "other" if (await status(client, "owner"))["refused_names"] else "owner"
        hub.mount({**servers, owned_by: bad("hangs-at-start", prefix="same")})

        async def withdrawn():
            return "same_work" not in await tool_names(client)

        await eventually(withdrawn)
        (spare,) = servers.keys() - {owned_by}
        assert (await status(client, spare))["state"] == "healthy"
        assert (await status(client, spare))["refused_names"] == ["same_work"]


async def test_calls_in_flight_outlive_every_edit_that_does_not_concern_their_server(tmp_path):
    gate = tmp_path / "gate"
    stays, edited = reference(), bad("good")
    async with (
        running_hub(
            tmp_path, {"stays": stays, "gone": bad("good"), "edited": edited}, drain_seconds=HELD_SECONDS
        ) as hub,
        Client(hub.url) as client,
    ):

        async def all_up():
            return {"stays_echo", "gone_work", "edited_work"} <= await tool_names(client)

        await eventually(all_up)
        before = await call_text(client, "stays_process_id")
        started = anyio.Event()
        answers: list[str] = []

        async def progressed(done: float, total: float | None, message: str | None) -> None:
            started.set()

        async def hold() -> None:
            arguments = {"path": str(gate)}
            result = await client.call_tool("stays_wait_for_file", arguments, progress_callback=progressed)
            answers.append(result.content[0].text)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold)
            with anyio.fail_after(25):
                await started.wait()

            hub.mount({"stays": stays, "edited": {**edited, "env": {"EDITED": "1"}}, "added": bad("good")})

            async def applied():
                names = await tool_names(client)
                return "added_work" in names and "gone_work" not in names

            await eventually(applied)
            assert (await call_text(client, "added_work")).startswith("worked")

            async def edited_is_back():
                return (await status(client, "edited"))["state"] == "healthy"

            await eventually(edited_is_back)
            assert (await call_text(client, "edited_work")).startswith("worked")
            assert not answers
            gate.touch()

        assert answers == ["the file is there"]
        assert await call_text(client, "stays_process_id") == before


async def test_a_call_in_flight_on_a_removed_server_is_answered_before_the_server_ends(tmp_path):
    gate = tmp_path / "gate"
    async with (
        running_hub(tmp_path, {"gone": reference(), "stays": bad("good")}, drain_seconds=HELD_SECONDS) as hub,
        Client(hub.url) as client,
    ):
        started = anyio.Event()
        answers: list[str] = []

        async def up():
            return {"gone_echo", "stays_work"} <= await tool_names(client)

        async def progressed(done: float, total: float | None, message: str | None) -> None:
            started.set()

        async def hold() -> None:
            arguments = {"path": str(gate)}
            result = await client.call_tool("gone_wait_for_file", arguments, progress_callback=progressed)
            answers.append(result.content[0].text)

        async def withdrawn():
            return not any(name.startswith("gone_") for name in await tool_names(client))

        await eventually(up)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold)
            with anyio.fail_after(25):
                await started.wait()
            hub.mount({"stays": bad("good")})
            await eventually(withdrawn)
            gate.touch()
        assert answers == ["the file is there"]


async def test_a_file_that_cannot_be_read_changes_nothing(tmp_path):
    async with running_hub(tmp_path, {"good": bad("good")}) as hub, Client(hub.url) as client:

        async def up():
            return "good_work" in await tool_names(client)

        await eventually(up)
        hub.config.write_text('{"mcpServers": {"good": ')
        hub.config.write_text('{"mcpServers": {"good": {')
        assert (await call_text(client, "good_work")).startswith("worked")
        hub.mount({"good": bad("good"), "added": bad("good")})

        async def added():
            return "added_work" in await tool_names(client)

        await eventually(added)


async def test_a_broken_file_is_reported_until_it_is_mended(tmp_path):
    async with running_hub(tmp_path, {"good": bad("good")}) as hub, Client(hub.url) as client:

        async def problem():
            return (await details(client))["configuration"]["problem"]

        async def up():
            return "good_work" in await tool_names(client)

        async def mended():
            return await problem() is None

        await eventually(up)
        hub.config.write_text('{"mcpServers": {"good": ')
        assert "line 1" in await eventually(problem)
        assert (await call_text(client, "good_work")).startswith("worked")
        hub.config.unlink()

        async def gone():
            return "does not exist" in (await problem() or "")

        await eventually(gone)
        hub.mount({"good": bad("good")})
        await eventually(mended)


async def test_an_edit_above_an_entry_does_not_restart_what_the_entry_names(tmp_path):
    async with running_hub(tmp_path, {"good": bad("good")}) as hub, Client(hub.url) as client:
        entry = json.dumps(bad("good"))
        hub.config.write_text('{"mcpServers": {\n"good": ' + entry + "}}")

        async def says_line(number: int):
            return (await status(client, "good"))["source"].endswith(f":{number}")

        async def on_line_two():
            return await says_line(2) and "good_work" in await tool_names(client)

        async def on_line_four():
            return await says_line(4)

        await eventually(on_line_two)
        child = await call_text(client, "good_work")
        hub.config.write_text('{"mcpServers": {\n// a remark\n\n"good": ' + entry + "}}")
        await eventually(on_line_four)
        assert await call_text(client, "good_work") == child


async def test_a_server_that_is_taken_out_and_put_back_while_it_drains_is_there_again(tmp_path):
    gate = tmp_path / "gate"
    servers = {"there": reference()}
    async with (
        running_hub(tmp_path, servers, drain_seconds=HELD_SECONDS) as hub,
        Client(hub.url) as client,
    ):

        async def up():
            return "there_echo" in await tool_names(client)

        async def withdrawn():
            return "there_echo" not in await tool_names(client)

        await eventually(up)
        before = await call_text(client, "there_process_id")
        answers: list[str] = []

        async def hold() -> None:
            answers.append(await call_text(client, "there_wait_for_file", path=str(gate)))

        async def held():
            return (await status(client, "there"))["in_flight"] == 1

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold)
            await eventually(held)
            hub.mount({})
            await eventually(withdrawn)
            hub.mount(servers)
            await eventually(up)
            assert await call_text(client, "there_process_id") != before
            assert not answers
            gate.touch()
        assert answers == ["the file is there"]


async def test_an_entry_that_takes_the_hubs_own_name_is_named_and_changes_nothing(tmp_path):
    async with running_hub(tmp_path, {"hub": bad("good"), "good": bad("good")}) as hub, Client(hub.url) as client:
        servers = {server["name"]: server for server in (await details(client))["servers"]}
        assert servers["hub"]["state"] == "healthy"
        assert "Rename the entry" in servers["hub (mcp.json)"]["problem"]


async def test_taking_out_the_one_server_that_is_served_alone_is_reported_and_ends_nothing(tmp_path):
    file = tmp_path / "mcp.json"
    write_config(file, {"alone": bad("good")})
    settings = HubSettings(data_dir=tmp_path / "data", config=file)
    async with open_hub(settings, only="alone", policy=QUICK) as gateway:
        write_config(file, {"other": bad("good")})

        async def reported():
            return "no server 'alone'" in (gateway.configuration().problem or "")

        await eventually(reported)
        assert [one.name for one in gateway.statuses()] == ["alone"]
