"""What the tools answer: structured for programs, a few lines of text for a model, links for what is long."""

from mcp_types import CallToolResult, ContentBlock, ResourceLink, TextContent
from pydantic import BaseModel

from quantum_suite.resources.llm.usage import usage_uri
from quantum_suite.servers.llm.uris import PROVIDERS
from quantum_suite.tools.llm.ask_model import AskedModel
from quantum_suite.tools.llm.list_models import ListedBudget, ListedProvider, ModelList
from quantum_suite.tools.llm.sum_up_usage import ModelUsage

_ROWS_IN_TEXT = 10


def asked_answer(asked: AskedModel) -> CallToolResult:
    """Return the answer of ask_model."""
    who = "Answered before" if asked.cached else f"{asked.provider}/{asked.model}"
    cost = "price unknown" if asked.cost_usd is None else f"${asked.cost_usd:.6f}"
    about = "about " if asked.estimated else ""
    lines = [
        asked.text,
        "",
        f"({who}: {about}{asked.input_tokens} tokens sent, {asked.output_tokens} received, {cost})",
    ]
    if asked.finish_reason == "length":
        lines.append("It is cut off: ask for less, or raise max_output_tokens.")
    if asked.finish_reason == "content_filter":
        lines.append("The provider withheld the answer or part of it.")
    if asked.attempts:
        lines.append("Tried before: " + "; ".join(asked.attempts))
    return _result(asked, "\n".join(lines))


def models_answer(found: ModelList) -> CallToolResult:
    """Return the answer of list_models."""
    if not found.configured:
        return _result(found, f"No model is configured. {found.how_to_configure}")
    lines = [f"- {route.name}: {', then '.join(route.models)}" for route in found.routes]
    lines = ["Routes:", *lines, "Providers:", *map(_provider, found.providers)]
    lines += map(_budget, found.budgets)
    link = ResourceLink(
        uri=PROVIDERS,
        name="model_providers",
        mime_type="application/json",
        description="The same, kept up to date.",
    )
    return _result(found, "\n".join(lines), link)


def usage_answer(usage: ModelUsage) -> CallToolResult:
    """Return the answer of model_usage."""
    whose = "Everybody" if usage.everybody else "You"
    lines = [
        f"{whose} this {usage.period}: {usage.attempts} requests, {usage.input_tokens} tokens sent, "
        f"{usage.output_tokens} received, ${usage.cost_usd:.6f}"
        + (f", and {usage.unpriced} requests without a known price." if usage.unpriced else ".")
    ]
    for row in usage.rows[:_ROWS_IN_TEXT]:
        who = f"{row.principal}, " if usage.everybody else ""
        lines.append(
            f"- {who}{row.model}, {row.purpose or 'no purpose'}: {row.attempts} requests, "
            f"{row.input_tokens + row.output_tokens} tokens, ${row.cost_usd:.6f}"
        )
    lines += map(_budget, usage.budgets)
    link = ResourceLink(
        uri=usage_uri(usage.period, everybody=usage.everybody),
        name="model_usage",
        mime_type="text/markdown",
        description="Every row, as a report.",
    )
    return _result(usage, "\n".join(lines), link)


def _provider(one: ListedProvider) -> str:
    models = ", ".join(f"{model.name} ({model.price})" for model in one.models)
    return f"- {one.name} at {one.host}: {one.state}{f', {one.why}' if one.why else ''}. Models: {models}"


def _budget(one: ListedBudget) -> str:
    whose = "Your budget" if one.of == "you" else "Everybody's budget"
    parts = []
    if one.usd is not None:
        parts.append(f"${one.usd_left:.4f} of ${one.usd:.2f}")
    if one.tokens is not None:
        parts.append(f"{one.tokens_left} of {one.tokens} tokens")
    return f"{whose} for this {one.per}: {' and '.join(parts)} left."


def _result(answer: BaseModel, text: str, *links: ContentBlock) -> CallToolResult:
    return CallToolResult(
        content=[TextContent(text=text), *links], structured_content=answer.model_dump(mode="json")
    )
