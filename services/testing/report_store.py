"""Where reports of runs are kept: one folder a run, readable by its owner and administrators."""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from quantum_suite.core.errors import NotFound
from quantum_suite.core.ids import new_id
from quantum_suite.core.principals import Principal, Role

KEEP_RUNS = 100
"""Runs kept for each owner; the oldest go first."""
_ID = re.compile(r"run_[0-9a-z]{26}")
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
        self._directory = directory

    async def save(
        self, owner: Principal, kind: str, root: Path, summary: Mapping[str, Any], reports: Mapping[str, bytes]
    ) -> RunRecord:
        """Store a run, durably once this returns, and drop the owner's oldest beyond `KEEP_RUNS`."""
        record = RunRecord(
            new_id("run"),
            owner.id,
            kind,
            str(root),
            datetime.now(UTC).isoformat(),
            dict(summary),
            tuple(sorted(reports)),
        )
        await anyio.to_thread.run_sync(self._write, record, dict(reports))
        return record

    async def get(self, run: str, reader: Principal) -> RunRecord:
        """Return a run; raises NotFound for one that is not there, or not the reader's to see."""
        record = await anyio.to_thread.run_sync(self._read, run) if _ID.fullmatch(run) else None
        if record is None or not _may_see(reader, record):
            raise _not_found(run)
        return record

    async def report(self, run: str, view: str, reader: Principal) -> bytes:
        """Return a report; raises NotFound."""
        record = await self.get(run, reader)
        if not _VIEW.fullmatch(view) or view not in record.views:
            there = ", ".join(record.views) or "none"
            raise NotFound(f"Run '{run}' has no report '{view}'.", f"It has {there}.", argument="uri")
        return await anyio.to_thread.run_sync((self._directory / run / view).read_bytes)

    async def latest(self, reader: Principal, limit: int = 20) -> list[RunRecord]:
        """Return the newest runs the reader may see, newest first."""

        def read() -> list[RunRecord]:
            found = (self._read(name) for name in sorted(self._names(), reverse=True))
            mine = [record for record in found if record is not None and _may_see(reader, record)]
            return mine[:limit]

        return await anyio.to_thread.run_sync(read)

    def _names(self) -> list[str]:
        if not self._directory.is_dir():
            return []
        return [path.name for path in self._directory.iterdir() if _ID.fullmatch(path.name)]

    def _write(self, record: RunRecord, reports: dict[str, bytes]) -> None:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        staged = Path(tempfile.mkdtemp(prefix=".new-", dir=self._directory))
        try:
            for view, content in reports.items():
                _write_durably(staged / view, content)
            told = {**{name: getattr(record, name) for name in RunRecord.__slots__}, "views": list(record.views)}
            _write_durably(staged / "run.json", json.dumps(told, default=str).encode())
            staged.rename(self._directory / record.id)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
        mine = [r for r in (self._read(name) for name in sorted(self._names())) if r and r.owner == record.owner]
        for old in mine[:-KEEP_RUNS]:
            shutil.rmtree(self._directory / old.id, ignore_errors=True)

    def _read(self, run: str) -> RunRecord | None:
        try:
            told = json.loads((self._directory / run / "run.json").read_bytes())
        except (OSError, ValueError):
            return None
        return RunRecord(**{**told, "views": tuple(told["views"])})


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _may_see(reader: Principal, record: RunRecord) -> bool:
    return record.owner == reader.id or Role.ADMIN in reader.roles


def _not_found(run: str) -> NotFound:
    return NotFound(
        f"There is no run '{run}'.", "Take an id from a tool's answer; old runs are dropped.", argument="uri"
    )
