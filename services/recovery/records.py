"""Keeps drills' evidence: one file each, named by the drill, and the digest of what it holds."""

import hashlib
import os
import re
import tempfile
from pathlib import Path

import anyio.to_thread

from quantum_suite.core.errors import Damaged, NotFound
from quantum_suite.services.recovery.interface import DrillKind, DrillReport

_ID = re.compile(r"drill_[0-9a-z]{26}")
_KEPT = 1_000


class DrillRecords:
    """A folder of reports. The oldest go when there are very many; what is kept is never changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

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
        for path in sorted(self._folder.glob("drill_*.json"), reverse=True):
            report = self._read(path.stem)
            if report.request.kind == kind and report.owner == owner and report.rto_seconds is not None:
                found.append(report)
                if len(found) == limit:
                    break
        return found

    def _read(self, drill: str) -> DrillReport:
        try:
            if not _ID.fullmatch(drill):
                raise FileNotFoundError
            digest, _, content = (self._folder / f"{drill}.json").read_bytes().partition(b"\n")
        except FileNotFoundError:
            raise NotFound(f"There is no drill '{drill}'.", "run_drill's answer names its drill.") from None
        if hashlib.sha256(content).hexdigest().encode() != digest:
            raise Damaged(f"The evidence of drill {drill} was altered.", "Run the drill again.")
        return DrillReport.model_validate_json(content)

    def _write(self, report: DrillReport) -> str:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        content = _json(report)
        digest = hashlib.sha256(content).hexdigest()
        descriptor, name = tempfile.mkstemp(dir=self._folder, suffix=".new")
        with os.fdopen(descriptor, "wb") as file:
            file.write(digest.encode() + b"\n" + content)
            file.flush()
            os.fsync(descriptor)
        Path(name).replace(self._folder / f"{report.id}.json")
        for path in sorted(self._folder.glob("drill_*.json"), reverse=True)[_KEPT:]:
            path.unlink(missing_ok=True)
        return digest


def _json(report: DrillReport) -> bytes:
    return report.model_dump_json().encode()
