"""Scans a workspace with every engine at hand, part by part, and stores what was found."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import anyio
import anyio.to_thread

from quantum_suite.core.engines import EngineStatus
from quantum_suite.core.errors import CallerError, NotFound
from quantum_suite.core.events import EventData, NewEvent
from quantum_suite.core.findings import Finding
from quantum_suite.core.ids import new_id
from quantum_suite.core.principals import Principal
from quantum_suite.core.scan_events import ScanCompleted, ScanResumed, ScanStarted, scan_stream
from quantum_suite.core.scans import SCANNERS, EngineRun, NotAssessed, ScanRecord, ScanRequest
from quantum_suite.services.capacity.interface import Capacity
from quantum_suite.services.code_scanning.interface import Engine, EngineReport, EngineRequest
from quantum_suite.services.events.interface import ANY_VERSION, EventStore
from quantum_suite.services.scans.interface import (
    AssessedFile,
    ScanPart,
    ScanStore,
    ScanTally,
    may_see,
    scan_not_found,
)
from quantum_suite.tools.qsecure.merge_findings import merge_findings
from quantum_suite.tools.qsecure.partition_files import files_to_do, partition_files
from quantum_suite.tools.qsecure.run_engine import SCANNER_NAMES, ExtraRuns, run_engine
from quantum_suite.tools.qsecure.select_files import ScanLimits, SelectedFile, Selection, select_files
from quantum_suite.tools.qsecure.stage_files import StagedPart, stage_files

Progress = Callable[[int, int, str], Awaitable[None]]
"""Takes files done, files in total, and what is going on."""

_NO_ADVISORIES = NotAssessed(
    what="Known vulnerabilities in dependencies",
    reason="no advisory database is consulted by this scan; nothing is said about the versions in use",
)
_NO_DATA_FLOW = NotAssessed(
    what="Data flow in Python",
    reason="the rules look at single statements. On OWASP BenchmarkPython they found no path traversal, "
    "cross-site scripting, open redirect, LDAP or XPath injection",
)


@dataclass(frozen=True, slots=True)
class RepositoryScanner:
    """What a scan needs. One object serves every call."""

    engines: Sequence[Engine]
    store: ScanStore
    work_dir: Path
    """Where parts are staged; emptied after each. Only this user can read it."""
    capacity: Capacity
    """Where a part waits for its turn on this machine."""
    events: EventStore
    """Told of each scan's start, resumption and end, before the scan's own record says so."""
    limits: ScanLimits = field(default_factory=ScanLimits)

    async def scan(
        self,
        request: ScanRequest,
        principal: Principal,
        progress: Progress,
        resume: str | None = None,
        *,
        correlation_id: str | None = None,
    ) -> ScanRecord:
        """Scan, or continue the scan `resume`, and return what is known at the end.

        `request.root` was checked against the caller's workspaces. Parts already stored are not scanned again
        unless one of their files changed. An engine that fails or is missing costs only its own findings, and only
        in the files it fails on; the record says so. Cancelled, the scan stays as it is, `interrupted`, and its
        processes are ended. `correlation_id` is the call or the workflow run it is made for; its events carry it.

        Raises CallerError.
        """
        selection = await anyio.to_thread.run_sync(select_files, Path(request.root), request.paths, self.limits)
        statuses = {engine.name: await anyio.to_thread.run_sync(engine.status) for engine in self.engines}
        record = await self._open(request, principal, resume, selection)
        async with self.store.claim(record.id):
            ready = [engine for engine in self.engines if self._takes_part(engine, request, statuses)]
            todo = await self._todo(record, selection, ready)
            record = record.model_copy(
                update={
                    "state": "running",
                    "finished_at": None,
                    "files_total": len(selection.files),
                    "engines": tuple(EngineRun(name=e.name, version=statuses[e.name].version) for e in ready),
                }
            )
            begun = _begun(record, resume is not None, len(todo))
            await self._tell(record, begun, correlation_id)
            await self.store.update(record)
            async with self._staging_area(record.id) as area:
                await self._scan_parts(record, selection, todo, ready, area, progress)
            return await self._finish(record, selection, statuses, correlation_id)

    async def _open(
        self, request: ScanRequest, principal: Principal, resume: str | None, selection: Selection
    ) -> ScanRecord:
        if resume is not None:
            return await self._reopen(request, principal, resume)
        record = ScanRecord(
            id=new_id("scan"),
            owner=principal.id,
            request=request,
            base=str(selection.base),
            state="running",
            started_at=datetime.now(UTC),
            files_total=len(selection.files),
        )
        await self.store.create(record)
        return record

    async def _reopen(self, request: ScanRequest, principal: Principal, resume: str) -> ScanRecord:
        try:
            record = await self.store.get(resume)
        except NotFound:
            raise scan_not_found(resume, "resume") from None
        if not may_see(principal, record):
            raise scan_not_found(resume, "resume")
        if record.request != request:
            was = record.request
            raise CallerError(
                f"Scan '{resume}' was asked for with path '{was.root}', scanners {list(was.scanners)} and paths "
                f"{list(was.paths)}; a scan can only be continued with the same.",
                "Repeat those arguments, or leave resume out to start a new scan.",
                argument="resume",
            )
        return record

    def _takes_part(self, engine: Engine, request: ScanRequest, statuses: Mapping[str, EngineStatus]) -> bool:
        return not engine.scanners.isdisjoint(request.scanners) and statuses[engine.name].available

    async def _todo(self, record: ScanRecord, selection: Selection, ready: Sequence[Engine]) -> list[SelectedFile]:
        """Return the files that still have to be scanned, and drop what is known of those that changed or went."""
        stamps = await self.store.stamps(record.id)
        if {run.name for run in record.engines} != {engine.name for engine in ready}:
            stamps = {}
        done = [(stamp.path, stamp.size, stamp.modified_ns) for stamp in stamps.values()]
        todo = files_to_do(selection.files, done)
        kept = {file.stamp.path for file in selection.files} - {file.stamp.path for file in todo}
        stale = await self.store.known_paths(record.id) - kept
        if stale:
            await self.store.forget_files(record.id, sorted(stale))
        return todo

    @asynccontextmanager
    async def _staging_area(self, scan_id: str) -> AsyncIterator[Path]:
        area = self.work_dir / scan_id
        await self._sweep(scan_id)
        await anyio.to_thread.run_sync(lambda: area.mkdir(mode=0o700))
        try:
            yield area
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(_remove, area)

    async def _sweep(self, scan_id: str) -> None:
        """Delete the copies that killed scans left behind, those of `scan_id` too."""
        self.work_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        for area in self.work_dir.iterdir():
            try:
                if (await self.store.get(area.name)).state == "running" and area.name != scan_id:
                    continue
            except NotFound:
                pass
            await anyio.to_thread.run_sync(_remove, area)

    async def _scan_parts(
        self,
        record: ScanRecord,
        selection: Selection,
        todo: list[SelectedFile],
        engines: Sequence[Engine],
        area: Path,
        progress: Progress,
    ) -> None:
        total = len(selection.files)
        done = total - len(todo)
        names = " and ".join(engine.name for engine in engines) or "no engine"
        await progress(done, total, f"{total} files to scan with {names}" if not done else f"{done} files kept")
        most = self.limits
        extra = {engine.name: ExtraRuns(most.engine_extra_runs, most.engine_extra_seconds) for engine in engines}

        async def waiting(words: str) -> None:
            await progress(done, total, words)

        for files in partition_files(todo, self.limits):
            # A place a part: scans that are under way together take turns.
            async with self.capacity.place("a scan", waiting):
                part = await self._scan_part(record.request, selection.base, files, engines, extra, area)
            await self.store.save_part(record.id, part)
            done += len(files)
            await progress(done, total, f"{done} of {total} files scanned, {files[-1].stamp.path} the last")

    async def _scan_part(
        self,
        request: ScanRequest,
        base: Path,
        files: list[SelectedFile],
        engines: Sequence[Engine],
        extra: Mapping[str, ExtraRuns],
        area: Path,
    ) -> ScanPart:
        directory = Path(tempfile.mkdtemp(dir=area))
        try:
            root = directory / "files"
            root.mkdir()
            staged = await anyio.to_thread.run_sync(
                lambda: stage_files(base, files, root, self.limits, python_wanted="python" in request.scanners)
            )
            outcomes = await self._run_engines(request, staged, engines, extra, directory)
            return await anyio.to_thread.run_sync(_assemble, files, staged, outcomes)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(_remove, directory)

    async def _run_engines(
        self,
        request: ScanRequest,
        staged: StagedPart,
        engines: Sequence[Engine],
        extra: Mapping[str, ExtraRuns],
        directory: Path,
    ) -> dict[str, "_Outcome"]:
        outcomes: dict[str, _Outcome] = {}
        scanners = frozenset(request.scanners)

        async def run(engine: Engine) -> None:
            scratch = directory / engine.name
            scratch.mkdir()
            started = monotonic()
            report = await run_engine(
                engine,
                EngineRequest(
                    root=staged.root,
                    files=staged.files,
                    scanners=scanners & engine.scanners,
                    scratch=scratch,
                    timeout_seconds=self.limits.engine_timeout_seconds,
                    max_output_bytes=self.limits.engine_output_bytes,
                ),
                extra[engine.name],
            )
            outcomes[engine.name] = _Outcome(report, monotonic() - started)

        async with anyio.create_task_group() as group:
            for engine in engines:
                if any(engine.wants(file, scanners) for file in staged.files):
                    group.start_soon(run, engine)
        return outcomes

    async def _finish(
        self,
        record: ScanRecord,
        selection: Selection,
        statuses: Mapping[str, EngineStatus],
        correlation_id: str | None,
    ) -> ScanRecord:
        tally = await self.store.tally(record.id)
        finished = record.model_copy(
            update={
                "state": "completed",
                "finished_at": datetime.now(UTC),
                "files_done": tally.files,
                "counts": tally.counts,
                "suppressed": tally.suppressed,
                "engines": tuple(_with_sums(run, tally) for run in record.engines),
                "not_assessed": (
                    *self._missing(record.request, statuses),
                    _NO_ADVISORIES,
                    *([_NO_DATA_FLOW] if "python" in record.request.scanners else []),
                    *_not_asked(record.request),
                    *selection.left_out,
                    *tally.not_assessed,
                ),
            }
        )
        await self._tell(finished, _completed(finished), correlation_id)
        await self.store.update(finished)
        return finished

    async def _tell(self, record: ScanRecord, data: EventData, correlation_id: str | None) -> None:
        event = NewEvent(data, principal=record.owner, correlation_id=correlation_id)
        await self.events.append(scan_stream(record.id), ANY_VERSION, [event])

    def _missing(self, request: ScanRequest, statuses: Mapping[str, EngineStatus]) -> list[NotAssessed]:
        """Name what nobody looked for because an engine cannot be used."""
        return [
            NotAssessed(
                what=" and ".join(SCANNER_NAMES[s] for s in request.scanners if s in engine.scanners),
                reason=f"{status.problem or f'{engine.name} cannot be used'}",
                command=status.install_command,
            )
            for engine in self.engines
            if not (status := statuses[engine.name]).available and not engine.scanners.isdisjoint(request.scanners)
        ]


def _begun(record: ScanRecord, resumed: bool, files_left: int) -> EventData:
    if resumed:
        return ScanResumed(scan=record.id, files_left=files_left)
    asked = record.request
    return ScanStarted(scan=record.id, root=asked.root, scanners=asked.scanners, files=record.files_total)


def _completed(record: ScanRecord) -> ScanCompleted:
    finished_at = record.finished_at or record.started_at
    return ScanCompleted(
        scan=record.id,
        root=record.request.root,
        counts=record.counts,
        suppressed=record.suppressed,
        files=record.files_done,
        engines=tuple(run.name for run in record.engines),
        not_assessed=len(record.not_assessed),
        seconds=round((finished_at - record.started_at).total_seconds(), 3),
    )


@dataclass(frozen=True, slots=True)
class _Outcome:
    report: EngineReport
    seconds: float


def _assemble(files: Sequence[SelectedFile], staged: StagedPart, outcomes: Mapping[str, _Outcome]) -> ScanPart:
    findings: list[Finding] = merge_findings(
        (raw for outcome in outcomes.values() for raw in outcome.report.findings), staged
    )
    staged_of = {file.path: file.staged for file in staged.files}
    return ScanPart(
        files=[
            AssessedFile(
                file.stamp,
                tuple(
                    name
                    for name, outcome in outcomes.items()
                    if staged_of.get(file.stamp.path) in outcome.report.assessed
                ),
            )
            for file in files
        ],
        findings=findings,
        unassessed=[*staged.unassessed, *(row for o in outcomes.values() for row in o.report.unassessed)],
        seconds={name: outcome.seconds for name, outcome in outcomes.items()},
    )


def _with_sums(run: EngineRun, tally: ScanTally) -> EngineRun:
    return run.model_copy(
        update={
            "files_assessed": tally.files_by_engine.get(run.name, 0),
            "seconds": round(tally.seconds_by_engine.get(run.name, 0.0), 3),
        }
    )


def _not_asked(request: ScanRequest) -> list[NotAssessed]:
    return [
        NotAssessed(what=SCANNER_NAMES[scanner], reason=f"scanners did not ask for it ('{scanner}')")
        for scanner in SCANNERS
        if scanner not in request.scanners
    ]


def _remove(path: Path) -> None:
    """Delete a directory. Files in it were made by the suite; engines may have set odd modes on theirs."""
    shutil.rmtree(path, ignore_errors=True)
