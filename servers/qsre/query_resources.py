"""The resources: what was asked of metrics and its data, read under the caller's own rights."""

from typing import Any

from mcp.server.mcpserver import Context, MCPServer

from quantum_suite.resources.qsre.queries import MEDIA_TYPES, queries_json, query_json
from quantum_suite.servers.callers import principal_of, resource_errors
from quantum_suite.services.metrics.result_store import ResultStore, View

QUERY_TEMPLATE = "quantum://qsre/queries/{query}"


def add_query_resources(server: MCPServer[Any], results: ResultStore) -> None:
    """Register the resource templates on `server`."""

    @server.resource(
        QUERY_TEMPLATE,
        name="metric_query",
        title="A query of metrics",
        description="What was asked, and links to its data. The id 'latest' lists your queries.",
        mime_type="application/json",
    )
    async def read_query(query: str, ctx: Context[Any, Any]) -> str:
        principal = principal_of(ctx)
        with resource_errors():
            if query == "latest":
                return queries_json(await results.latest(principal))
            return query_json(await results.get(query, principal))

    _add_data(server, results, "json", "JSON", "Points by series; page and pages say where you are.")
    _add_data(server, results, "csv", "CSV", "A row a point: time in UTC, value, and a column for each label.")


def _add_data(server: MCPServer[Any], results: ResultStore, view: View, form: str, description: str) -> None:
    async def page(query: str, number: str, ctx: Context[Any, Any]) -> str:
        with resource_errors():
            return (await results.page(query, view, number, principal_of(ctx))).decode()

    @server.resource(
        f"{QUERY_TEMPLATE}/{view}",
        name=f"metric_query_{view}",
        title=f"Data of a query in {form}",
        description=f"The first page. {description}",
        mime_type=MEDIA_TYPES[view],
    )
    async def read_first(query: str, ctx: Context[Any, Any]) -> str:
        return await page(query, "1", ctx)

    @server.resource(
        f"{QUERY_TEMPLATE}/{view}-{{number}}",
        name=f"metric_query_{view}_page",
        title=f"A page of data of a query in {form}",
        description=f"Any page. {description}",
        mime_type=MEDIA_TYPES[view],
    )
    async def read_page(query: str, number: str, ctx: Context[Any, Any]) -> str:
        return await page(query, number, ctx)
