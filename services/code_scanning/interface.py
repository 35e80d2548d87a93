"""The port to a scanner."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from quantum_suite.core.engines import EngineStatus
from quantum_suite.core.findings import Confidence, FindingKind, Region, Severity
from quantum_suite.core.scans import Scanner
from quantum_suite.services.scans.interface import UnassessedFile


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A file of the workspace, copied for the engines: a snapshot nobody changes under them."""

    path: str
    """Where it is in the workspace, as shown to people."""
    staged: str
    """Where the copy is, below the staging directory; UTF-8 without control characters."""
    is_python: bool = False
    is_configuration: bool = False


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """What an engine is to look at, and the bounds it has to keep to."""

    root: Path
    """The staging directory. An engine writes nothing into it."""
    files: Sequence[StagedFile]
    scanners: frozenset[Scanner]
    scratch: Path
    """An empty directory of the engine's own, removed afterwards."""
    timeout_seconds: float
    max_output_bytes: int


@dataclass(frozen=True, slots=True)
class RawFinding:
    """What an engine reported, in the suite's words but not masked yet: it must not leave the process."""

    engine: str
    rule_id: str
    kind: FindingKind
    family: str
    title: str
    message: str
    severity: Severity
    confidence: Confidence
    staged: str
    region: Region | None
    cwe: tuple[int, ...] = ()
    why: str | None = None
    remediation: str | None = None
    references: tuple[str, ...] = ()
    suppressed: bool = False
    masked_lines: Mapping[int, str] = field(default_factory=dict)
    """Lines of the file in which the engine itself has masked what it found, by number."""


@dataclass(frozen=True, slots=True)
class EngineReport:
    """What an engine found, and what it could not look at."""

    findings: Sequence[RawFinding]
    assessed: frozenset[str]
    """The files it looked at, by staged path."""
    unassessed: Sequence[UnassessedFile] = ()


class Engine(Protocol):
    """One scanner. Used by many scans at once."""

    @property
    def name(self) -> str:
        """Its own name, one word."""
        ...

    @property
    def scanners(self) -> frozenset[Scanner]:
        """What it can be asked to look for."""
        ...

    def status(self) -> EngineStatus:
        """Say whether it can be used here. Looks at files only: starts no process and uses no network."""
        ...

    def wants(self, file: StagedFile, scanners: frozenset[Scanner]) -> bool:
        """Whether it would look at `file` when asked for `scanners`."""
        ...

    async def scan(self, request: EngineRequest) -> EngineReport:
        """Look at the files; sends nothing anywhere. Cancelling it ends its processes.

        Raises EngineError, EngineMissing.
        """
        ...
