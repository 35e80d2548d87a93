"""A hub in the test's own process, on a real port, with real servers behind it."""

import importlib.metadata
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import anyio
from mcp import Client
from mcp.types import TextContent, TextResourceContents

from quantum_suite.hub.app import Gateway, open_hub
from quantum_suite.hub.health import HealthPolicy
from quantum_suite.hub.mounts import ENTRY_POINTS, Extra
from quantum_suite.hub.settings import HubSettings, Limits
from quantum_suite.hub.wire.asgi import HubApp
from quantum_suite.hub.wire.server import run_http

Found = TypeVar("Found")
REFERENCE = Path(__file__).parent

QUICK = HealthPolicy(
    check_interval_seconds=0.3,
    connect_deadline_seconds=6,
    check_deadline_seconds=3,
    first_delay_seconds=0.05,
    longest_delay_seconds=0.3,
    shortest_pause_seconds=0.05,
)
"""Checks often, so that a test sees soon what would take half a minute otherwise."""

NO_MODULES: dict[str, object] = {
    point.name: {"disabled": True} for point in importlib.metadata.entry_points(group=ENTRY_POINTS)
}
"""Entries that leave the suite's own servers out, for tests of what is beside them: a hub starts faster."""

PROMPT_SECONDS = 15
"""A server that is well answers within this, whatever its neighbours do."""


@dataclass(frozen=True, slots=True)
class RunningHub:
    """A hub that answers."""

    url: str
    config: Path
    gateway: Gateway
    left_out: Mapping[str, object]
    """Entries that are in its mcp.json to leave the suite's own servers out."""

    def mount(self, servers: Mapping[str, object]) -> None:
        """Replace its mcp.json, as an editor does."""
        write_config(self.config, {**self.left_out, **servers})


def write_config(file: Path, servers: Mapping[str, object]) -> None:
    """Write an mcp.json in one step."""
    staged = file.with_suffix(".new")
    staged.write_text(json.dumps({"mcpServers": servers}))
    staged.replace(file)


@asynccontextmanager
async def running_hub(
    home: Path,
    servers: Mapping[str, object],
    *,
    extra: Sequence[Extra] = (),
    policy: HealthPolicy = QUICK,
    drain_seconds: float = 5,
    modules: bool = False,
    **more: Any,
) -> AsyncIterator[RunningHub]:
    """Run a hub in front of `servers` with its state under `home`; `more` are further settings.

    Without `modules`, the suite's own servers are left out, and it starts faster.
    """
    given = {one.name for one in extra}
    left_out = {} if modules else {name: entry for name, entry in NO_MODULES.items() if name not in given}
    config = home / "mcp.json"
    write_config(config, {**left_out, **servers})
    limits = Limits(calls_per_minute=1_000_000, drain_seconds=drain_seconds)
    settings = HubSettings(port=0, data_dir=home / "data", config=config, limits=limits, **more)
    listening = anyio.Event()
    address: list[int] = []

    def heard(host: str, port: int) -> None:
        address.append(port)
        listening.set()

    async with open_hub(settings, extra=extra, policy=policy) as gateway, anyio.create_task_group() as tasks:

        async def serve() -> None:
            await run_http(HubApp(gateway, settings, hooks=gateway.hooks), settings, on_listening=heard)

        tasks.start_soon(serve)
        with anyio.fail_after(25):
            await listening.wait()
        yield RunningHub(f"http://127.0.0.1:{address[0]}/mcp", config, gateway, left_out)
        tasks.cancel_scope.cancel()


def reference(**options: object) -> dict[str, object]:
    """Return the mcp.json entry of the reference server as a child."""
    return {"command": sys.executable, "args": [str(REFERENCE / "server.py"), "--stdio"], "quantum": options}


def bad(mode: str, **options: object) -> dict[str, object]:
    """Return the mcp.json entry of a server of `bad_servers.py` as a child."""
    return {"command": sys.executable, "args": [str(REFERENCE / "bad_servers.py"), mode], "quantum": options}


async def eventually(probe: Callable[[], Awaitable[Found | None]], *, seconds: float = 60) -> Found:
    """Return what `probe` returns once it returns something true; raises TimeoutError."""
    with anyio.fail_after(seconds):
        while not (found := await probe()):
            await anyio.sleep(0.02)
        return found


async def tool_names(client: Client) -> set[str]:
    """Return the tools the hub lists now."""
    return {tool.name for tool in (await client.list_tools(cache_mode="bypass")).tools}


async def call_text(client: Client, name: str, **arguments: object) -> str:
    """Call a tool and return the text it answers; raises AssertionError when the result is an error."""
    result = await client.call_tool(name, arguments)
    text = "".join(block.text for block in result.content if isinstance(block, TextContent))
    assert not result.is_error, text
    return text


async def details(client: Client) -> dict[str, Any]:
    """Return what the hub tells an admin of itself."""
    read = await client.read_resource("quantum://hub/servers/details", cache_mode="bypass")
    content = read.contents[0]
    assert isinstance(content, TextResourceContents)
    found: dict[str, Any] = json.loads(content.text)
    return found


async def status(client: Client, name: str) -> dict[str, Any]:
    """Return what the hub reports of one upstream."""
    return next(server for server in (await details(client))["servers"] if server["name"] == name)
