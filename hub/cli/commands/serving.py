"""`up`, `serve`, `stdio` and `worker`: the commands that start a hub."""

from typing import Annotated

import typer

from quantum_suite.hub.cli.commands.options import ConfigFile, DataDir, Host, Json, Port, Workspace, finish


def declare(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(up)
    app.command()(stdio)
    app.command()(serve)
    app.command()(worker)


def up(
    host: Host = None,
    port: Port = None,
    config: ConfigFile = None,
    workspace: Workspace = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Start the suite over HTTP, until Ctrl-C."""
    from quantum_suite.hub.cli.configuring import settings_from
    from quantum_suite.hub.cli.starting import start_http

    finish(start_http, settings_from(host, port, config, workspace, data_dir), None, as_json)


def stdio(config: ConfigFile = None, workspace: Workspace = None, data_dir: DataDir = None) -> None:
    """Start the suite over stdin and stdout.

    For assistants that start their servers themselves, such as Claude Desktop.
    """
    from quantum_suite.hub.cli.configuring import settings_from
    from quantum_suite.hub.cli.starting import start_stdio

    finish(start_stdio, settings_from(None, None, config, workspace, data_dir), None)


def serve(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The module, e.g. qsecure.")],
    over_stdio: Annotated[bool, typer.Option("--stdio", help="Over stdin and stdout, not HTTP.")] = False,
    host: Host = None,
    port: Port = None,
    workspace: Workspace = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Start one of the suite's modules alone.

    Access rules and audit are the same as in the whole suite.
    """
    from quantum_suite.hub.cli.configuring import require_module, settings_from
    from quantum_suite.hub.cli.starting import start_http, start_stdio

    settings = settings_from(host, port, None, workspace, data_dir)
    require_module(name)
    if over_stdio:
        finish(start_stdio, settings, name)
    finish(start_http, settings, name, as_json)


def worker(
    config: ConfigFile = None, workspace: Workspace = None, data_dir: DataDir = None, as_json: Json = False
) -> None:
    """Take on workflow runs and long calls, without listening, until Ctrl-C.

    One more of these, here or on another machine, takes on more work: give it the same database.
    """
    from quantum_suite.hub.cli.configuring import settings_from
    from quantum_suite.hub.cli.starting import start_worker

    finish(start_worker, settings_from(None, None, config, workspace, data_dir), as_json)
