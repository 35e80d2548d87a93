"""The server every contender is measured in front of: one tool that returns its argument.

`python bench/echo_server.py --stdio`, or `--http PORT`, whose answers are event streams as the SDK ships it, or
plain JSON with `--plain-json`.
"""

import argparse
from typing import Any

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations


def build() -> MCPServer[Any]:
    """Return the server; the SDK does all the work."""
    server: MCPServer[Any] = MCPServer("echo", version="1.0.0", log_level="WARNING")

    # Said to be harmless: a hub asks a person before it lets an operator call what may be destructive.
    @server.tool(annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False))
    async def echo(text: str) -> str:
        """Return the text as it came."""
        return text

    return server


def main() -> None:
    """Serve until terminated."""
    parser = argparse.ArgumentParser()
    transport = parser.add_mutually_exclusive_group(required=True)
    transport.add_argument("--stdio", action="store_true")
    transport.add_argument("--http", type=int, metavar="PORT")
    parser.add_argument("--plain-json", action="store_true")
    chosen = parser.parse_args()
    if chosen.stdio:
        build().run()
    else:
        app = build().streamable_http_app(json_response=chosen.plain_json)
        uvicorn.run(app, port=chosen.http, log_level="warning", access_log=False, timeout_graceful_shutdown=1)


if __name__ == "__main__":
    main()
