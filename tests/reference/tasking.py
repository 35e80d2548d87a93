"""The reference server's long-running tools, under the names the conformance suite looks for.

They are plain tools of an SDK that knows nothing of tasks: what makes tasks of them is the mark in their `_meta`.
"""

from typing import Annotated, Any

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INTERNAL_ERROR,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequest,
    InputRequiredResult,
    ToolAnnotations,
)
from pydantic import Field

LONG_RUNNING = {"quantum/longRunning": True}
TASK_ALONE = {"quantum/longRunning": "required"}
ASKS_FIRST = {**LONG_RUNNING, "quantum/asksFirst": True}
READS = ToolAnnotations(read_only_hint=True)

Answer = str | InputRequiredResult


def register_tasking(server: MCPServer[Any]) -> None:
    """Add every long-running tool to `server`, and one that is not."""
    _register_working(server)
    _register_failing(server)
    _register_asking(server)


def _register_working(server: MCPServer[Any]) -> None:
    @server.tool(annotations=READS)
    def greet(name: str) -> str:
        """Greet at once."""
        return f"Hello, {name}!"

    @server.tool(annotations=READS, meta=LONG_RUNNING)
    async def slow_compute(
        seconds: Annotated[float, Field(description="How long to work.")], ctx: Context[Any, Any], label: str = ""
    ) -> str:
        """Work for so many seconds, reporting progress."""
        steps = max(1, int(seconds * 4))
        for step in range(steps):
            await ctx.report_progress(step, steps, f"step {step} of {steps}")
            await anyio.sleep(seconds / steps)
        return f"computed {label}".strip()

    @server.tool(annotations=READS, meta=LONG_RUNNING)
    async def run_child(pid_file: str) -> str:
        """Run a child process for a minute, its id in the file."""
        async with await anyio.open_process(["sleep", "60"]) as child:
            await anyio.Path(pid_file).write_text(str(child.pid))
            await child.wait()
        return "the child ended"


def _register_failing(server: MCPServer[Any]) -> None:
    @server.tool(annotations=READS, meta=TASK_ALONE)
    async def failing_job() -> str:
        """Work for a moment, then report an error."""
        await anyio.sleep(1)
        raise ToolError("The job failed, as it always does.")

    @server.tool(annotations=READS, meta=LONG_RUNNING)
    async def protocol_error_job() -> str:
        """Answer with an error of the protocol."""
        raise MCPError(code=INTERNAL_ERROR, message="The job broke, as it always does.")


def _form(message: str, field: str, kind: str) -> ElicitRequest:
    schema: dict[str, Any] = {"type": "object", "properties": {field: {"type": kind}}, "required": [field]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def _filled(ctx: Context[Any, Any], key: str, field: str) -> Any:
    answer = (ctx.input_responses or {}).get(key)
    return (answer.content or {}).get(field) if isinstance(answer, ElicitResult) else None


def _register_asking(server: MCPServer[Any]) -> None:
    @server.tool(annotations=READS, meta=LONG_RUNNING)
    async def confirm_delete(filename: str, ctx: Context[Any, Any]) -> Answer:
        """Ask before deleting (nothing is deleted)."""
        if "confirm" not in (ctx.input_responses or {}):
            question = _form(f"Delete {filename}?", "confirm", "boolean")
            return InputRequiredResult(input_requests={"confirm": question})
        return f"{filename} deleted" if _filled(ctx, "confirm", "confirm") else f"{filename} kept"

    @server.tool(annotations=READS, meta=LONG_RUNNING)
    async def multi_input(ctx: Context[Any, Any]) -> Answer:
        """Ask two things at once."""
        questions: dict[str, InputRequest] = {
            "name": _form("Your name?", "name", "string"),
            "consent": _form("Do you agree?", "confirm", "boolean"),
        }
        if not questions.keys() <= (ctx.input_responses or {}).keys():
            return InputRequiredResult(input_requests=questions)
        return f"{_filled(ctx, 'name', 'name')} agrees: {_filled(ctx, 'consent', 'confirm')}"

    @server.tool(annotations=READS, meta=ASKS_FIRST)
    async def test_tool_with_task(ctx: Context[Any, Any]) -> Answer:
        """Ask for a name first, then work."""
        name = _filled(ctx, "user_name", "name")
        if name is None:
            return InputRequiredResult(input_requests={"user_name": _form("Your name?", "name", "string")})
        await anyio.sleep(0.2)
        return f"Worked for {name}."
