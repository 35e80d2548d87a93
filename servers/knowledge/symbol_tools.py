"""The tools that look names up, and the map."""

from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import CallToolResult
from pydantic import Field

from quantum_suite.servers.callers import principal_of, tool_errors
from quantum_suite.servers.knowledge.answers import map_answer, references_answer, symbols_answer
from quantum_suite.servers.knowledge.arguments import WorkspacePath
from quantum_suite.servers.knowledge.index_tools import READS
from quantum_suite.services.knowledge.interface import Knowledge
from quantum_suite.services.workspaces import Workspaces
from quantum_suite.tools.knowledge.find_symbols import (
    ReferenceList,
    RepositoryMapAnswer,
    SymbolList,
    find_references,
    find_symbols,
    map_repository,
)


def add_symbol_tools(server: MCPServer[Any], knowledge: Knowledge, workspaces: Workspaces) -> None:
    """Register the tools on `server`."""

    @server.tool(
        name="find_symbol",
        title="Find where a name is defined",
        description="Find definitions by name: a plain one (parse_file), a qualified one (Parser.parse_file), a "
        "prefix or parts of one. Most central first among equals.",
        annotations=READS,
    )
    async def find_symbol_tool(
        name: Annotated[str, Field(description="The name, plain or qualified.", max_length=300)],
        ctx: Context[Any, Any],
        path: WorkspacePath = ".",
        limit: Annotated[int, Field(description="Most definitions returned.", ge=1, le=100)] = 20,
    ) -> Annotated[CallToolResult, SymbolList]:
        with tool_errors():
            root = workspaces.resolve(path, principal_of(ctx))
            return symbols_answer(name, await find_symbols(knowledge, root, name, limit))

    @server.tool(
        name="find_references",
        title="Find where a name is used",
        description="Find the places where a symbol is used, certain ones first. Use it before changing a "
        "signature. Names are resolved by imports and scope, not by types: uncertain ones match by name alone. "
        "Uses through reflection or generated code are not seen.",
        annotations=READS,
    )
    async def find_references_tool(
        name: Annotated[str, Field(description="The name, plain or qualified.", max_length=300)],
        ctx: Context[Any, Any],
        path: WorkspacePath = ".",
        limit: Annotated[int, Field(description="Most places returned.", ge=1, le=200)] = 50,
    ) -> Annotated[CallToolResult, ReferenceList]:
        with tool_errors():
            root = workspaces.resolve(path, principal_of(ctx))
            return references_answer(name, await find_references(knowledge, root, name, limit))

    @server.tool(
        name="repository_map",
        title="Draw the map of a repository",
        description="Show the symbols that matter most, file by file with signatures, within a budget of tokens. "
        "Use it first in an unknown code base; with focus, for what surrounds the files or names you work on.",
        annotations=READS,
    )
    async def repository_map_tool(
        ctx: Context[Any, Any],
        path: WorkspacePath = ".",
        token_budget: Annotated[int, Field(description="Most tokens of the map.", ge=100, le=50_000)] = 2_000,
        focus: Annotated[
            list[str] | None,
            Field(description="Files, folders or symbols to draw the map around.", max_length=50),
        ] = None,
    ) -> Annotated[CallToolResult, RepositoryMapAnswer]:
        with tool_errors():
            root = workspaces.resolve(path, principal_of(ctx))
            return map_answer(await map_repository(knowledge, root, token_budget, tuple(focus or ())))
