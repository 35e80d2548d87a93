"""Runs one engine on a part of a scan, and where it fails, on ever smaller pieces of that part.

An engine that prints more than it may, crashes or takes too long because of some files would otherwise cost what
it finds in all the others. What fails alone in the end is named with the reason.
"""

import logging
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path, PurePosixPath
from time import monotonic

import anyio
import anyio.from_thread
import anyio.to_thread

from quantum_suite.core.errors import EngineError, EngineMissing
from quantum_suite.core.scans import SCANNERS, Scanner
from quantum_suite.services.code_scanning.interface import (
    Engine,
    EngineReport,
    EngineRequest,
    RawFinding,
    StagedFile,
)
from quantum_suite.services.code_scanning.mask_snippets import mask_prose
from quantum_suite.services.scans.interface import UnassessedFile

SCANNER_NAMES: dict[Scanner, str] = {
    "secrets": "Credentials in files",
    "misconfiguration": "Infrastructure settings",
    "python": "Security rules on Python source",
}
"""What each scanner looks for, in the words of the reports."""

_LOG = logging.getLogger(__name__)
_PRINTED_CHARACTERS = 400
# Loading an engine's rules takes seconds on a busy machine, however few the files.
_SHORTEST_TIMEOUT_SECONDS = 30.0
_NOT_NARROWED = (
    "It failed on these files together; they were not tried in smaller groups, as this scan has spent what it may "
    "on that"
)
_APART = UnassessedFile(
    path="",
    what="References between infrastructure settings",
    reason="the engine failed on these files together, so they were checked in smaller groups: modules, charts "
    "and values were not followed from one group to another",
)


@dataclass(slots=True)
class ExtraRuns:
    """What one engine may still spend in a scan on the pieces of parts it failed on."""

    runs: int
    seconds: float

    @property
    def left(self) -> bool:
        """Whether another run may start."""
        return self.runs > 0 and self.seconds > 0


@dataclass(frozen=True, slots=True)
class _Failure:
    reason: str
    command: str | None
    can_narrow: bool
    """Whether fewer files could make a difference."""


async def run_engine(engine: Engine, request: EngineRequest, extra: ExtraRuns) -> EngineReport:
    """Return what `engine` found in the files it wants; never raises for a failure of the engine.

    A part it fails on is cut in two, between directories while there are several, and each piece is scanned by
    itself, level by level, until `extra` is spent; pieces get a share of the part's time. What is left are rows
    that the next run of the scan tries again. Pieces are put beside `request.scratch` while they are scanned.
    """
    first = await _attempt(engine, request)
    if isinstance(first, EngineReport):
        return first
    files = [file for file in request.files if engine.wants(file, request.scanners)]
    pieces: list[tuple[Sequence[StagedFile], EngineReport]] = []
    waiting = deque([(files, first)])
    while waiting:
        piece, failure = waiting.popleft()
        if len(piece) < 2 or not failure.can_narrow:
            pieces.append((piece, _failed(piece, request, failure)))
            continue
        for half in halve_files(piece):
            if not extra.left:
                reason = f"{failure.reason.rstrip('.')}. {_NOT_NARROWED}"
                pieces.append((half, _failed(half, request, replace(failure, reason=reason))))
                continue
            outcome = await _attempt_piece(engine, request, half, len(half) / len(files), extra)
            if isinstance(outcome, EngineReport):
                pieces.append((half, outcome))
            else:
                waiting.append((half, outcome))
    return _joined(pieces, request)


def halve_files(files: Sequence[StagedFile]) -> tuple[list[StagedFile], list[StagedFile]]:
    """Cut two files or more in two, neither empty, as evenly as whole directories allow.

    A directory is cut only when nothing lies beside it, and then into its own files and the directories in it:
    modules and charts stay whole for as long as possible.
    """
    ordered = sorted(files, key=lambda file: PurePosixPath(file.staged).parts)
    parents = [PurePosixPath(file.staged).parts[:-1] for file in ordered]
    shared = len(PurePosixPath(os.path.commonpath(["/".join(parent) for parent in parents])).parts)
    own = [file for file, parent in zip(ordered, parents, strict=True) if len(parent) == shared]
    below = [file for file, parent in zip(ordered, parents, strict=True) if len(parent) > shared]
    groups = [own] if own else []
    groups += [list(group) for _, group in groupby(below, lambda file: PurePosixPath(file.staged).parts[shared])]
    if len(groups) == 1:
        groups = [[file] for file in ordered]
    ends = [sum(len(group) for group in groups[:count]) for count in range(1, len(groups))]
    flat = [file for group in groups for file in group]
    cut = min(ends, key=lambda end: abs(2 * end - len(flat)))
    return flat[:cut], flat[cut:]


async def _attempt(engine: Engine, request: EngineRequest) -> EngineReport | _Failure:
    try:
        return await engine.scan(request)
    except EngineError as error:
        missing = isinstance(error, EngineMissing)
        printed = mask_prose(error.printed.strip())[-_PRINTED_CHARACTERS:]
        reason = error.message.rstrip(".") + (f". It printed: {printed}" if printed else "")
        if error.hint and not missing:
            reason = f"{reason}. {error.hint}"
        return _Failure(reason, error.hint if missing else None, can_narrow=not missing)
    except Exception as error:
        # A fault of the adapter. Its text may quote the scanned file, so only its kind is logged.
        _LOG.error("Engine %s: the adapter failed with %s", engine.name, type(error).__name__)
        reason = f"{engine.name} printed something unexpected ({type(error).__name__}). Please report this"
        return _Failure(reason, None, can_narrow=True)


async def _attempt_piece(
    engine: Engine, request: EngineRequest, files: Sequence[StagedFile], share: float, extra: ExtraRuns
) -> EngineReport | _Failure:
    """Run the engine on some files of a part alone: in a directory that holds nothing else."""
    fair = max(request.timeout_seconds * share, _SHORTEST_TIMEOUT_SECONDS)
    timeout = min(fair, request.timeout_seconds, extra.seconds)
    area = Path(tempfile.mkdtemp(dir=request.scratch.parent, prefix=f"{engine.name}-"))
    started = monotonic()
    try:
        root, scratch = area / "files", area / "scratch"
        await anyio.to_thread.run_sync(_link_files, request.root, files, root)
        scratch.mkdir()
        piece = replace(request, root=root, files=files, scratch=scratch, timeout_seconds=timeout)
        return await _attempt(engine, piece)
    finally:
        extra.runs -= 1
        extra.seconds -= monotonic() - started
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(lambda: shutil.rmtree(area, ignore_errors=True))


def _link_files(source: Path, files: Sequence[StagedFile], target: Path) -> None:
    target.mkdir()
    for file in files:
        anyio.from_thread.check_cancelled()
        link = target / file.staged
        link.parent.mkdir(parents=True, exist_ok=True)
        try:
            link.hardlink_to(source / file.staged)
        except OSError:
            # A file system without hard links.
            shutil.copyfile(source / file.staged, link)


def _failed(files: Sequence[StagedFile], request: EngineRequest, failure: _Failure) -> EngineReport:
    what = " and ".join(SCANNER_NAMES[scanner] for scanner in SCANNERS if scanner in request.scanners)
    rows = [UnassessedFile(file.path, what, failure.reason, failure.command, retry=True) for file in files]
    return EngineReport((), frozenset(), rows)


def _joined(pieces: Sequence[tuple[Sequence[StagedFile], EngineReport]], request: EngineRequest) -> EngineReport:
    findings: list[RawFinding] = [finding for _, report in pieces for finding in report.findings]
    assessed: frozenset[str] = frozenset().union(*(report.assessed for _, report in pieces))
    unassessed = [row for _, report in pieces for row in report.unassessed]
    with_settings = [files for files, _ in pieces if any(file.is_configuration for file in files)]
    if "misconfiguration" in request.scanners and len(with_settings) > 1:
        unassessed += [
            replace(_APART, path=file.path)
            for files in with_settings
            for file in files
            if file.is_configuration and file.staged in assessed
        ]
    return EngineReport(findings, assessed, unassessed)
