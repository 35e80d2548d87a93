"""The security gate: QSecure's scanners over the changed files, before and after."""

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import anyio
import anyio.to_thread

from quantum_suite.core.errors import EngineError
from quantum_suite.core.findings import Confidence, Severity
from quantum_suite.core.scans import Scanner
from quantum_suite.core.verdicts import GateReport
from quantum_suite.services.code_scanning.interface import (
    Engine,
    EngineReport,
    EngineRequest,
    RawFinding,
    StagedFile,
)
from quantum_suite.services.held_folder import held_folder
from quantum_suite.services.sandbox.interface import MEBIBYTE
from quantum_suite.services.validators.interface import ChangedTree
from quantum_suite.services.validators.reporting import (
    Found,
    not_assessed,
    report,
    shown_path,
    split_introduced,
)
from quantum_suite.services.validators.sandboxed import MOST_FILE_BYTES, is_python

GATE = "security"
_SCANNERS: frozenset[Scanner] = frozenset({"secrets", "python"})
_WHAT = {"secrets": "credentials in files", "python": "insecure Python"}
_TIMEOUT_SECONDS = 120.0
_OUTPUT_BYTES = 32 * MEBIBYTE
_ODD = re.compile(r"[^\w./ +@-]", re.ASCII)
_SNIFFED_BYTES = 8192


class SecurityValidator:
    """Looks for credentials and insecure code that the change brings."""

    gate = GATE

    def __init__(self, engines: Sequence[Engine], folder: Path | None = None) -> None:
        self._engines = engines
        self._folder = folder if folder is not None else Path(tempfile.gettempdir())

    async def validate(self, tree: ChangedTree) -> GateReport:
        """Scan copies of both states. A new credential blocks, as does new code rated high or critical with some
        confidence; the rest is advice."""
        statuses = [(engine, engine.status()) for engine in self._engines]
        left = [
            f"{' and '.join(_WHAT[s] for s in engine.scanners if s in _WHAT)}: {status.problem}; "
            f"{status.install_command}"
            for engine, status in statuses
            if not status.available
        ]
        ready = [engine for engine, status in statuses if status.available]
        if not ready:
            command = next((status.install_command for _, status in statuses if status.install_command), None)
            return not_assessed(GATE, "No scanner is installed.", install_command=command)
        before: list[Found] = []
        after: list[Found] = []
        async with held_folder(self._folder, "scan-") as work:
            for state, into in (("before", before), ("after", after)):
                root = work / state
                files = await anyio.to_thread.run_sync(_stage, tree, root, state == "after")
                for engine in ready:
                    wanted = [file for file in files if engine.wants(file, _SCANNERS)]
                    if not wanted:
                        continue
                    scratch = work / f"{state}-{engine.name}"
                    await anyio.to_thread.run_sync(scratch.mkdir)
                    try:
                        found = await engine.scan(_request(root, wanted, scratch))
                    except EngineError as error:
                        left.append(f"{engine.name}: {error}")
                        continue
                    into += _found(found, files)
                    left += [
                        f"{shown_path(one.path)}: {one.reason}" for one in found.unassessed if state == "after"
                    ]
        names = ", ".join(f"{engine.name} {status.version or ''}".strip() for engine, status in statuses)
        return report(
            GATE,
            split_introduced(after, before),
            passed="No new credential and no new insecure code was found in the changed files.",
            engine=names,
            unassessed=left,
        )


def _request(root: Path, files: Sequence[StagedFile], scratch: Path) -> EngineRequest:
    return EngineRequest(
        root=root,
        files=files,
        scanners=_SCANNERS,
        scratch=scratch,
        timeout_seconds=_TIMEOUT_SECONDS,
        max_output_bytes=_OUTPUT_BYTES,
    )


def _stage(tree: ChangedTree, root: Path, after: bool) -> list[StagedFile]:
    """Copy one state of the changed text files to where the engines look, under names they can print."""
    root.mkdir()
    staged: list[StagedFile] = []
    for index, one in enumerate(tree.change.files):
        content = one.after if after else one.before
        if content is None or len(content) > MOST_FILE_BYTES or b"\0" in content[:_SNIFFED_BYTES]:
            continue
        name = one.path if not _ODD.search(one.path) else f"renamed-{index}{PurePosixPath(one.path).suffix}"
        name = name if not _ODD.search(name) else f"renamed-{index}"
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        staged.append(StagedFile(one.path, name, is_python=is_python(one.path)))
    return staged


def _found(found: EngineReport, files: Sequence[StagedFile]) -> list[Found]:
    paths = {file.staged: file.path for file in files}
    return [
        Found(
            path=paths[one.staged],
            code=one.rule_id,
            message=one.message,
            line=one.region.start_line if one.region else None,
            column=one.region.start_column if one.region else None,
            end_line=one.region.end_line if one.region else None,
            end_column=one.region.end_column if one.region else None,
            suggestion=one.remediation,
            blocking=_blocks(one),
        )
        for one in found.findings
        if one.staged in paths
    ]


def _blocks(finding: RawFinding) -> bool:
    if finding.suppressed or finding.confidence is Confidence.LOW:
        return False
    return finding.kind == "secret" or finding.severity.at_least(Severity.HIGH)
