"""A server whose tools and resource change when told to: `touch` updates `note://one`, `grow` adds a tool."""

import sys
from pathlib import Path
from typing import Any

from mcp.server.mcpserver import Context, MCPServer

if __name__ == "__main__":
    # Started as a script, only this folder is on the path; its siblings are imported through the folder above.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from reference.launch import run


def build() -> MCPServer[Any]:
    """Return the server."""
    server: MCPServer[Any] = MCPServer("changing", log_level="ERROR")
    grown = 0

    @server.tool()
    async def touch(ctx: Context) -> str:
        await ctx.notify_resource_updated("note://one")
        return "touched"

    @server.tool()
    async def grow(ctx: Context) -> str:
        nonlocal grown
        grown += 1
        server.add_tool(lambda: "new", name=f"new{grown}", description="was added later")
        await ctx.notify_tools_changed()
        return "grown"

    @server.resource("note://one")
    def one() -> str:
        return "1"

    return server


if __name__ == "__main__":
    run(build)
