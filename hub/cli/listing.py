"""`servers`, `tools`, `resources` and `prompts`: what a hub offers."""

import difflib
import json
import re
from collections.abc import Sequence
from typing import Any

from mcp import MCPError
from mcp.client.client import Client
from mcp.types import Tool
from pydantic import BaseModel
from rich.padding import Padding
from rich.text import Text

from quantum_suite.core.engines import EngineStatus
from quantum_suite.core.errors import NotFound
from quantum_suite.hub.call import INVALID_PARAMS, LEGACY_RESOURCE_NOT_FOUND
from quantum_suite.hub.cli.arguments import Parameter, parameters
from quantum_suite.hub.cli.console import out, printable, write_json
from quantum_suite.hub.cli.endpoint import Endpoint
from quantum_suite.hub.cli.exits import ExitCode
from quantum_suite.hub.cli.reach import every_page, open_client
from quantum_suite.hub.cli.standing import print_engines, servers_table
from quantum_suite.hub.status import UpstreamStatus

DETAILS_URI = "quantum://hub/servers/details"
SERVERS_URI = "quantum://hub/servers/all"
ENGINES_URI = "quantum://hub/engines/all"
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")


async def show_servers(endpoint: Endpoint, as_json: bool) -> ExitCode:
    """Print the servers and their engines."""
    async with open_client(endpoint) as client:
        statuses = await read_statuses(client)
        problem = await read_configuration_problem(client)
        engines = await read_engines(client)
    if as_json:
        write_json(
            {
                "servers": [status.model_dump() for status in statuses],
                "configuration_problem": problem,
                "engines": {name: [engine.model_dump() for engine in found] for name, found in engines.items()},
            }
        )
        return ExitCode.OK
    console = out()
    console.print(servers_table(statuses))
    if problem is not None:
        console.print(Text(f"\nmcp.json is not in force: {printable(problem)}", style="red"))
    print_engines(console, engines)
    return ExitCode.OK


async def read_statuses(client: Client) -> list[UpstreamStatus]:
    """Ask the hub how its servers are, past any cache: in full where the caller may know."""
    value = await _read_details(client) or await _read_json(client, SERVERS_URI)
    return [UpstreamStatus.model_validate(status) for status in value["servers"]]


async def read_configuration_problem(client: Client) -> str | None:
    """Ask the hub why mcp.json as it stands is not in force; None when it is, or when the caller may not know."""
    value = await _read_details(client)
    configuration = value.get("configuration") if value else None
    return configuration.get("problem") if configuration else None


async def _read_details(client: Client) -> Any:
    try:
        return await _read_json(client, DETAILS_URI)
    except MCPError as error:
        if error.error.code not in (INVALID_PARAMS, LEGACY_RESOURCE_NOT_FOUND):
            raise
        return None


async def read_engines(client: Client) -> dict[str, list[EngineStatus]]:
    """Ask the hub which engines each module has."""
    value = await _read_json(client, ENGINES_URI)
    return {name: [EngineStatus.model_validate(e) for e in found] for name, found in value["engines"].items()}


async def _read_json(client: Client, uri: str) -> Any:
    result = await client.read_resource(uri, cache_mode="bypass")
    return json.loads(getattr(result.contents[0], "text", "null"))


async def all_tools(client: Client) -> list[Tool]:
    """Return every tool, in the hub's order."""
    return await every_page(lambda cursor: client.list_tools(cursor=cursor), lambda page: page.tools)


async def find_tool(client: Client, name: str) -> Tool:
    """Return a tool by its name; raises NotFound naming the nearest ones."""
    tools = await all_tools(client)
    for tool in tools:
        if tool.name == name:
            return tool
    near = difflib.get_close_matches(name, [tool.name for tool in tools], n=3, cutoff=0.4)
    near = near or [tool.name for tool in tools if tool.name.endswith(f"_{name}")]
    hint = f"Did you mean {', '.join(near)}?" if near else "`quantum tools` lists them."
    raise NotFound(f"There is no tool '{name}'.", hint, argument="tool")


async def show_tools(endpoint: Endpoint, server: str | None, as_json: bool) -> ExitCode:
    """Print the tools, of one server where it is named."""
    async with open_client(endpoint) as client:
        tools = await all_tools(client)
        if server is not None:
            chosen = [tool for tool in tools if tool.name.startswith(f"{server}_")]
            if not chosen:
                names = sorted(status.name for status in await read_statuses(client))
                if server not in names:
                    raise NotFound(
                        f"There is no server '{server}'.", f"There are: {', '.join(names)}.", argument="server"
                    )
            tools = chosen
    if as_json:
        write_json({"tools": _plain(tools)})
        return ExitCode.OK
    for tool in tools:
        _print_entry(tool.name, _manners(tool), tool.description)
    return ExitCode.OK


async def show_tool(endpoint: Endpoint, name: str, as_json: bool) -> ExitCode:
    """Print one tool with its arguments."""
    async with open_client(endpoint) as client:
        tool = await find_tool(client, name)
    if as_json:
        write_json(_plain([tool])[0])
        return ExitCode.OK
    console = out()
    console.print(Text(tool.name, style="bold") + Text(_manners(tool)))
    console.print(Text(printable(tool.description or "")))
    console.print(Text("\nArguments:"))
    for parameter in parameters(tool.input_schema):
        console.print(
            Text(f"  {printable(parameter.name)}", style="bold") + Text(_takes(parameter), style="not bold")
        )
        if parameter.description:
            console.print(Padding(Text(printable(parameter.description)), (0, 0, 0, 6), expand=False))
    return ExitCode.OK


def _takes(parameter: Parameter) -> str:
    if parameter.required:
        return f"={printable(parameter.shape)}, required"
    default = "" if parameter.default is None else f", default {json.dumps(parameter.default)}"
    return f"={printable(parameter.shape)}{default}"


async def show_resources(endpoint: Endpoint, as_json: bool) -> ExitCode:
    """Print the resources and templates."""
    async with open_client(endpoint) as client:
        resources = await every_page(lambda c: client.list_resources(cursor=c), lambda page: page.resources)
        templates = await every_page(
            lambda c: client.list_resource_templates(cursor=c), lambda page: page.resource_templates
        )
    if as_json:
        write_json({"resources": _plain(resources), "resourceTemplates": _plain(templates)})
        return ExitCode.OK
    for resource in resources:
        about = resource.description or resource.title or resource.name
        _print_entry(str(resource.uri), _in_brackets(resource.mime_type), about)
    for template in templates:
        about = template.description or template.title or template.name
        _print_entry(template.uri_template, _in_brackets(template.mime_type), about)
    return ExitCode.OK


async def show_prompts(endpoint: Endpoint, as_json: bool) -> ExitCode:
    """Print the prompts."""
    async with open_client(endpoint) as client:
        prompts = await every_page(lambda c: client.list_prompts(cursor=c), lambda page: page.prompts)
    if as_json:
        write_json({"prompts": _plain(prompts)})
        return ExitCode.OK
    for prompt in prompts:
        names = " ".join(a.name if a.required else f"[{a.name}]" for a in prompt.arguments or ())
        _print_entry(prompt.name, f" {names}".rstrip(), prompt.description)
    return ExitCode.OK


def _plain(items: Sequence[BaseModel]) -> list[Any]:
    return [item.model_dump(mode="json", by_alias=True, exclude_none=True) for item in items]


def _print_entry(name: str, remark: str, about: str | None) -> None:
    """Print a name, never cut short, and the first sentence about it."""
    console = out()
    console.print(Text(printable(name), style="bold") + Text(printable(remark)), soft_wrap=True)
    if sentence := first_sentence(about):
        console.print(Text(f"    {sentence}"), soft_wrap=not console.is_terminal)


def first_sentence(text: str | None) -> str:
    """Return the first sentence of the first paragraph."""
    paragraph = " ".join((text or "").strip().split("\n\n", 1)[0].split())
    return printable(_SENTENCE.split(paragraph, maxsplit=1)[0])


def _in_brackets(text: str | None) -> str:
    return f" ({text})" if text else ""


def _manners(tool: Tool) -> str:
    manners = tool.annotations
    if manners is None:
        return ""
    if manners.read_only_hint:
        return " (reads only)"
    return " (may destroy)" if manners.destructive_hint else ""
