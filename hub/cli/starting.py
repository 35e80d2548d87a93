"""Starting a hub for `up`, `serve`, `stdio` and `worker`."""

import sys
import tempfile
from pathlib import Path

from quantum_suite.core.errors import ConfigurationError
from quantum_suite.hub.cli.announcing import announce, announcement_json
from quantum_suite.hub.cli.console import write_json, write_line
from quantum_suite.hub.cli.exits import ExitCode
from quantum_suite.hub.serve import Started, serve_http, serve_stdio, work
from quantum_suite.hub.settings import HubSettings


async def start_http(settings: HubSettings, only: str | None, as_json: bool) -> ExitCode:
    """Serve over HTTP until told to stop; the announcement is one line of JSON with `as_json`."""

    def ready(started: Started) -> None:
        if as_json:
            write_line(announcement_json(started))
        else:
            announce(started, settings)
        sys.stdout.flush()

    make_data_dir(settings.data_dir)
    await serve_http(settings, only=only, on_ready=ready)
    return ExitCode.OK


async def start_stdio(settings: HubSettings, only: str | None) -> ExitCode:
    """Serve over stdin and stdout until stdin ends."""
    make_data_dir(settings.data_dir)
    await serve_stdio(settings, only=only)
    return ExitCode.OK


async def start_worker(settings: HubSettings, as_json: bool) -> ExitCode:
    """Work on queued runs until told to stop."""

    def ready() -> None:
        if as_json:
            write_json({"database": settings.database.rpartition("@")[2], "data_dir": str(settings.data_dir)})
        else:
            write_line("Working on queued runs. Ctrl-C stops it; what is under way goes back in line.")
        sys.stdout.flush()

    make_data_dir(settings.data_dir)
    await work(settings, on_ready=ready)
    return ExitCode.OK


def make_data_dir(path: Path) -> None:
    """Make the directory for the state; raises ConfigurationError when nothing can be written there."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise ConfigurationError(
            f"Setting data_dir: {path} cannot be written: {error.strerror}.",
            "Name another directory with --data-dir or QUANTUM_DATA_DIR.",
        ) from error
