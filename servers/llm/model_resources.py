"""The resources: how providers are, and what was used, under the reader's own rights."""

from typing import Any, cast, get_args

from mcp.server.mcpserver import Context, MCPServer

from quantum_suite.core.errors import NotFound
from quantum_suite.core.principals import Principal
from quantum_suite.resources.llm.usage import UsageRow, usage_report
from quantum_suite.servers.callers import principal_of, resource_errors
from quantum_suite.servers.llm.uris import PROVIDER, USAGE, USAGE_OF_ALL
from quantum_suite.services.llm.interface import Gateway
from quantum_suite.services.llm.ledger.interface import Period
from quantum_suite.tools.llm.list_models import list_models
from quantum_suite.tools.llm.sum_up_usage import sum_up_usage

_MOST_ROWS = 1000


def add_resources(server: MCPServer[Any], models: Gateway) -> None:
    """Register the resources on `server`."""

    @server.resource(
        PROVIDER,
        name="model_providers",
        title="Model providers",
        description="A provider, its state and models; 'all': every one, the routes, and what is left of your "
        "budgets.",
        mime_type="application/json",
    )
    async def read_provider(provider: str, ctx: Context[Any, Any]) -> str:
        with resource_errors():
            listed = await list_models(models, principal_of(ctx))
            if provider == "all":
                return listed.model_dump_json(indent=2)
            for one in listed.providers:
                if one.name == provider:
                    return one.model_dump_json(indent=2)
            names = ", ".join(one.name for one in listed.providers) or "none"
            raise NotFound(f"There is no provider '{provider[:40]}'.", f"There are {names}.", argument="provider")

    @server.resource(
        USAGE,
        name="model_usage",
        title="What you used models for",
        description="Your tokens and costs by model and purpose; period is day or month (UTC).",
        mime_type="text/markdown",
    )
    async def read_usage(period: str, ctx: Context[Any, Any]) -> str:
        return await _report(models, period, principal_of(ctx), everybody=False)

    @server.resource(
        USAGE_OF_ALL,
        name="model_usage_of_everybody",
        title="What everybody used models for",
        description="Everybody's tokens and costs by principal, model and purpose; for administrators.",
        mime_type="text/markdown",
    )
    async def read_usage_of_all(period: str, ctx: Context[Any, Any]) -> str:
        return await _report(models, period, principal_of(ctx), everybody=True)


async def _report(models: Gateway, period: str, principal: Principal, *, everybody: bool) -> str:
    with resource_errors():
        if period not in get_args(Period):
            raise NotFound(f"There is no usage of '{period[:40]}'.", "Ask for day or month.", argument="period")
        usage = await sum_up_usage(models, principal, cast(Period, period), everybody=everybody, most=_MOST_ROWS)
    whose = "by everybody" if everybody else f"by {principal.id}"
    rows = [
        UsageRow(
            row.principal,
            row.model,
            row.purpose,
            row.attempts,
            row.input_tokens,
            row.output_tokens,
            row.cost_usd,
            row.unpriced,
        )
        for row in usage.rows
    ]
    return usage_report(f"Models used {whose} this {period}", rows)
