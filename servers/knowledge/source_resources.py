"""The resources: lines of files, read under the caller's own grant."""

from typing import Any

import anyio.to_thread
from mcp.server.mcpserver import Context, MCPServer

from quantum_suite.core.errors import CallerError, NotFound
from quantum_suite.resources.knowledge.source import source_text
from quantum_suite.servers.callers import principal_of, resource_errors
from quantum_suite.services.knowledge.source_lines import span_of
from quantum_suite.services.workspaces import Workspaces

FILE_TEMPLATES = ("quantum://knowledge/files/{file}", "quantum://knowledge/files/{file}/{view}")


def add_resources(server: MCPServer[Any], workspaces: Workspaces) -> None:
    """Register the resource templates on `server`."""

    async def read(file: str, view: str | None, ctx: Context[Any, Any]) -> str:
        with resource_errors():
            span = span_of(file, view)
            try:
                path = workspaces.resolve(span.path, principal_of(ctx))
            except CallerError as error:
                raise NotFound(str(error)) from error
            return await anyio.to_thread.run_sync(source_text, path, span)

    @server.resource(
        FILE_TEMPLATES[0],
        name="file",
        title="A file of a workspace",
        description="Its first lines, secrets masked. The id is made by search_code and find_symbol.",
        mime_type="text/plain",
    )
    async def read_file(file: str, ctx: Context[Any, Any]) -> str:
        return await read(file, None, ctx)

    @server.resource(
        FILE_TEMPLATES[1],
        name="file_lines",
        title="Lines of a file of a workspace",
        description="lines-<first>-<last>, from 1, inclusive, secrets masked.",
        mime_type="text/plain",
    )
    async def read_lines(file: str, view: str, ctx: Context[Any, Any]) -> str:
        return await read(file, view, ctx)
