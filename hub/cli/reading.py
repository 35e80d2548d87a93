"""`quantum read`: one resource."""

import base64
import json
import sys
from pathlib import Path

import anyio
from mcp.types import BlobResourceContents, TextResourceContents
from rich.markdown import Markdown

from quantum_suite.core.errors import CallerError
from quantum_suite.hub.cli.console import out, printable, say, write_json
from quantum_suite.hub.cli.endpoint import Endpoint
from quantum_suite.hub.cli.exits import ExitCode
from quantum_suite.hub.cli.reach import open_client

Contents = TextResourceContents | BlobResourceContents


async def read_resource(endpoint: Endpoint, uri: str, output: Path | None, as_json: bool) -> ExitCode:
    """Print a resource, or write it to a file as it is."""
    async with open_client(endpoint) as client:
        result = await client.read_resource(uri)
    if as_json:
        write_json(result.model_dump(mode="json", by_alias=True, exclude_none=True))
        return ExitCode.OK
    if output is not None:
        content = b"".join(_bytes(part) for part in result.contents)
        try:
            await anyio.Path(output).write_bytes(content)
        except OSError as error:
            raise CallerError(f"{output} cannot be written: {error.strerror}.", argument="output") from error
        say(f"Wrote {len(content)} bytes to {output}.")
        return ExitCode.OK
    for part in result.contents:
        show_contents(part)
    return ExitCode.OK


def show_contents(part: Contents) -> None:
    """Print one part: laid out on a terminal, as it is into a pipe; bytes never reach a terminal."""
    terminal = out().is_terminal
    if isinstance(part, BlobResourceContents):
        if terminal:
            raise CallerError(
                f"{part.uri} is binary ({part.mime_type}).", "Write it to a file with --output FILE."
            )
        sys.stdout.flush()
        sys.stdout.buffer.write(_bytes(part))
    elif terminal and part.mime_type == "text/markdown":
        out().print(Markdown(printable(part.text)))
    elif terminal and part.mime_type == "application/json":
        sys.stdout.write(printable(_indented(part.text)))
    else:
        sys.stdout.write(printable(part.text) if terminal else part.text)
        if not part.text.endswith("\n"):
            sys.stdout.write("\n")


def _indented(text: str) -> str:
    """Return JSON on lines of its own; what is no JSON after all stays as it is."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"
    except ValueError:
        return text


def _bytes(part: Contents) -> bytes:
    return base64.b64decode(part.blob) if isinstance(part, BlobResourceContents) else part.text.encode()
