"""What a client of the hub is answered: a tool's result, its refusal, a resource's text."""

from typing import Any

from mcp import Client
from mcp.types import CallToolResult, TextContent, TextResourceContents


def text_of(result: CallToolResult) -> str:
    """Return the text that a tool answered, a line break between its blocks."""
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))


def told(result: CallToolResult) -> dict[str, Any]:
    """Return the structured part of an answer; raises AssertionError when it is an error or has none."""
    assert not result.is_error, text_of(result)
    assert result.structured_content is not None
    return result.structured_content


def refusal(result: CallToolResult) -> str:
    """Return the text of an error; raises AssertionError when the call went well."""
    assert result.is_error, text_of(result)
    return text_of(result)


async def read(client: Client, uri: str) -> str:
    """Return the text of a resource, asked of the server and not of the client's cache; it has one content."""
    (content,) = (await client.read_resource(uri, cache_mode="bypass")).contents
    assert isinstance(content, TextResourceContents)
    return content.text
