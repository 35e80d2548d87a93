"""The resources: histories, read under the caller's own rights."""

from typing import Any

from mcp.server.mcpserver import Context, MCPServer

from quantum_suite.core.errors import NotFound
from quantum_suite.resources.events.stream import stream_json, stream_named
from quantum_suite.servers.callers import principal_of, resource_errors
from quantum_suite.tools.events.access import EventAccess
from quantum_suite.tools.events.list_events import open_stream

STREAM_TEMPLATES = (
    "quantum://events/streams/{stream}",
    "quantum://events/streams/{stream}/{view}",
)
_AFTER = "after-"


def add_resources(server: MCPServer[Any], access: EventAccess) -> None:
    """Register the resource templates on `server`."""

    async def read(stream: str, after_version: int, ctx: Context[Any, Any]) -> str:
        with resource_errors():
            name = stream_named(stream)
            events, next_after = await open_stream(access, principal_of(ctx), name, after_version)
            return stream_json(name, events, next_after)

    @server.resource(
        STREAM_TEMPLATES[0],
        name="stream",
        title="The history of one thing",
        description="Its events as CloudEvents, in their order, first page; yours alone unless you administer. "
        "The stream qsecure.scan/<id> has the id qsecure.scan.<id>.",
        mime_type="application/json",
    )
    async def read_stream(stream: str, ctx: Context[Any, Any]) -> str:
        return await read(stream, 0, ctx)

    @server.resource(
        STREAM_TEMPLATES[1],
        name="stream_page",
        title="Another page of a history",
        description="after-<version>: the events after that version; `next` of a page names the following one.",
        mime_type="application/json",
    )
    async def read_stream_page(stream: str, view: str, ctx: Context[Any, Any]) -> str:
        number = view.removeprefix(_AFTER)
        with resource_errors():
            if not view.startswith(_AFTER) or not number.isascii() or not number.isdigit() or len(number) > 18:
                raise NotFound(f"A history has no view '{view[:50]}'.", "Its pages are after-<version>.")
        return await read(stream, int(number), ctx)
