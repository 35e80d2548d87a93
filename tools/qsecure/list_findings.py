"""Finds findings of a stored scan."""

from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.findings import Finding
from quantum_suite.core.principals import Principal
from quantum_suite.services.scans.interface import FindingQuery, ScanStore
from quantum_suite.tools.qsecure.open_scan import open_scan, scan_id_of


class FindingList(BaseModel):
    """A page of findings, worst first."""

    model_config = ConfigDict(frozen=True)

    scan: str = Field(description="The scan they belong to.")
    findings: tuple[Finding, ...] = Field(description="This page.")
    total: int = Field(description="How many match, over all pages.")
    next_cursor: str | None = Field(
        default=None, description="Pass it as cursor for the next page; absent on the last."
    )


async def list_findings(
    store: ScanStore, scan: str, principal: Principal, query: FindingQuery, cursor: str | None, limit: int
) -> FindingList:
    """Return a page of the findings that match `query`, worst first; raises NotFound and CallerError.

    `scan` is an id or `latest`; the answer names the scan.
    """
    scan_id = await scan_id_of(store, scan, principal)
    await open_scan(store, scan_id, principal)
    page = await store.findings(scan_id, query, cursor=cursor, limit=limit)
    return FindingList(scan=scan_id, findings=page.findings, total=page.total, next_cursor=page.next_cursor)
