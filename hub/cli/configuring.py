"""Which settings and configuration file a hub starts with."""

from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from quantum_suite.core.errors import NotFound
from quantum_suite.hub.config import user_config_path
from quantum_suite.hub.settings import HubSettings, read_settings


def settings_from(
    host: str | None,
    port: int | None,
    config: Path | None,
    workspaces: list[Path] | None,
    data_dir: Path | None,
) -> HubSettings:
    """Combine options and environment; without either, tools may look at the current directory alone.

    A configuration file is taken where it was named, else the user's own. One that merely lies in the current
    directory is not: it may come with a foreign repository, and it names programs to start. Nor is the whole file
    system ever granted because an assistant happened to start the hub there.
    """
    options: dict[str, Any] = {"host": host, "port": port, "config": config, "data_dir": data_dir}
    if workspaces:
        options["workspaces"] = tuple(workspaces)
    settings = read_settings(options)
    own = user_config_path()
    update: dict[str, Any] = {}
    here = Path.cwd()
    if not settings.workspaces and here != Path(here.anchor):
        update["workspaces"] = (here,)
    if settings.config is None and own.exists():
        update["config"] = own
    return settings.model_copy(update=update)


def require_module(name: str) -> None:
    """Raise NotFound naming the modules there are when `name` is none of them."""
    known = sorted(entry.name for entry in entry_points(group="quantum_suite.servers"))
    if name not in known:
        raise NotFound(f"There is no module '{name}'.", f"There are: {', '.join(known)}.", argument="name")
