"""Where reports of runs are kept: one folder a run, readable by its owner and administrators."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from quantum_suite.core.errors import NotFound
from quantum_suite.core.principals import Principal
from quantum_suite.services.records.folder_records import FolderRecords, RecordKind

KEEP_RUNS = 100
"""Runs kept for each owner; the oldest go first."""
_VIEW = re.compile(r"[a-z][a-z0-9-]{0,30}")


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What is kept of a run beside its reports."""

    id: str
    owner: str
    kind: str
    """`tests`, `coverage` or `mutation`."""
    root: str
    stored_at: str
    summary: dict[str, Any]
    views: tuple[str, ...]


class ReportStore:
    """Keeps runs and their reports in files. A run is stored whole or not at all."""

    def __init__(self, directory: Path) -> None:
        kind = RecordKind(
            "run",
            noun="run",
            named_in="a tool's answer",
            record_file="run.json",
            keep=KEEP_RUNS,
            load=lambda told: RunRecord(**{**told, "views": tuple(told["views"])}),
        )
        self._records = FolderRecords(directory, kind)

    async def save(
        self, owner: Principal, kind: str, root: Path, summary: Mapping[str, Any], reports: Mapping[str, bytes]
    ) -> RunRecord:
        """Store a run, durably once this returns, and drop the owner's oldest beyond `KEEP_RUNS`."""
        record = RunRecord(
            self._records.new_id(),
            owner.id,
            kind,
            str(root),
            datetime.now(UTC).isoformat(),
            dict(summary),
            tuple(sorted(reports)),
        )
        await self._records.save(record, tuple(reports.items()))
        return record

    async def get(self, run: str, reader: Principal) -> RunRecord:
        """Return a run; raises NotFound for one that is not there, or not the reader's to see."""
        return await self._records.get(run, reader)

    async def report(self, run: str, view: str, reader: Principal) -> bytes:
        """Return a report; raises NotFound."""
        record = await self.get(run, reader)
        if not _VIEW.fullmatch(view) or view not in record.views:
            there = ", ".join(record.views) or "none"
            raise NotFound(f"Run '{run}' has no report '{view}'.", f"It has {there}.", argument="uri")
        return await self._records.file(record, view)

    async def latest(self, reader: Principal, limit: int = 20) -> list[RunRecord]:
        """Return the newest runs the reader may see, newest first."""
        return await self._records.latest(reader, limit)
