"""The store of scans in memory: for tests, and for a suite that should leave no trace."""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from quantum_suite.core.findings import Finding
from quantum_suite.core.scans import FileStamp, NotAssessed, ScanRecord, SeverityCounts
from quantum_suite.services.scans.interface import (
    EXAMPLES,
    KEEP_SCANS,
    AssessedFile,
    FindingPage,
    FindingQuery,
    ScanPart,
    ScanTally,
    UnassessedFile,
    scan_is_busy,
    scan_not_found,
)
from quantum_suite.services.scans.paging import cursor_after, read_cursor


class _Scan:
    def __init__(self, record: ScanRecord) -> None:
        self.record = record
        self.claimed = False
        self.files: dict[str, AssessedFile] = {}
        self.unassessed: dict[str, list[UnassessedFile]] = {}
        self.findings: dict[str, Finding] = {}
        self.seconds: Counter[str] = Counter()


class MemoryScanStore:
    """Holds scans for as long as the process lives."""

    def __init__(self) -> None:
        self._scans: dict[str, _Scan] = {}

    def _scan(self, scan_id: str) -> _Scan:
        try:
            return self._scans[scan_id]
        except KeyError:
            raise scan_not_found(scan_id) from None

    async def create(self, record: ScanRecord) -> None:
        self._scans[record.id] = _Scan(record)
        mine = sorted(
            (scan for scan in self._scans.values() if scan.record.owner == record.owner),
            key=lambda scan: scan.record.id,
        )
        for scan in mine[:-KEEP_SCANS]:
            if not scan.claimed:
                del self._scans[scan.record.id]

    @asynccontextmanager
    async def claim(self, scan_id: str) -> AsyncIterator[None]:
        scan = self._scan(scan_id)
        if scan.claimed:
            raise scan_is_busy(scan_id)
        scan.claimed = True
        try:
            yield
        finally:
            scan.claimed = False

    async def update(self, record: ScanRecord) -> None:
        self._scan(record.id).record = record

    async def save_part(self, scan_id: str, part: ScanPart) -> None:
        scan = self._scan(scan_id)
        paths = {file.stamp.path for file in part.files} | {file.path for file in part.unassessed}
        await self.forget_files(scan_id, list(paths))
        scan.files.update({file.stamp.path: file for file in part.files})
        for file in part.unassessed:
            scan.unassessed.setdefault(file.path, []).append(file)
        scan.findings.update({finding.fingerprint: finding for finding in part.findings})
        for engine, seconds in part.seconds.items():
            scan.seconds[engine] += seconds  # type: ignore[assignment]  # Counter is typed for integers only

    async def forget_files(self, scan_id: str, paths: Sequence[str]) -> None:
        scan = self._scan(scan_id)
        gone = set(paths)
        for path in gone:
            scan.files.pop(path, None)
            scan.unassessed.pop(path, None)
        scan.findings = {key: f for key, f in scan.findings.items() if f.location.path not in gone}

    async def stamps(self, scan_id: str) -> dict[str, FileStamp]:
        scan = self._scan(scan_id)
        again = {path for path, files in scan.unassessed.items() if any(file.retry for file in files)}
        return {path: file.stamp for path, file in scan.files.items() if path not in again}

    async def known_paths(self, scan_id: str) -> set[str]:
        scan = self._scan(scan_id)
        return scan.files.keys() | scan.unassessed.keys()

    async def tally(self, scan_id: str) -> ScanTally:
        scan = self._scan(scan_id)
        by_severity = Counter(f.severity.value for f in scan.findings.values() if not f.suppressed)
        by_engine = Counter(engine for file in scan.files.values() for engine in file.engines)
        groups: dict[tuple[str, str, str], list[str]] = defaultdict(list)
        for files in scan.unassessed.values():
            for file in files:
                groups[file.what, file.reason, file.command or ""].append(file.path)
        return ScanTally(
            files=len(scan.files),
            counts=SeverityCounts.model_validate(by_severity),
            suppressed=sum(f.suppressed for f in scan.findings.values()),
            files_by_engine=dict(by_engine),
            seconds_by_engine=dict(scan.seconds),
            not_assessed=tuple(
                NotAssessed(
                    what=what,
                    reason=reason,
                    count=len(paths),
                    examples=tuple(sorted(paths)[:EXAMPLES]),
                    command=command or None,
                )
                for (what, reason, command), paths in sorted(groups.items())
            ),
        )

    async def get(self, scan_id: str) -> ScanRecord:
        return _as_seen(self._scan(scan_id))

    async def latest(self, owner: str | None, limit: int) -> list[ScanRecord]:
        found = [_as_seen(scan) for scan in self._scans.values() if owner in (None, scan.record.owner)]
        return sorted(found, key=lambda record: record.id, reverse=True)[:limit]

    async def findings(
        self, scan_id: str, query: FindingQuery, *, cursor: str | None = None, limit: int = 100
    ) -> FindingPage:
        wanted = sorted(
            (finding for finding in self._scan(scan_id).findings.values() if query.matches(finding)),
            key=lambda finding: finding.sort_key,
        )
        start = read_cursor(cursor) if cursor else None
        rest = [finding for finding in wanted if start is None or finding.sort_key > start]
        page = tuple(rest[:limit])
        return FindingPage(page, len(wanted), cursor_after(page[-1]) if len(rest) > limit else None)

    async def scans_with(self, fingerprint: str, owner: str | None) -> list[str]:
        return [
            record.id
            for record in await self.latest(owner, len(self._scans))
            if fingerprint in self._scans[record.id].findings
        ]


def _as_seen(scan: _Scan) -> ScanRecord:
    if scan.record.state == "running" and not scan.claimed:
        return scan.record.model_copy(update={"state": "interrupted"})
    return scan.record
