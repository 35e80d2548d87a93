"""The hub's own server: what it fronts and how that stands, as resources."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ResourceNotFoundError

from quantum_suite import __version__
from quantum_suite.core.engines import EngineStatus
from quantum_suite.hub.status import ConfigStatus, UpstreamStatus


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What the hub knows of itself, asked for when it is read."""

    statuses: Callable[[], Sequence[UpstreamStatus]]
    outlines: Callable[[], Sequence[UpstreamStatus]]
    configuration: Callable[[], ConfigStatus | None]
    engines: Callable[[], dict[str, list[EngineStatus]]]
    stderr: Callable[[str], list[str] | None]


def build_about(known: Knowledge) -> MCPServer[None]:
    """Return the server named `hub`. Its resources are computed when read.

    What shows paths of this machine or what servers printed, the shipped policies leave to admins.
    """
    server: MCPServer[None] = MCPServer("hub", version=__version__)

    @server.resource(
        "quantum://hub/servers/all",
        title="Servers behind this endpoint",
        description="Each server with its state, what it offers, and why it is away if it is.",
        mime_type="application/json",
    )
    def servers() -> str:
        return orjson.dumps({"servers": [status.model_dump() for status in known.outlines()]}).decode()

    @server.resource(
        "quantum://hub/servers/details",
        title="Servers behind this endpoint, for their operator",
        description="The same with where each is declared, what is known of its problem, and how mcp.json stands.",
        mime_type="application/json",
    )
    def details() -> str:
        configuration = known.configuration()
        return orjson.dumps(
            {
                "servers": [status.model_dump() for status in known.statuses()],
                "configuration": configuration.model_dump() if configuration is not None else None,
            }
        ).decode()

    @server.resource(
        "quantum://hub/engines/all",
        title="Engines found on this machine",
        description="Each engine the servers can use, with its version, or the command that installs it.",
        mime_type="application/json",
    )
    def all_engines() -> str:
        found = {name: [engine.model_dump() for engine in listed] for name, listed in known.engines().items()}
        return orjson.dumps({"engines": found}).decode()

    @server.resource(
        "quantum://hub/servers/{name}/stderr",
        title="What a server printed",
        description="The last lines a server's child process wrote to stderr, secrets masked.",
        mime_type="text/plain",
    )
    def printed(name: str) -> str:
        lines = known.stderr(name)
        if lines is None:
            raise ResourceNotFoundError(f"No server is called '{name}'.")
        return "\n".join(lines)

    return server
