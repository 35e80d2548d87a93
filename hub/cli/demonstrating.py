"""`quantum demo`: the whole way once, as an assistant would go it."""

import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from mcp.client.client import Client
from mcp.types import CallToolResult
from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console

from quantum_suite.core.errors import CallerError, SuiteError, Unavailable
from quantum_suite.core.findings import Finding, Severity
from quantum_suite.hub.cli.calling import ProgressBar, invoke, show_result
from quantum_suite.hub.cli.console import err, out, say
from quantum_suite.hub.cli.endpoint import Endpoint
from quantum_suite.hub.cli.exits import ExitCode
from quantum_suite.hub.cli.listing import find_tool
from quantum_suite.hub.cli.reach import open_client
from quantum_suite.hub.cli.reporting import print_report, summary_of
from quantum_suite.hub.cli.saving import save_report
from quantum_suite.services.process import Completed, run

TOOL = "qsecure_scan_repository"
FINDINGS_TOOL = "qsecure_list_findings"
_PAGE = 100
_PIPE_COLUMNS = 160
_START_SECONDS = 60.0
_SCAN_SECONDS = 3600.0
_DRAIN_SECONDS = 15.0


class _FindingPage(BaseModel):
    """What is needed of an answer of the findings tool."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    findings: tuple[Finding, ...] = Field(description="This page.")
    next_cursor: str | None = Field(default=None, description="Where the next one starts.")


async def demonstrate(repository: Path, severity: Severity | None, output: Path | None) -> ExitCode:
    """Start the suite on a free port, scan over HTTP, print the report, stop everything.

    The whole report goes to `output` where it is named: SARIF when it ends in .sarif or .json, else Markdown.
    """
    real = await _checked(repository, output)
    with tempfile.TemporaryDirectory(prefix="quantum-demo-") as data:
        async with _suite(real, Path(data)) as url:
            say(f"The suite runs at {url}; scanning {real} ...")
            async with open_client(Endpoint(url)) as client:
                tool = await find_tool(client, TOOL)
                wanted = {"severity_at_least": severity.value} if severity else {}
                with ProgressBar("scanning") as bar:
                    result = await invoke(client, tool, {"path": str(real), **wanted}, _SCAN_SECONDS, bar)
                if result.is_error or result.structured_content is None:
                    show_result(result)
                else:
                    await _report(client, result, wanted)
                    if output is None:
                        say("\nAll of it, as Markdown or SARIF: --output FILE (make demo ... OUTPUT=FILE).")
                    else:
                        await save_report(client, result, output)
    say("The suite is stopped.")
    return ExitCode.FAILED if result.is_error else ExitCode.OK


async def _checked(repository: Path, output: Path | None) -> Path:
    """Return the repository's real path; raises CallerError before anything is started for nothing."""
    path = anyio.Path(await (await anyio.Path(repository).expanduser()).resolve())
    if not await path.is_dir():
        what = "is a file" if await path.exists() else "does not exist"
        raise CallerError(f"{repository} {what}.", "Name the directory of a repository.", argument="repo")
    if not os.access(path, os.R_OK | os.X_OK):
        raise CallerError(f"{repository} cannot be read.", "Check its permissions.", argument="repo")
    if output is not None and not await anyio.Path(output.parent).is_dir():
        raise CallerError(
            f"{output.parent} is no directory.", "Name a file in one that exists.", argument="output"
        )
    return Path(path)


async def _report(client: Client, result: CallToolResult, wanted: Mapping[str, str]) -> None:
    summary = summary_of(result.structured_content)
    findings: list[Finding] = []
    with err().status("reading the findings"):
        cursor: str | None = None
        while True:
            asked = {"scan": summary.scan, "limit": _PAGE, **wanted} | ({"cursor": cursor} if cursor else {})
            answer = await client.call_tool(FINDINGS_TOOL, asked)
            page = _FindingPage.model_validate(answer.structured_content)
            findings += page.findings
            if (cursor := page.next_cursor) is None:
                break
    console = out()
    if not console.is_terminal:  # a pipe has no width of its own
        console = Console(highlight=False, width=_PIPE_COLUMNS)
    print_report(console, summary, findings)


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
