"""A report that is read page by page ends up whole in one file."""

import json
from pathlib import Path

import jsonschema
import pytest
from mcp.client.client import Client
from mcp.server.mcpserver import MCPServer
from mcp.types import CallToolResult, ResourceLink

from quantum_suite.core.errors import CallerError, SuiteError
from quantum_suite.core.findings import Confidence, Finding, Location, Severity
from quantum_suite.core.scans import ScanRecord, ScanRequest
from quantum_suite.hub.cli.saving import save_report
from quantum_suite.resources.qsecure.markdown import markdown_report
from quantum_suite.resources.qsecure.sarif import sarif_log

pytestmark = pytest.mark.anyio
PAGES = 3
SCHEMA = json.loads((Path(__file__).parents[3] / "data" / "sarif-2.1.0.json").read_text("utf-8"))
BASE = "quantum://qsecure/scans/scan_1"
RECORD = ScanRecord.model_validate(
    {
        "id": "scan_1",
        "owner": "local",
        "request": ScanRequest(root="/shop", scanners=("python",)),
        "base": "/shop",
        "state": "completed",
        "started_at": "2026-01-02T03:04:05Z",
    }
)
LINKS = CallToolResult(
    content=[
        ResourceLink(uri=f"{BASE}/markdown", name="m", mime_type="text/markdown"),
        ResourceLink(uri=f"{BASE}/sarif", name="s", mime_type="application/sarif+json"),
    ]
)


def finding(number: int) -> Finding:
    return Finding(
        fingerprint=f"{number:032x}",
        rule_id=f"S{number}",
        cwe=(number or 78,),
        kind="code",
        family="S",
        engines=("ruff",),
        title=f"Title {number}",
        message="found",
        severity=Severity.LOW,
        confidence=Confidence.LOW,
        location=Location(path="a.py"),
        snippet="### no heading",
    )


def server() -> MCPServer[None]:
    """Serves the suite's own reports, in pages of one or two findings."""
    pages = MCPServer[None]("pages")

    def markdown(page: str) -> str:
        return markdown_report(RECORD, [finding(int(page))], page=int(page), pages=PAGES, total=PAGES)

    def sarif(page: str) -> str:
        # One rule of its own to each page, and one that all of them know.
        found = [finding(int(page)), finding(0)]
        return sarif_log(RECORD, found, page=int(page), pages=PAGES, version="1")

    pages.resource(f"{BASE}/markdown", name="markdown")(lambda: markdown("1"))
    pages.resource(f"{BASE}/sarif", name="sarif")(lambda: sarif("1"))
    pages.resource(f"{BASE}/markdown-{{page}}")(markdown)
    pages.resource(f"{BASE}/sarif-{{page}}")(sarif)
    return pages


async def test_markdown_pages_become_one_report(tmp_path: Path) -> None:
    async with Client(server()) as client:
        await save_report(client, LINKS, tmp_path / "report.md")
    text = (tmp_path / "report.md").read_text()
    assert [text.count(f"### low: Title {number}\n") for number in range(1, PAGES + 1)] == [1, 1, 1]
    assert text.count("# Security scan of") == 1
    assert "The next page" not in text


@pytest.mark.parametrize("name", ["report.sarif", "report.JSON"])
async def test_sarif_pages_become_one_run(tmp_path: Path, name: str) -> None:
    async with Client(server()) as client:
        await save_report(client, LINKS, tmp_path / name)
    log = json.loads((tmp_path / name).read_text())
    jsonschema.validate(log, SCHEMA)
    (run,) = log["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert rules == ["S0", "S1", "S2", "S3"]
    assert [rules[result["ruleIndex"]] for result in run["results"]] == ["S1", "S0", "S2", "S0", "S3", "S0"]
    assert [taxon["id"] for taxon in run["taxonomies"][0]["taxa"]] == ["1", "78", "2", "3"]
    assert run["properties"] == {"page": 1, "pages": 1}


async def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    async with Client(server()) as client:
        with pytest.raises(CallerError, match="cannot be written"):
            await save_report(client, LINKS, tmp_path)


async def test_an_answer_without_a_report_is_said_so(tmp_path: Path) -> None:
    async with Client(server()) as client:
        with pytest.raises(SuiteError, match="links to no report"):
            await save_report(client, CallToolResult(content=[]), tmp_path / "report.md")
