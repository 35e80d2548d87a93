"""A wrong call is answered with what would be right, in words a model can act on."""

from typing import Annotated, Any, Literal

import pytest
from mcp.client.client import Client
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, TextContent
from pydantic import Field

from quantum_suite.servers.module_server import ModuleServer

pytestmark = pytest.mark.anyio


def server() -> ModuleServer:
    made = ModuleServer("module", log_level="CRITICAL")

    @made.tool()
    def scan(
        path: str,
        kinds: list[Literal["a", "b"]] | None = None,
        limit: Annotated[int, Field(le=100)] = 20,
    ) -> str:
        if path == "gone":
            raise ToolError("path: 'gone' does not exist.")
        if path == "bug":
            raise RuntimeError("the password is xyz")
        return f"{path} {kinds} {limit}"

    @made.tool()
    def ping() -> str:
        return "pong"

    return made


async def call(name: str, **arguments: Any) -> CallToolResult:
    async with Client(server()) as client:
        return await client.call_tool(name, arguments)


def said(result: CallToolResult) -> str:
    assert result.is_error
    (block,) = result.content
    assert isinstance(block, TextContent)
    return block.text


async def test_a_right_call_is_answered() -> None:
    result = await call("scan", path="x", kinds=["a"])
    assert not result.is_error
    assert result.structured_content == {"result": "x ['a'] 20"}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "path: This argument is required."),
        ({"path": "x", "limit": 500}, "limit: Input should be less than or equal to 100, not 500."),
        ({"path": "x", "kinds": ["a", "c"]}, "kinds.1: Input should be 'a' or 'b', not 'c'."),
        (
            {"path": "x", "limt": 5},
            "limt: There is no such argument. Did you mean limit? It takes path, kinds, limit.",
        ),
        ({"path": "gone"}, "path: 'gone' does not exist."),
    ],
)
async def test_a_wrong_call_names_the_argument_and_what_would_be_right(
    arguments: dict[str, Any], text: str
) -> None:
    assert said(await call("scan", **arguments)) == text


async def test_long_and_many_mistakes_stay_short() -> None:
    text = said(await call("scan", path="x", kinds=["z" * 5000, 1, 2, 3, 4]))
    assert len(text) < 500
    assert text.endswith("There are 2 more.")


async def test_a_tool_without_arguments_takes_none() -> None:
    assert said(await call("ping", loud=True)) == "loud: There is no such argument. It takes none."


async def test_a_bug_tells_nothing_of_itself() -> None:
    assert said(await call("scan", path="bug")) == "Error executing tool scan"


async def test_an_unknown_tool_is_an_error_of_the_tool() -> None:
    assert "nothing" in said(await call("nothing"))
