"""The reference server: one of every thing a server may offer, under the names the conformance suite looks for.

Run it as `python tests/reference/server.py --stdio`, or with `--http 0`, which prints the URL it listens on.
"""

import base64
import json
import os
import struct
import sys
import zlib
from pathlib import Path
from typing import Annotated, Any

import anyio
from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.prompts.base import Prompt, UserMessage
from mcp.server.session import ServerSession
from mcp.shared.exceptions import MCPError
from mcp.types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    AudioContent,
    Completion,
    CompletionArgument,
    CompletionContext,
    EmbeddedResource,
    EmptyResult,
    ImageContent,
    LoggingMessageNotification,
    LoggingMessageNotificationParams,
    PromptReference,
    ResourceTemplateReference,
    SetLevelRequestParams,
    SubscribeRequestParams,
    TextContent,
    TextResourceContents,
    UnsubscribeRequestParams,
)
from pydantic import Field

if __name__ == "__main__":
    # Started as a script, only this folder is on the path; its siblings are imported through the folder above.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from reference.asking import register_asking
from reference.launch import run
from reference.tasking import register_tasking

STEP_SECONDS = 0.05
"""Between two notifications of one call, so that a client sees them arrive one by one."""

WATCHED = "test://watched-resource"

SCHEMA_2020_12: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}
"""The suite compares keyword by keyword what a listing says of `json_schema_2020_12_tool` with this."""


def _png() -> str:
    """One red pixel, in base64."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    pixel = chunk(b"IDAT", zlib.compress(b"\0\xff\0\0"))
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + header + pixel + chunk(b"IEND", b"")).decode()


def _wav() -> str:
    """Two silent samples, 8 kHz mono, in base64."""
    form = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16) + b"data" + struct.pack("<I", 4)
    return base64.b64encode(b"RIFF" + struct.pack("<I", len(form) + 4) + form + bytes(4)).decode()


def build() -> MCPServer[Any]:
    """Return a fresh reference server, with state of its own."""
    server: MCPServer[Any] = MCPServer("reference", version="1.0.0", log_level="WARNING")
    _register_content(server)
    _register_telling(server)
    _register_waiting(server)
    _register_changing(server)
    _register_resources(server)
    _register_prompts(server)
    register_asking(server)
    register_tasking(server)
    return server


def _register_content(server: MCPServer[Any]) -> None:
    image = ImageContent(type="image", data=_png(), mime_type="image/png")

    @server.tool()
    def echo(text: str) -> str:
        """Return the text as it came."""
        return text

    @server.tool()
    def test_simple_text() -> str:
        """Return one text."""
        return "This is a simple text response for testing."

    @server.tool()
    def test_image_content() -> list[ImageContent]:
        """Return one image."""
        return [image]

    @server.tool()
    def test_audio_content() -> list[AudioContent]:
        """Return one sound."""
        return [AudioContent(type="audio", data=_wav(), mime_type="audio/wav")]

    @server.tool()
    def test_embedded_resource() -> list[EmbeddedResource]:
        """Return a resource inside the result."""
        return [_embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")]

    @server.tool()
    def test_multiple_content_types() -> list[TextContent | ImageContent | EmbeddedResource]:
        """Return a text, an image and a resource together."""
        document = json.dumps({"test": "data", "value": 123})
        return [
            TextContent(type="text", text="Multiple content types test:"),
            image,
            _embedded("test://mixed-content-resource", "application/json", document),
        ]

    @server.tool()
    def test_error_handling() -> str:
        """Fail."""
        raise ToolError("This tool intentionally returns an error for testing")

    @server.tool()
    def json_schema_2020_12_tool() -> str:
        """Take what a schema with the keywords of 2020-12 describes."""
        return "taken"

    # The SDK derives schemas from signatures and has no public way to give one.
    described = server._tool_manager.get_tool("json_schema_2020_12_tool")
    assert described is not None
    described.parameters = SCHEMA_2020_12

    @server.tool()
    def test_x_mcp_header(
        region: Annotated[
            str, Field(description="Sent as a header too.", json_schema_extra={"x-mcp-header": "Region"})
        ] = "nowhere",
    ) -> str:
        """Take an argument that HTTP clients repeat in a header (SEP-2243)."""
        return f"region={region}"


def _embedded(uri: str, mime_type: str, text: str) -> EmbeddedResource:
    return EmbeddedResource(
        type="resource", resource=TextResourceContents(uri=uri, mime_type=mime_type, text=text)
    )


def _register_telling(server: MCPServer[Any]) -> None:
    """Tools that say something before they answer."""

    async def log(ctx: Context[Any, Any], text: str) -> None:
        # The typed helper is deprecated with the capability (SEP-2577) and warns; handshake clients still need it.
        notice = LoggingMessageNotification(params=LoggingMessageNotificationParams(level="info", data=text))
        await ctx.session.send_notification(notice, related_request_id=ctx.request_id)

    @server.tool()
    async def test_tool_with_logging(ctx: Context[Any, Any]) -> str:
        """Log three times while working."""
        await log(ctx, "Tool execution started")
        await anyio.sleep(STEP_SECONDS)
        await log(ctx, "Tool processing data")
        await anyio.sleep(STEP_SECONDS)
        await log(ctx, "Tool execution completed")
        return "Logged three times."

    @server.tool()
    async def test_logging_tool(ctx: Context[Any, Any]) -> str:
        """Log once, for requests that asked for logs."""
        meta = ctx.request_context.meta or {}
        if ctx.protocol_version != "2026-07-28" or "io.modelcontextprotocol/logLevel" in meta:
            await log(ctx, "Logged on request")
        return "Logged if asked."

    @server.tool()
    async def test_tool_with_progress(ctx: Context[Any, Any]) -> str:
        """Report progress three times."""
        for done in (0, 50, 100):
            await ctx.report_progress(done, 100, f"{done} of 100")
            await anyio.sleep(STEP_SECONDS)
        return "Reported three times."

    @server.tool()
    async def test_missing_capability(ctx: Context[Any, Any]) -> str:
        """Work only for clients that can sample."""
        declared = ctx.client_capabilities
        if declared is None or declared.sampling is None:
            raise MCPError(
                code=MISSING_REQUIRED_CLIENT_CAPABILITY,
                message="This tool needs a client that declares sampling.",
                data={"requiredCapabilities": {"sampling": {}}},
            )
        return "Sampling is declared."


def _register_waiting(server: MCPServer[Any]) -> None:
    """Tools that let a test see calls in flight."""
    waiting: set[object] = set()

    @server.tool()
    async def wait_for_file(path: str, ctx: Context[Any, Any]) -> str:
        """Answer once the file exists; report progress once waiting."""
        me = object()
        waiting.add(me)
        try:
            await ctx.report_progress(0, 1, "waiting")
            while not await anyio.Path(path).exists():
                await anyio.sleep(STEP_SECONDS)
        finally:
            waiting.discard(me)
        return "the file is there"

    @server.tool()
    async def count_waiting() -> str:
        """Say how many calls of `wait_for_file` are in flight."""
        return str(len(waiting))

    @server.tool()
    async def process_id() -> str:
        """Say which process answers."""
        return str(os.getpid())


def _register_changing(server: MCPServer[Any]) -> None:
    """Tools that change what the server offers, and tell clients of either era."""

    @server.tool()
    async def test_trigger_tool_change(ctx: Context[Any, Any]) -> str:
        """Add the tool `test_dynamic_tool`, or remove it when it is there."""
        if server._tool_manager.get_tool("test_dynamic_tool"):
            server.remove_tool("test_dynamic_tool")
        else:
            server.add_tool(lambda: "here for now", name="test_dynamic_tool", description="Comes and goes.")
        await ctx.notify_tools_changed()
        await ctx.session.send_tool_list_changed()
        return "changed"

    @server.tool()
    async def test_trigger_prompt_change(ctx: Context[Any, Any]) -> str:
        """Add the prompt `test_dynamic_prompt`, or remove it when it is there."""
        if any(prompt.name == "test_dynamic_prompt" for prompt in await server.list_prompts()):
            server.remove_prompt("test_dynamic_prompt")
        else:
            server.add_prompt(
                Prompt.from_function(
                    lambda: "here for now", name="test_dynamic_prompt", description="Comes and goes."
                )
            )
        await ctx.notify_prompts_changed()
        await ctx.session.send_prompt_list_changed()
        return "changed"


def _register_resources(server: MCPServer[Any]) -> None:
    versions = {WATCHED: 1}
    watchers: dict[str, list[ServerSession]] = {}

    @server.resource("test://static-text", mime_type="text/plain")
    def static_text() -> str:
        """A text that never changes."""
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png")
    def static_binary() -> bytes:
        """An image that never changes."""
        return base64.b64decode(_png())

    @server.resource("test://template/{id}/data", mime_type="application/json")
    def template_data(id: str) -> str:  # noqa: A002 - the suite's template names the variable so
        """What there is about one id."""
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})

    @server.resource(WATCHED, mime_type="text/plain")
    def watched() -> str:
        """A text that `test_update_watched_resource` changes."""
        return f"version {versions[WATCHED]}"

    @server.tool()
    async def test_update_watched_resource(ctx: Context[Any, Any]) -> str:
        """Change test://watched-resource and tell its subscribers."""
        versions[WATCHED] += 1
        await ctx.notify_resource_updated(WATCHED)
        for session in watchers.get(WATCHED, ()):
            await session.send_resource_updated(WATCHED)
        return f"version {versions[WATCHED]}"

    async def subscribe(ctx: ServerRequestContext[Any], params: SubscribeRequestParams) -> EmptyResult:
        watchers.setdefault(str(params.uri), []).append(ctx.session)
        return EmptyResult()

    async def unsubscribe(ctx: ServerRequestContext[Any], params: UnsubscribeRequestParams) -> EmptyResult:
        watchers.pop(str(params.uri), None)
        return EmptyResult()

    async def set_level(ctx: ServerRequestContext[Any], params: SetLevelRequestParams) -> EmptyResult:
        return EmptyResult()

    # The SDK's public surface no longer registers the handshake era's own methods.
    lowlevel = server._lowlevel_server
    lowlevel.add_request_handler("resources/subscribe", SubscribeRequestParams, subscribe)
    lowlevel.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, unsubscribe)
    lowlevel.add_request_handler("logging/setLevel", SetLevelRequestParams, set_level)


def _register_prompts(server: MCPServer[Any]) -> None:
    @server.prompt()
    def test_simple_prompt() -> str:
        """One message, no arguments."""
        return "This is a simple prompt for testing."

    @server.prompt()
    def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
        """One message made of both arguments."""
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @server.prompt()
    def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:
        """A resource, and what to do with it."""
        resource = _embedded(resourceUri, "text/plain", "Embedded resource content for testing.")
        return [UserMessage(resource), UserMessage("Please process the embedded resource above.")]

    @server.prompt()
    def test_prompt_with_image() -> list[UserMessage]:
        """An image, and what to do with it."""
        image = ImageContent(type="image", data=_png(), mime_type="image/png")
        return [UserMessage(image), UserMessage("Please analyze the image above.")]

    async def complete(
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> Completion:
        values = [word for word in ("paris", "park", "party", "test") if word.startswith(argument.value)]
        return Completion(values=values, total=len(values), has_more=False)

    server.completion()(complete)  # type: ignore[no-untyped-call]  # the SDK leaves the decorator untyped


if __name__ == "__main__":
    run(build)
