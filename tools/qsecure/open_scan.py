"""Gives a caller a scan it may see."""

from quantum_suite.core.errors import NotFound
from quantum_suite.core.principals import Principal
from quantum_suite.core.scans import NotAssessed, ScanRecord
from quantum_suite.services.scans.interface import KEEP_SCANS, ScanStore, may_see, scan_not_found, sees_all

LISTED_SCANS = 20
"""How many scans are listed and offered as completions."""

NEWEST = "latest"
"""Stands for the caller's own newest finished scan wherever a scan's id is taken."""


async def scan_id_of(store: ScanStore, scan: str, principal: Principal) -> str:
    """Return the id of the scan meant by `scan`, an id or `latest`; ids are not looked up.

    Raises NotFound when the caller has finished no scan. An administrator's `latest` is their own, too.
    """
    if scan != NEWEST:
        return scan
    for record in await store.latest(principal.id, KEEP_SCANS):
        if record.state == "completed":
            return record.id
    raise NotFound(
        "You have no finished scan.", "Call scan_repository first, or give a scan's id.", argument="scan"
    )


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
