"""`quantum demo`: the whole way once, as an assistant would go it."""

import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from mcp.client.client import Client
from mcp.types import CallToolResult, ResourceLink

from quantum_suite.core.errors import CallerError, SuiteError, Unavailable
from quantum_suite.hub.cli.calling import ProgressBar, invoke, show_result
from quantum_suite.hub.cli.console import err, say
from quantum_suite.hub.cli.endpoint import Endpoint
from quantum_suite.hub.cli.exits import ExitCode
from quantum_suite.hub.cli.listing import find_tool
from quantum_suite.hub.cli.reach import open_client
from quantum_suite.hub.cli.reading import show_contents
from quantum_suite.services.process import Completed, run

TOOL = "qsecure_scan_repository"
_START_SECONDS = 60.0
_SCAN_SECONDS = 3600.0
_DRAIN_SECONDS = 15.0


async def demonstrate(repository: Path, severity: str | None) -> ExitCode:
    """Start the suite on a free port, scan over HTTP, print the report, stop everything."""
    real = Path(await (await anyio.Path(repository).expanduser()).resolve())
    if not await anyio.Path(real).is_dir():
        raise CallerError(
            f"{repository} is no directory.", "Name a repository: quantum demo PATH.", argument="repo"
        )
    with tempfile.TemporaryDirectory(prefix="quantum-demo-") as data:
        async with _suite(real, Path(data)) as url:
            say(f"The suite runs at {url}; scanning {real} ...")
            bar = ProgressBar("scanning")
            async with open_client(Endpoint(url)) as client:
                tool = await find_tool(client, TOOL)
                arguments = {"path": str(real)} | ({"severity_at_least": severity} if severity else {})
                with bar:
                    result = await invoke(client, tool, arguments, _SCAN_SECONDS, bar)
                await _show_report(client, result)
    say("The suite is stopped.")
    return ExitCode.FAILED if result.is_error else ExitCode.OK


async def _show_report(client: Client, result: CallToolResult) -> None:
    links = [block for block in result.content if isinstance(block, ResourceLink)]
    report = next((link for link in links if link.mime_type == "text/markdown"), None)
    if result.is_error or report is None:
        show_result(result)
        return
    contents = await client.read_resource(str(report.uri))
    for part in contents.contents:
        show_contents(part)


@asynccontextmanager
async def _suite(workspace: Path, data_dir: Path) -> AsyncIterator[str]:
    """Run `quantum up` on a free port for as long as the block lasts; yields its URL."""
    listening = anyio.Event()
    ended = anyio.Event()
    said: list[str] = []
    outcome: list[Completed | SuiteError] = []

    async def take(line: bytes) -> None:
        if not said:
            said.append(json.loads(line)["url"])
            listening.set()

    async def serve() -> None:
        command = [sys.executable, "-m", "quantum_suite.hub.cli", "up", "--json", "--port", "0"]
        options = ["--workspace", str(workspace), "--data-dir", str(data_dir)]
        # Settings of the person's own hub (another host, a key file) would not fit this one.
        environ = {name: value for name, value in os.environ.items() if not name.startswith("QUANTUM_")}
        try:
            outcome.append(
                await run(
                    [*command, *options],
                    env=environ,
                    timeout_seconds=_SCAN_SECONDS + _START_SECONDS,
                    max_output_bytes=1_000_000,
                    on_stdout_line=take,
                    grace_seconds=_DRAIN_SECONDS,
                )
            )
        except SuiteError as error:
            outcome.append(error)
        ended.set()
        listening.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve)
        with anyio.move_on_after(_START_SECONDS), err().status("starting the suite"):
            await listening.wait()
        if not said:
            tasks.cancel_scope.cancel()
            raise _did_not_start(outcome)
        yield said[0]
        tasks.cancel_scope.cancel()


def _did_not_start(outcome: list[Completed | SuiteError]) -> SuiteError:
    match outcome:
        case [SuiteError() as error]:
            return error
        case [Completed() as completed]:
            return Unavailable("The suite did not start.", f"It said: {completed.stderr_tail}")
        case _:
            return Unavailable(f"The suite was not ready within {_START_SECONDS:g} seconds.", "Try again.")
