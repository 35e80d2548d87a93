"""`connect`, `keys`, `doctor` and `demo`: the commands around a hub."""

from pathlib import Path
from typing import Annotated

import typer

from quantum_suite.core.findings import Severity
from quantum_suite.core.principals import Role
from quantum_suite.hub.cli.assistants import AssistantName, Scope
from quantum_suite.hub.cli.commands.options import ConfigFile, DataDir, Json, Port, Workspace, finish
from quantum_suite.hub.cli.endpoint import DEFAULT_URL


def declare_connect(app: typer.Typer) -> None:
    """Add `connect` to `app`."""
    app.command()(connect)


def declare(app: typer.Typer) -> None:
    """Add the other commands to `app`."""
    keys = typer.Typer(
        help="Make, list and revoke API keys.", no_args_is_help=True, rich_markup_mode=None, epilog=None
    )
    for command in (create, list_keys, revoke):
        keys.command("list" if command is list_keys else None)(command)
    app.add_typer(keys, name="keys")
    app.command()(doctor)
    app.command()(demo)


def connect(
    assistant: Annotated[
        AssistantName, typer.Argument(metavar="ASSISTANT", help="The assistant to attach.", show_default=False)
    ],
    scope: Annotated[Scope, typer.Option("--scope", help="For you everywhere, or for this project.")] = Scope.USER,
    over_http: Annotated[
        bool,
        typer.Option(
            "--http/--stdio", help="Use the running hub, or let the assistant start one.", show_default="stdio"
        ),
    ] = False,
    url: Annotated[
        str, typer.Option("--url", metavar="URL", help="The running hub's endpoint, with --http.")
    ] = DEFAULT_URL,
    config: ConfigFile = None,
    workspace: Workspace = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the difference and change nothing.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Put back what was there before.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Attach an assistant.

    Writes its configuration file, keeping everything else in it, shows the difference first and can take it back.
    """
    from quantum_suite.hub.cli.connecting import Wish, connect_assistant, undo_connect

    if undo:
        raise typer.Exit(undo_connect(assistant, scope, dry_run=dry_run, data_dir=data_dir))
    wish = Wish(
        url=url if over_http else None,
        config=config,
        workspaces=tuple(workspace or ()),
        data_dir=data_dir,
    )
    raise typer.Exit(connect_assistant(assistant, scope, wish, dry_run=dry_run))


def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who or what the key is for.")],
    role: Annotated[Role, typer.Option("--role", help="What it may do.")] = Role.VIEWER,
    workspace: Annotated[
        list[Path] | None,
        typer.Option(
            "--workspace",
            help="Directory its holder may look at; repeatable. Default: the hub's.",
            show_default=False,
        ),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option("--expires", metavar="TIME", help="Life time, e.g. 12h or 30d.", show_default=False),
    ] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Make a key and show it, this once."""
    from quantum_suite.hub.cli.keeping import create_key

    finish(create_key, name, role, tuple(workspace or ()), expires, data_dir, as_json)


def list_keys(data_dir: DataDir = None, as_json: Json = False) -> None:
    """List the keys; none of them is shown."""
    from quantum_suite.hub.cli.keeping import show_keys

    finish(show_keys, data_dir, as_json)


def revoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The key's name or id.")],
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """End a key for good."""
    from quantum_suite.hub.cli.keeping import revoke_key

    finish(revoke_key, name, data_dir, as_json)


def doctor(
    port: Port = None,
    config: ConfigFile = None,
    workspace: Workspace = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Check what works here and what is missing."""
    from quantum_suite.hub.cli.configuring import settings_from
    from quantum_suite.hub.cli.examining import examine

    finish(examine, settings_from(None, port, config, workspace, data_dir), as_json)


def demo(
    repository: Annotated[Path, typer.Argument(metavar="REPO", help="The repository to scan.")],
    severity: Annotated[
        Severity | None,
        typer.Option("--severity", help="Leave out findings less bad than this.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write the whole report there: SARIF where it ends in .sarif or .json, else Markdown.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Scan a repository the way an assistant would.

    Starts the suite on a free port, connects an MCP client, prints a short report, stops everything.
    """
    from quantum_suite.hub.cli.demonstrating import demonstrate

    finish(demonstrate, repository, severity, output)
