"""The tools that search."""

from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import CallToolResult
from pydantic import Field

from quantum_suite.servers.callers import principal_of, tool_errors
from quantum_suite.servers.knowledge.answers import search_answer
from quantum_suite.servers.knowledge.arguments import Limit, PathPrefix, Query, SearchModeArgument, WorkspacePath
from quantum_suite.servers.knowledge.index_tools import READS
from quantum_suite.services.knowledge.interface import Knowledge, SearchRequest
from quantum_suite.services.workspaces import Workspaces
from quantum_suite.tools.knowledge.search_chunks import SearchResult, search_chunks


def add_search_tools(server: MCPServer[Any], knowledge: Knowledge, workspaces: Workspaces) -> None:
    """Register the tools on `server`."""

    @server.tool(
        name="search_code",
        title="Search code",
        description="Find the functions, methods and classes that do something, by a question in plain words, by "
        "words that stand in them, or by name. Use it to find where something is done; with an exact name in "
        "hand, find_symbol is quicker. Returns places with the first lines, and links to all of each.",
        annotations=READS,
    )
    async def search_code_tool(
        query: Query,
        ctx: Context[Any, Any],
        path: WorkspacePath = ".",
        path_prefix: PathPrefix = "",
        language: Annotated[
            str | None,
            Field(description="Only this language: python, javascript, typescript, go, java, rust, ..."),
        ] = None,
        mode: SearchModeArgument = "hybrid",
        limit: Limit = 10,
    ) -> Annotated[CallToolResult, SearchResult]:
        with tool_errors():
            root = workspaces.resolve(path, principal_of(ctx))
            request = SearchRequest(root, query, limit, "code", path_prefix, language, mode)
            return search_answer(await search_chunks(knowledge, request))

    @server.tool(
        name="search_docs",
        title="Search documents",
        description="Find sections of the workspace's documents (Markdown, reStructuredText, text): how something "
        "is meant, set up, or decided. Returns places with their first lines, and links to all of each.",
        annotations=READS,
    )
    async def search_docs_tool(
        query: Query,
        ctx: Context[Any, Any],
        path: WorkspacePath = ".",
        path_prefix: PathPrefix = "",
        mode: SearchModeArgument = "hybrid",
        limit: Limit = 10,
    ) -> Annotated[CallToolResult, SearchResult]:
        with tool_errors():
            root = workspaces.resolve(path, principal_of(ctx))
            request = SearchRequest(root, query, limit, "documents", path_prefix, None, mode)
            return search_answer(await search_chunks(knowledge, request))
