"""`servers`, `tools`, `call`, `resources`, `read` and `prompts`: the commands that ask a hub as an MCP client."""

from pathlib import Path
from typing import Annotated

import typer

from quantum_suite.hub.cli.commands.options import Json, Key, Url, finish
from quantum_suite.hub.cli.endpoint import Endpoint


def declare(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    for command in (servers, tools, call, resources, read, prompts):
        app.command()(command)


def servers(url: Url = None, key: Key = None, as_json: Json = False) -> None:
    """Show the servers behind the hub and how they are."""
    from quantum_suite.hub.cli.listing import show_servers

    finish(show_servers, Endpoint(url, key), as_json)


def tools(
    name: Annotated[
        str | None, typer.Argument(metavar="[TOOL]", help="Show this tool's arguments.", show_default=False)
    ] = None,
    server: Annotated[
        str | None, typer.Option("--server", metavar="NAME", help="Only tools of this server.", show_default=False)
    ] = None,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """List the tools, or show one with its arguments."""
    from quantum_suite.hub.cli.listing import show_tool, show_tools

    if name is not None:
        finish(show_tool, Endpoint(url, key), name, as_json)
    finish(show_tools, Endpoint(url, key), server, as_json)


def call(
    tool: Annotated[str, typer.Argument(metavar="TOOL", help="The tool, e.g. qsecure_scan_repository.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Its arguments; lists as a,b or as JSON."),
    ] = None,
    as_object: Annotated[
        str | None,
        typer.Option("--args", metavar="JSON", help="All arguments as one JSON object.", show_default=False),
    ] = None,
    timeout_seconds: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=1, help="Give up after this long.")
    ] = 630,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Call a tool, with a progress bar.

    What the tool asks for is asked on the terminal. Values are read by the tool's own schema; `quantum tools TOOL`
    shows it.
    """
    from quantum_suite.hub.cli.calling import call_tool

    finish(call_tool, Endpoint(url, key), tool, tuple(arguments or ()), as_object, timeout_seconds, as_json)


def resources(url: Url = None, key: Key = None, as_json: Json = False) -> None:
    """List the resources and resource templates."""
    from quantum_suite.hub.cli.listing import show_resources

    finish(show_resources, Endpoint(url, key), as_json)


def read(
    uri: Annotated[str, typer.Argument(metavar="URI", help="The resource, e.g. quantum://hub/servers/all.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the content to this file.", show_default=False),
    ] = None,
    url: Url = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Read a resource.

    Markdown is laid out on a terminal; into a pipe it goes as it is.
    """
    from quantum_suite.hub.cli.reading import read_resource

    finish(read_resource, Endpoint(url, key), uri, output, as_json)


def prompts(url: Url = None, key: Key = None, as_json: Json = False) -> None:
    """List the prompts."""
    from quantum_suite.hub.cli.listing import show_prompts

    finish(show_prompts, Endpoint(url, key), as_json)
