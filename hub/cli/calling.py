"""`quantum call`: one tool, its progress, its questions, its answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
from mcp.client.client import Client
from mcp.types import AudioContent, CallToolResult, EmbeddedResource, ImageContent, ResourceLink, TextContent, Tool
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from quantum_suite.hub.cli.arguments import build_arguments
from quantum_suite.hub.cli.console import err, out, printable, say, write_json
from quantum_suite.hub.cli.endpoint import Endpoint
from quantum_suite.hub.cli.exits import ExitCode
from quantum_suite.hub.cli.forms import TerminalForms
from quantum_suite.hub.cli.listing import find_tool
from quantum_suite.hub.cli.reach import open_client


class ProgressBar:
    """Shows what a call reports; on a pipe or in a log it stays silent."""

    def __init__(self, title: str) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[amount]}", markup=False),
            TimeElapsedColumn(),
            TextColumn(
                "{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")
            ),
            expand=True,
            console=err(),
            transient=True,
            disable=not err().is_terminal,
        )
        self._title = title
        self._task: TaskID | None = None

    def __enter__(self) -> "ProgressBar":
        self._progress.start()
        self._task = self._progress.add_task(self._title, total=None, amount="")
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        """Take one report."""
        if self._task is not None:
            amount = f"{progress:g}/{total:g}" if total else f"{progress:g}"
            title = printable(message).splitlines()[0] if message else self._title
            self._progress.update(self._task, completed=progress, total=total, description=title, amount=amount)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the terminal to somebody else."""
        self._progress.stop()
        try:
            yield
        finally:
            self._progress.start()


async def call_tool(
    endpoint: Endpoint,
    name: str,
    pairs: tuple[str, ...],
    as_object: str | None,
    timeout_seconds: float,
    as_json: bool,
) -> ExitCode:
    """Call the tool and show its answer; an error the tool reports is exit code 1."""
    bar = ProgressBar(name)
    async with open_client(endpoint, elicitation=TerminalForms(bar.paused)) as client:
        tool = await find_tool(client, name)
        arguments = build_arguments(name, tool.input_schema, pairs, as_object)
        with bar:
            result = await invoke(client, tool, arguments, timeout_seconds, bar)
    if as_json:
        write_json(result.model_dump(mode="json", by_alias=True, exclude_none=True))
    else:
        show_result(result)
    return ExitCode.FAILED if result.is_error else ExitCode.OK


async def invoke(
    client: Client, tool: Tool, arguments: dict[str, Any], timeout_seconds: float, bar: ProgressBar
) -> CallToolResult:
    """Call a tool, its progress going to `bar`; raises Unavailable when it takes longer than it may."""
    with anyio.fail_after(timeout_seconds):
        return await client.call_tool(
            tool.name, arguments, read_timeout_seconds=timeout_seconds, progress_callback=bar
        )


def show_result(result: CallToolResult) -> None:
    """Print a tool's answer: results to stdout, a reported error to stderr."""
    console = err() if result.is_error else out()
    if result.is_error:
        say("The tool reported an error:")
    shown = False
    links: list[ResourceLink] = []
    for block in result.content:
        if isinstance(block, ResourceLink):
            links.append(block)
        else:
            _show_block(console, block)
            shown = True
    if not shown and result.structured_content is not None:
        write_json(result.structured_content)
    for link in links:
        title = printable(link.title or link.name)
        console.print(Text(f"{title}: quantum read {printable(str(link.uri))}", style="cyan"), soft_wrap=True)


def _show_block(console: Console, block: TextContent | ImageContent | AudioContent | EmbeddedResource) -> None:
    if isinstance(block, TextContent):
        text = printable(block.text)
        console.print(Markdown(text) if console.is_terminal else Text(text), soft_wrap=not console.is_terminal)
    elif isinstance(block, EmbeddedResource):
        resource = block.resource
        body = getattr(resource, "text", None)
        console.print(Text(printable(body) if body is not None else f"({resource.uri})"), soft_wrap=True)
    else:
        size = len(block.data) * 3 // 4
        console.print(Text(f"({block.type}, {block.mime_type}, {size} bytes; --json shows it)"))
