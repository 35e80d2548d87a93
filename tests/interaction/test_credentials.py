"""Where an upstream tells callers apart, each principal's calls carry its own credentials and nobody else's."""

import sys

import anyio
import pytest
from mcp import Client, MCPError
from reference.hub import REFERENCE, call_text, eventually, running_hub, tool_names
from reference.people import client_with, make_key
from reference.running import listening

from quantum_suite.core.principals import Role

pytestmark = pytest.mark.anyio
NAMES = ("ada", "grace")


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
async def test_interleaved_calls_of_two_principals_never_swap_credentials(tmp_path, mode) -> None:
    command = [sys.executable, str(REFERENCE / "whoami_server.py"), "--http", "0"]
    credentials = {f"key:{name}": {"Authorization": f"Bearer of-{name}"} for name in NAMES}
    async with listening(command) as (url, _):
        entry = {"type": "http", "url": url, "quantum": {"credentials": credentials}}
        async with running_hub(tmp_path, {"who": entry}) as hub, anyio.create_task_group() as tasks:

            async def calls_as(name: str) -> None:
                key = make_key(tmp_path, name, Role.VIEWER)
                async with client_with(hub.url, key, mode=mode) as client:
                    for _ in range(25):
                        assert await call_text(client, "who_whoami") == f"Bearer of-{name}"

            for name in NAMES:
                tasks.start_soon(calls_as, name)


async def test_a_principal_without_credentials_is_not_let_through(tmp_path) -> None:
    command = [sys.executable, str(REFERENCE / "whoami_server.py"), "--http", "0"]
    async with listening(command) as (url, _):
        entry = {"url": url, "quantum": {"credentials": {"key:ada": {"Authorization": "Bearer of-ada"}}}}
        async with running_hub(tmp_path, {"who": entry}) as hub, Client(hub.url) as client:

            async def listed() -> bool:
                return "who_whoami" in await tool_names(client)

            await eventually(listed)
            with pytest.raises(MCPError, match="no credentials for local"):
                await client.call_tool("who_whoami", {})
