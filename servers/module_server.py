"""The MCP server a module of the suite is made with."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp_types import CallToolResult, InputRequiredResult
from pydantic import ValidationError

_MOST_PROBLEMS = 3
_LONGEST_VALUE = 60


class ModuleServer(MCPServer[Any]):
    """Answers a wrong call with which argument, what is wrong and what would be right, in words for the model.

    Arguments a tool does not have are refused: a misspelt filter that is ignored gives a confident wrong answer.
    """

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Call a tool; raises ToolError and UnexpectedToolError as its parent does."""
        tool = next((tool for tool in await self.list_tools() if tool.name == name), None)
        if tool is not None and (problem := _unknown(arguments, tool.input_schema)):
            raise ToolError(problem)
        try:
            return await super().call_tool(name, arguments, context)
        except UnexpectedToolError:
            raise
        except ToolError as error:
            if isinstance(error.__cause__, ValidationError):
                raise ToolError(_in_words(error.__cause__)) from error.__cause__
            if isinstance(error.__cause__, ToolError):
                raise ToolError(str(error.__cause__)) from error.__cause__
            raise


def _unknown(arguments: Iterable[str], schema: Mapping[str, Any]) -> str | None:
    known = schema.get("properties", {})
    for name in arguments:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            return f"{name}: There is no such argument.{hint} It takes {', '.join(known) or 'none'}."
    return None


def _in_words(error: ValidationError) -> str:
    problems = error.errors(include_url=False)
    told = [_problem(problem) for problem in problems[:_MOST_PROBLEMS]]
    if len(problems) > _MOST_PROBLEMS:
        told.append(f"There are {len(problems) - _MOST_PROBLEMS} more.")
    return " ".join(told)


def _problem(problem: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "missing":
        return f"{where}: This argument is required."
    value = repr(problem["input"])
    if len(value) > _LONGEST_VALUE:
        value = f"{value[:_LONGEST_VALUE]}..."
    return f"{where}: {problem['msg']}, not {value}."
