"""A server that does one of everything a link has to carry; the contract suite reaches it over every transport.

Run it as `python tests/reference/link_server.py --stdio`, or with `--http 0`, which prints the URL it listens on.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError
from mcp.types import ElicitRequest, ElicitRequestFormParams, ElicitResult, InputRequiredResult
from pydantic import BaseModel

if __name__ == "__main__":
    # Started as a script, only this folder is on the path; its siblings are imported through the folder above.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from reference.launch import run

ASK_NAME = ElicitRequest(
    params=ElicitRequestFormParams(
        message="Who are you?",
        requested_schema={"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
    )
)


class Sum(BaseModel):
    """What `add` returns."""

    total: int


class Name(BaseModel):
    """What `ask` wants to know."""

    name: str


def build() -> MCPServer[Any]:
    """Return the server."""
    server: MCPServer[Any] = MCPServer(
        "link-server", version="1.2.3", instructions="Be gentle.", log_level="ERROR"
    )
    _add_plain_tools(server)
    _add_talking_tools(server)

    @server.resource("note://today")
    def today() -> str:
        """Return what there is to know."""
        return "nothing new"

    return server


def _add_plain_tools(server: MCPServer[Any]) -> None:
    @server.tool()
    async def echo(text: str, after_seconds: float = 0) -> str:
        """Say the same."""
        await anyio.sleep(after_seconds)
        return text

    @server.tool()
    async def add(a: int, b: int) -> Sum:
        """Add two numbers."""
        return Sum(total=a + b)

    @server.tool()
    async def fail(how: str) -> str:
        """Fail: as a tool does (`tool`), or as the protocol does (`protocol`)."""
        if how == "tool":
            raise ToolError("it did not work")
        raise MCPError(-32055, "no such thing", {"why": "asked for"})

    @server.tool()
    async def hang(log: str) -> str:
        """Never answer; write to the file `log` when begun and when cancelled."""
        with Path(log).open("a") as file:
            file.write("begun\n")
            file.flush()
            try:
                await anyio.sleep_forever()
            except BaseException:
                file.write("cancelled\n")
                raise
        return "never"

    @server.tool()
    async def spawn() -> int:
        """Start a process that outlives the call; return its id."""
        return subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL).pid

    @server.tool()
    async def whoami(ctx: Context) -> str:
        """Return who the call is made for, as far as the transport says."""
        caller = ctx.request_context.request
        principal = getattr(caller, "principal", None)
        return principal.id if principal is not None else "nobody"


def _add_talking_tools(server: MCPServer[Any]) -> None:
    @server.tool()
    async def count(to: int, ctx: Context) -> str:
        """Report progress `to` times."""
        for step in range(1, to + 1):
            await ctx.report_progress(step, to, f"step {step}")
        return f"counted to {to}"

    @server.tool()
    async def remark(text: str, ctx: Context) -> str:
        """Send a log message."""
        await ctx.info(text)
        return "remarked"

    @server.tool()
    async def ask(ctx: Context) -> str:
        """Ask the user for a name, in the way of the handshake era."""
        answer = await ctx.elicit("Who are you?", Name)
        return f"hello {answer.data.name}" if answer.action == "accept" else answer.action

    @server.tool()
    async def ask_again(ctx: Context) -> str | InputRequiredResult:
        """Ask the user for a name, in the way of the modern era."""
        if ctx.input_responses is None:
            return InputRequiredResult(input_requests={"who": ASK_NAME}, request_state="asked")
        answer = ctx.input_responses["who"]
        name = (answer.content or {}).get("name") if isinstance(answer, ElicitResult) else None
        return f"hello {name}"

    @server.tool()
    async def change_tools(name: str, ctx: Context) -> str:
        """Offer one more tool, and say so by every way there is."""
        server.add_tool(lambda: "here", name=name, description="One more.")
        await ctx.notify_tools_changed()
        await ctx.session.send_tool_list_changed()
        return "changed"

    @server.tool()
    async def change_note(ctx: Context) -> str:
        """Say that note://today changed."""
        await ctx.notify_resource_updated("note://today")
        return "changed"


if __name__ == "__main__":
    run(build)
