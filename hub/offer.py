"""What one upstream offers, read from it page by page and checked entry by entry.

An entry that breaks the protocol is left out and named; the upstream's other entries stand.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import orjson
from mcp.types import Prompt, Resource, ResourceTemplate, Tool
from pydantic import BaseModel, ValidationError

from quantum_suite.hub.call import METHOD_NOT_FOUND, UPSTREAM_UNAVAILABLE, Json, RpcError

MAX_PAGES = 100
MAX_ENTRIES = 5_000
MAX_ENTRY_BYTES = 256 * 1024
MAX_NAME_LENGTH = 128  # MCP tools page, "Tool Names"

_MODELS: dict[str, type[BaseModel]] = {
    "tools/list": Tool,
    "prompts/list": Prompt,
    "resources/list": Resource,
    "resources/templates/list": ResourceTemplate,
}

Ask = Callable[[str, Json], Awaitable[Json]]
"""Sends one list request, `(method, params) -> result`."""


@dataclass(frozen=True, slots=True)
class Offer:
    """An upstream's lists, with its own names."""

    tools: tuple[Json, ...] = ()
    prompts: tuple[Json, ...] = ()
    resources: tuple[Json, ...] = ()
    templates: tuple[Json, ...] = ()
    faults: tuple[str, ...] = field(default=())
    """One sentence for each entry left out."""


async def read_offer(ask: Ask, capabilities: Json) -> Offer:
    """Read all lists the upstream's capabilities announce; raises what `ask` raises."""
    faults: list[str] = []
    tools: tuple[Json, ...] = ()
    prompts: tuple[Json, ...] = ()
    resources: tuple[Json, ...] = ()
    templates: tuple[Json, ...] = ()
    if "tools" in capabilities:
        tools = await _read_list(ask, "tools/list", "tools", _tool_fault, faults)
    if "prompts" in capabilities:
        prompts = await _read_list(ask, "prompts/list", "prompts", _name_fault, faults)
    if "resources" in capabilities:
        resources = await _read_list(ask, "resources/list", "resources", _uri_fault, faults)
        templates = await _read_list(ask, "resources/templates/list", "resourceTemplates", _template_fault, faults)
    return Offer(tools, prompts, resources, templates, tuple(faults))


async def _read_list(
    ask: Ask, method: str, key: str, fault_of: Callable[[Json], str | None], faults: list[str]
) -> tuple[Json, ...]:
    good: dict[str, Json] = {}
    cursor: str | None = None
    seen: set[str] = set()
    for _ in range(MAX_PAGES):
        try:
            page = await ask(method, {"cursor": cursor} if cursor else {})
        except RpcError as error:
            if error.code == METHOD_NOT_FOUND:
                return ()
            raise
        entries = page.get(key)
        if not isinstance(entries, list):
            raise RpcError(UPSTREAM_UNAVAILABLE, f"Its answer to {method} holds no list '{key}'.")
        for entry in entries:
            _take(entry, method, fault_of, good, faults)
        cursor = page.get("nextCursor")
        if not isinstance(cursor, str) or not cursor:
            return tuple(good.values())
        if cursor in seen or len(good) >= MAX_ENTRIES:
            break
        seen.add(cursor)
    faults.append(f"{method} does not end; the first {len(good)} entries are used.")
    return tuple(good.values())


def _take(
    entry: object, method: str, fault_of: Callable[[Json], str | None], good: dict[str, Json], faults: list[str]
) -> None:
    if not isinstance(entry, dict):
        faults.append(f"{method}: an entry is not an object.")
        return
    fault = fault_of(entry) or _shape_fault(entry, _MODELS[method])
    key = str(entry.get("uri") or entry.get("uriTemplate") or entry.get("name") or "")
    if fault is None and key in good:
        fault = "is listed twice"
    if fault is None:
        good[key] = entry
    elif len(faults) < 20:
        faults.append(f"{method}: '{key[:80]}' {fault}.")


def _shape_fault(entry: Json, model: type[BaseModel]) -> str | None:
    """Say what would make a client refuse the whole list the entry stands in."""
    try:
        if len(orjson.dumps(entry)) > MAX_ENTRY_BYTES:
            return f"is larger than {MAX_ENTRY_BYTES} bytes"
    except TypeError as error:
        return f"cannot be passed on ({str(error)[:80].lower()})"
    try:
        model.model_validate(entry)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        return f"breaks the protocol in {'.'.join(map(str, first['loc']))[:80]} ({first['msg'][:80].lower()})"
    return None


def _name_fault(entry: Json) -> str | None:
    name = entry.get("name")
    if not isinstance(name, str) or not name:
        return "has no name"
    if not name.isprintable() or " " in name:
        return "has a name with spaces or characters that cannot be seen"
    return f"has a name longer than {MAX_NAME_LENGTH} characters" if len(name) > MAX_NAME_LENGTH else None


def _tool_fault(entry: Json) -> str | None:
    if fault := _name_fault(entry):
        return fault
    schema = entry.get("inputSchema")
    if not isinstance(schema, dict) or schema.get("type") != "object":
        return "has no inputSchema of type object"
    properties = schema.get("properties", {})
    if not isinstance(properties, dict) or not all(isinstance(p, dict | bool) for p in properties.values()):
        return "has an inputSchema whose properties are no schemas"
    return None


def _uri_fault(entry: Json) -> str | None:
    return None if isinstance(entry.get("uri"), str) and entry["uri"] else "has no uri"


def _template_fault(entry: Json) -> str | None:
    return None if isinstance(entry.get("uriTemplate"), str) and entry["uriTemplate"] else "has no uriTemplate"
