"""Runs a server of this folder the way its command line asks: over stdio, or over HTTP on loopback."""

import argparse
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import anyio
import uvicorn

if TYPE_CHECKING:
    # Servers written without the SDK start without waiting for it.
    from mcp.server.mcpserver import MCPServer


def serve_app(app: Any, port: int) -> None:
    """Serve an ASGI application on loopback until terminated; its URL is printed once connections are accepted.

    The socket listens before the line is printed, so whoever reads the line can connect at once.
    """
    # asyncio turns Nagle's algorithm off only for sockets that name their protocol.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(1024)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
    anyio.run(lambda: uvicorn.Server(config).serve(sockets=[listener]))


def run(build: Callable[[], "MCPServer[Any]"], arguments: Sequence[str] | None = None) -> None:
    """Run what `build` returns: `--stdio`, or `--http PORT` (0 picks a free one and prints the URL)."""
    parser = argparse.ArgumentParser()
    transport = parser.add_mutually_exclusive_group(required=True)
    transport.add_argument("--stdio", action="store_true", help="speak on standard input and output")
    transport.add_argument("--http", type=int, metavar="PORT", help="listen on loopback; 0 picks a free port")
    chosen = parser.parse_args(arguments)
    server = build()
    if chosen.stdio:
        anyio.run(server.run_stdio_async)
    else:
        serve_app(server.streamable_http_app(), chosen.http)
