"""Gives a caller a scan it may see."""

from quantum_suite.core.principals import Principal
from quantum_suite.core.scans import NotAssessed, ScanRecord
from quantum_suite.services.scans.interface import ScanStore, may_see, scan_not_found, sees_all

LISTED_SCANS = 20
"""How many scans are listed and offered as completions."""


async def open_scan(store: ScanStore, scan_id: str, principal: Principal) -> ScanRecord:
    """Return a scan; an unfinished one with what is known so far.

    Raises NotFound for a scan that does not exist and for one of somebody else's, in the same words.
    """
    record = await store.get(scan_id)
    if not may_see(principal, record):
        raise scan_not_found(scan_id)
    if record.state == "completed":
        return record
    tally = await store.tally(scan_id)
    rest = record.files_total - tally.files
    reason = "the scan is still running"
    if record.state == "interrupted":
        reason = f"the scan was interrupted: call scan_repository again with resume='{scan_id}' to finish it"
    missing = NotAssessed(what="Files the scan has not reached", reason=reason, count=rest)
    return record.model_copy(
        update={
            "files_done": tally.files,
            "counts": tally.counts,
            "suppressed": tally.suppressed,
            "not_assessed": (missing, *tally.not_assessed),
        }
    )


async def list_scans(store: ScanStore, principal: Principal, limit: int = LISTED_SCANS) -> list[ScanRecord]:
    """Return the newest scans `principal` may see, newest first, as they were last stored."""
    return await store.latest(None if sees_all(principal) else principal.id, limit)
