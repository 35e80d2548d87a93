"""The resources: scans and findings, read under the caller's own rights."""

from collections.abc import Sequence
from typing import Any

from mcp.server.mcpserver import Context, MCPServer

from quantum_suite import __version__
from quantum_suite.core.errors import NotFound
from quantum_suite.core.findings import Finding
from quantum_suite.core.principals import Principal
from quantum_suite.core.scans import ScanRecord
from quantum_suite.resources.qsecure.markdown import finding_report, markdown_report
from quantum_suite.resources.qsecure.paging import MARKDOWN_PAGE, SARIF_PAGE, page_count
from quantum_suite.resources.qsecure.sarif import sarif_log
from quantum_suite.resources.qsecure.summary import scan_json, scans_json
from quantum_suite.servers.callers import principal_of, resource_errors
from quantum_suite.services.code_scanning.rule_book import RuleBook
from quantum_suite.services.scans.interface import MAX_PAGE, FindingQuery, ScanStore
from quantum_suite.tools.qsecure.explain_finding import explain_finding
from quantum_suite.tools.qsecure.open_scan import list_scans, open_scan

SCAN_TEMPLATES = (
    "quantum://qsecure/scans/{scan}",
    "quantum://qsecure/scans/{scan}/sarif",
    "quantum://qsecure/scans/{scan}/sarif-{page}",
    "quantum://qsecure/scans/{scan}/markdown",
    "quantum://qsecure/scans/{scan}/markdown-{page}",
)
FINDING_TEMPLATE = "quantum://qsecure/findings/{finding}"


def add_resources(server: MCPServer[Any], store: ScanStore, rules: RuleBook) -> None:
    """Register the resource templates on `server`."""

    @server.resource(
        SCAN_TEMPLATES[0],
        name="scan",
        title="A scan",
        description="What was scanned, counts, and what was not assessed. The id 'latest' lists your scans.",
        mime_type="application/json",
    )
    async def read_scan(scan: str, ctx: Context[Any, Any]) -> str:
        principal = principal_of(ctx)
        with resource_errors():
            if scan == "latest":
                return scans_json(await list_scans(store, principal))
            return scan_json(await open_scan(store, scan, principal))

    async def sarif(scan: str, page: str, principal: Principal) -> str:
        with resource_errors():
            record, findings, number, total = await _page(
                store, scan, page, SARIF_PAGE, principal, suppressed=None
            )
        pages = page_count(total, SARIF_PAGE)
        return sarif_log(record, findings, page=number, pages=pages, version=__version__)

    async def markdown(scan: str, page: str, principal: Principal) -> str:
        with resource_errors():
            record, findings, number, total = await _page(
                store, scan, page, MARKDOWN_PAGE, principal, suppressed=False
            )
        pages = page_count(total, MARKDOWN_PAGE)
        return markdown_report(record, findings, page=number, pages=pages, total=total)

    @server.resource(
        SCAN_TEMPLATES[1],
        name="scan_sarif",
        title="A scan in SARIF 2.1.0",
        description="The first page of the report for programs; properties.pages says how many there are.",
        mime_type="application/sarif+json",
    )
    async def read_sarif(scan: str, ctx: Context[Any, Any]) -> str:
        return await sarif(scan, "1", principal_of(ctx))

    @server.resource(
        SCAN_TEMPLATES[2],
        name="scan_sarif_page",
        title="A page of a scan in SARIF 2.1.0",
        description="Any page of the report for programs; each is a complete log.",
        mime_type="application/sarif+json",
    )
    async def read_sarif_page(scan: str, page: str, ctx: Context[Any, Any]) -> str:
        return await sarif(scan, page, principal_of(ctx))

    @server.resource(
        SCAN_TEMPLATES[3],
        name="scan_markdown",
        title="A scan in Markdown",
        description="The first page of the report for people.",
        mime_type="text/markdown",
    )
    async def read_markdown(scan: str, ctx: Context[Any, Any]) -> str:
        return await markdown(scan, "1", principal_of(ctx))

    @server.resource(
        SCAN_TEMPLATES[4],
        name="scan_markdown_page",
        title="A page of a scan in Markdown",
        description="Any page of the report for people.",
        mime_type="text/markdown",
    )
    async def read_markdown_page(scan: str, page: str, ctx: Context[Any, Any]) -> str:
        return await markdown(scan, page, principal_of(ctx))

    @server.resource(
        FINDING_TEMPLATE,
        name="finding",
        title="A finding",
        description="One finding with its background, named <scan>.<fingerprint> or by its fingerprint alone.",
        mime_type="text/markdown",
    )
    async def read_finding(finding: str, ctx: Context[Any, Any]) -> str:
        principal = principal_of(ctx)
        with resource_errors():
            found = await explain_finding(store, rules, finding, None, principal)
        return finding_report(found.finding, found.why, found.remediation, found.cwe_links, found.accuracy.summary)


async def _page(
    store: ScanStore, scan_id: str, page: str, size: int, principal: Principal, *, suppressed: bool | None
) -> tuple[ScanRecord, Sequence[Finding], int, int]:
    """Return a scan, the findings of one page, the page's number and how many findings there are in all."""
    record = await open_scan(store, scan_id, principal)
    number = int(page) if page.isascii() and page.isdigit() and len(page) < 7 else 0
    query = FindingQuery(suppressed=suppressed)
    cursor: str | None = None
    # Pages are found by walking: cursors keep each step an index look-up, whatever its number.
    for current in range(1, number + 1):
        found = await store.findings(record.id, query, cursor=cursor, limit=min(size, MAX_PAGE))
        if current == number:
            return record, found.findings, number, found.total
        cursor = found.next_cursor
        if cursor is None:
            break
    raise NotFound(f"Scan '{scan_id}' has no page '{page}'.", "Pages count from 1.", argument="page")
