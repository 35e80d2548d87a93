"""What `quantum up` says once it is ready."""

import json

from rich.console import Console
from rich.text import Text

from quantum_suite import __version__
from quantum_suite.hub.cli.assistants import ASSISTANTS, SERVER_NAME, Assistant, AssistantName, Machine, Scope
from quantum_suite.hub.cli.connecting import Wish, own_command
from quantum_suite.hub.cli.console import out
from quantum_suite.hub.cli.standing import print_engines, servers_table
from quantum_suite.hub.serve import Started
from quantum_suite.hub.settings import HubSettings


def announcement_json(started: Started) -> str:
    """Return the announcement as one line of JSON."""
    return json.dumps(
        {
            "url": started.url,
            "servers": [status.model_dump() for status in started.upstreams],
            "engines": {name: [e.model_dump() for e in found] for name, found in started.engines.items()},
        }
    )


def announce(started: Started, settings: HubSettings) -> None:
    """Say where the hub is, what it fronts, what is missing, and how assistants attach."""
    console = out()
    console.print(f"[bold]Quantum Suite {__version__}[/] is ready at [bold cyan]{started.url}[/]\n")
    console.print(Text(f"Configuration  {settings.config or 'none: the suite alone'}"))
    console.print(Text(f"Workspaces     {', '.join(str(path) for path in settings.workspaces)}"))
    console.print(Text(f"Data           {settings.data_dir}\n"))
    console.print(servers_table(started.upstreams))
    print_engines(console, started.engines)
    _print_snippets(console, started.url, settings)
    console.print("\nCtrl-C stops it; calls in flight are finished first.")


def _print_snippets(console: Console, url: str, settings: HubSettings) -> None:
    console.print("\nAttach an assistant with `quantum connect NAME`, or by hand:")
    machine = Machine.here()
    wish = Wish(config=settings.config, workspaces=settings.workspaces)
    for assistant in ASSISTANTS.values():
        if assistant.name is AssistantName.CLAUDE_CODE:
            snippet = f"claude mcp add --transport http {SERVER_NAME} {url}"
            where = "in a shell"
        else:
            snippet = snippet_for(assistant, url, wish, machine)
            where = str(assistant.path(Scope.USER, machine))
        console.print(Text(f"\n  {assistant.title} ({where})", style="bold"), soft_wrap=True)
        console.print(Text(f"    {snippet}"), soft_wrap=True)


def snippet_for(assistant: Assistant, url: str, wish: Wish, machine: Machine) -> str:
    """Return what goes into the assistant's file, as one line of JSON."""
    transport = url if assistant.http else own_command(assistant, Scope.USER, wish, machine)
    return json.dumps({assistant.form: {SERVER_NAME: assistant.entry(transport)}})
