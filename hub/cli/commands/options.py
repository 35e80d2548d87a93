"""Options that several commands share, and how an asynchronous command is run."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from quantum_suite.hub.cli.exits import ExitCode

Json = Annotated[bool, typer.Option("--json", help="Answer as JSON.")]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        envvar="QUANTUM_URL",
        help="The hub to ask. Without it http://127.0.0.1:8765/mcp, or a hub of its own where nothing answers.",
    ),
]
Key = Annotated[
    str | None, typer.Option("--key", metavar="KEY", envvar="QUANTUM_KEY", help="API key for the hub.")
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="The mcp.json naming the servers to front.", show_default=False),
]
Workspace = Annotated[
    list[Path] | None,
    typer.Option(
        "--workspace",
        metavar="DIR",
        help="Directory tools may look at; repeatable. Default: the current directory.",
        show_default=False,
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="DIR", help="Where keys, audit and scans are kept.", show_default=False),
]
Host = Annotated[
    str | None, typer.Option("--host", metavar="ADDRESS", help="Address to listen on. Default: 127.0.0.1.")
]
Port = Annotated[
    int | None,
    typer.Option(
        "--port", metavar="PORT", min=0, max=65535, help="Port to listen on; 0 picks a free one. Default: 8765."
    ),
]


def finish(command: Callable[..., Awaitable[ExitCode]], *arguments: Any) -> NoReturn:
    """Run an asynchronous command to its end and leave with its exit code."""
    import importlib.util

    import anyio

    uvloop = importlib.util.find_spec("uvloop") is not None
    raise typer.Exit(anyio.run(command, *arguments, backend_options={"use_uvloop": uvloop}))
