"""Keeps drills' evidence: one file each, named by the drill, and the digest of what it holds."""

import hashlib
from pathlib import Path

import anyio.to_thread

from quantum_suite.core.errors import Damaged, NotFound
from quantum_suite.services.records.file_records import FileRecords
from quantum_suite.services.recovery.interface import DrillKind, DrillReport

_KEPT = 1_000


class DrillRecords:
    """A folder of reports. The oldest go when there are very many; what is kept is never changed."""

    def __init__(self, folder: Path) -> None:
        self._files = FileRecords(folder, "drill", _KEPT)

    async def keep(self, report: DrillReport) -> str:
        """Keep a report, on the disk when this returns; returns the SHA-256 of its JSON."""
        return await anyio.to_thread.run_sync(self._write, report)

    async def get(self, drill: str) -> DrillReport:
        """Return a report; raises NotFound, and Damaged for one that is not as it was kept."""
        return await anyio.to_thread.run_sync(self._read, drill)

    async def digest(self, drill: str) -> str:
        """Return the SHA-256 of a report's JSON."""
        return hashlib.sha256(_json(await self.get(drill))).hexdigest()

    async def past(self, kind: DrillKind, owner: str, limit: int = 50) -> list[DrillReport]:
        """Return the last drills of a kind that somebody ran to their end, newest first."""
        return await anyio.to_thread.run_sync(self._past, kind, owner, limit)

    def _past(self, kind: DrillKind, owner: str, limit: int) -> list[DrillReport]:
        found = []
        for drill in self._files.newest():
            report = self._read(drill)
            if report.request.kind == kind and report.owner == owner and report.rto_seconds is not None:
                found.append(report)
                if len(found) == limit:
                    break
        return found

    def _read(self, drill: str) -> DrillReport:
        try:
            digest, _, content = self._files.read(drill).partition(b"\n")
        except FileNotFoundError:
            raise NotFound(f"There is no drill '{drill}'.", "run_drill's answer names its drill.") from None
        if hashlib.sha256(content).hexdigest().encode() != digest:
            raise Damaged(f"The evidence of drill {drill} was altered.", "Run the drill again.")
        return DrillReport.model_validate_json(content)

    def _write(self, report: DrillReport) -> str:
        content = _json(report)
        digest = hashlib.sha256(content).hexdigest()
        self._files.write(report.id, digest.encode() + b"\n" + content)
        return digest


def _json(report: DrillReport) -> bytes:
    return report.model_dump_json().encode()
