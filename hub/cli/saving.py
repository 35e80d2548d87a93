"""Puts a report that is read page by page into one file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
from mcp.client.client import Client
from mcp.types import CallToolResult, ResourceLink, TextResourceContents

from quantum_suite.core.errors import CallerError, SuiteError
from quantum_suite.hub.cli.console import say

_SARIF_ENDINGS = (".sarif", ".json")


async def save_report(client: Client, result: CallToolResult, output: Path) -> None:
    """Write every page of the report a scan's answer links to: SARIF for .sarif and .json, else Markdown."""
    sarif = output.suffix.lower() in _SARIF_ENDINGS
    wanted = "application/sarif+json" if sarif else "text/markdown"
    links = [block for block in result.content if isinstance(block, ResourceLink)]
    uri = next((str(link.uri) for link in links if link.mime_type == wanted), None)
    if uri is None:
        raise SuiteError(f"The scan's answer links to no report in {wanted}.")
    text = await (_sarif(client, uri) if sarif else _markdown(client, uri))
    try:
        await anyio.Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise CallerError(f"{output} cannot be written: {error.strerror}.", argument="output") from error
    say(f"The whole report is in {output}.")


async def _sarif(client: Client, uri: str) -> str:
    """Return one log whose single run holds every page: services that take SARIF refuse several of one tool."""
    log: dict[str, Any] = json.loads(await _read(client, uri))
    (run,) = log["runs"]
    for number in range(2, int(run["properties"]["pages"]) + 1):
        _take_in(run, json.loads(await _read(client, f"{uri}-{number}"))["runs"][0])
    run["properties"] |= {"page": 1, "pages": 1}
    return json.dumps(log, indent=1, ensure_ascii=False) + "\n"


def _take_in(run: dict[str, Any], page: Mapping[str, Any]) -> None:
    """Add a page's results to a run, with the rules and weaknesses that only it describes."""
    rules = run["tool"]["driver"]["rules"]
    index = {rule["id"]: position for position, rule in enumerate(rules)}
    for rule in page["tool"]["driver"]["rules"]:
        if rule["id"] not in index:
            index[rule["id"]] = len(rules)
            rules.append(rule)
    run["results"] += [{**result, "ruleIndex": index[result["ruleId"]]} for result in page["results"]]
    for taxonomy, more in zip(run["taxonomies"], page["taxonomies"], strict=True):
        known = {taxon["id"] for taxon in taxonomy["taxa"]}
        taxonomy["taxa"] += [taxon for taxon in more["taxa"] if taxon["id"] not in known]


async def _markdown(client: Client, uri: str) -> str:
    """Return the pages one after the other, without the headings and pointers in between."""
    whole: list[str] = []
    number = 1
    more = True
    while more:
        lines = (await _read(client, uri if number == 1 else f"{uri}-{number}")).rstrip().splitlines()
        number += 1
        more = f"{uri}-{number}" in lines[-1]
        if more:
            lines.pop()
        start = 0 if not whole else next(at for at, line in enumerate(lines) if line.startswith("### "))
        whole += lines[start:]
    return "\n".join(whole) + "\n"


async def _read(client: Client, uri: str) -> str:
    contents = (await client.read_resource(uri)).contents
    return "".join(part.text for part in contents if isinstance(part, TextResourceContents))
