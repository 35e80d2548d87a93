"""A server that says with whose credentials it was called: `python whoami_server.py --http 0`."""

import sys
from pathlib import Path
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.types import ToolAnnotations

if __name__ == "__main__":
    # Started as a script, only this folder is on the path; its siblings are imported through the folder above.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from reference.launch import run


def build() -> MCPServer[Any]:
    """Return the server."""
    server: MCPServer[Any] = MCPServer("whoami", log_level="ERROR")

    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    async def whoami(ctx: Context) -> str:
        return (ctx.headers or {}).get("authorization", "nobody")

    return server


if __name__ == "__main__":
    run(build)
