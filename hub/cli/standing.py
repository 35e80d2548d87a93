"""Servers and engines, laid out for a person."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from quantum_suite.core.engines import EngineStatus
from quantum_suite.hub.cli.console import printable
from quantum_suite.hub.status import UpstreamStatus

_STATE_STYLES = {"healthy": "green", "starting": "yellow", "degraded": "red", "disabled": "dim"}


def servers_table(statuses: Sequence[UpstreamStatus]) -> Table:
    """Return the servers as a table, problems spelt out."""
    table = Table("Server", "State", "Reached", "Tools", "Prompts", "Resources", "", box=None, pad_edge=False)
    for status in statuses:
        table.add_row(
            Text(status.name),
            Text(status.state, style=_STATE_STYLES[status.state]),
            Text(status.transport),
            str(status.tools),
            str(status.prompts),
            str(status.resources),
            Text(printable(_remark(status))),
        )
    return table


def _remark(status: UpstreamStatus) -> str:
    parts = [status.problem] if status.problem else []
    if status.refused_names:
        parts.append(f"left out, the names are taken: {', '.join(status.refused_names)}")
    return "; ".join(parts)


def print_engines(console: Console, engines: Mapping[str, Sequence[EngineStatus]]) -> None:
    """Say which engines were found, and for each missing one the command that installs it."""
    for module, found in engines.items():
        if not found:
            continue
        console.print(Text(f"\nEngines of {module}"))
        for engine in found:
            line = Text("  found    " if engine.available else "  missing  ")
            line.stylize("green" if engine.available else "yellow")
            found_as = engine.version or printable(engine.location or "")
            line.append(f"{engine.name} {found_as}".rstrip(), style="bold")
            line.append(f"  {engine.provides}")
            if not engine.available:
                if engine.problem:
                    line.append(f" ({printable(engine.problem)})")
                if engine.install_command:
                    line.append(f"\n           install with: {engine.install_command}")
            console.print(line, soft_wrap=not console.is_terminal)
