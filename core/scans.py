"""Scans: what was looked at, by what, and what was not."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.findings import Severity

Scanner = Literal["secrets", "misconfiguration", "python"]
"""What can be asked for: credentials in files, infrastructure settings, Python source."""

SCANNERS: tuple[Scanner, ...] = ("secrets", "misconfiguration", "python")

ScanState = Literal["running", "interrupted", "completed"]
"""`interrupted`: nobody works on it any more and it is not finished; it can be resumed."""


class NotAssessed(BaseModel):
    """Something a scan did not look at. Silence about these would read as a clean bill."""

    model_config = ConfigDict(frozen=True)

    what: str = Field(description="What was not looked at.")
    reason: str = Field(description="Why not.")
    count: int | None = Field(default=None, description="How many files or directories, where they were counted.")
    examples: tuple[str, ...] = Field(default=(), description="A few of them, by path.")
    command: str | None = Field(default=None, description="The command that would change it, if one would.")


class FileStamp(BaseModel):
    """A file as it was when it was looked at; a later scan takes an equal stamp for an unchanged file."""

    model_config = ConfigDict(frozen=True)

    path: str = Field(description="Path below the root, as in Location.")
    size: int = Field(description="Length in bytes.")
    modified_ns: int = Field(description="Modification time, nanoseconds since 1970.")


class ScanRequest(BaseModel):
    """What was asked for. A scan can be resumed only by the same request."""

    model_config = ConfigDict(frozen=True)

    root: str = Field(description="Real path of the scanned directory or file.")
    scanners: tuple[Scanner, ...] = Field(description="What was looked for.")
    paths: tuple[str, ...] = Field(default=(), description="Globs or sub-paths it was restricted to.")


class SeverityCounts(BaseModel):
    """How many findings of each severity; suppressed ones are left out."""

    model_config = ConfigDict(frozen=True)

    critical: int = Field(default=0, description="Critical findings.")
    high: int = Field(default=0, description="High findings.")
    medium: int = Field(default=0, description="Medium findings.")
    low: int = Field(default=0, description="Low findings.")
    info: int = Field(default=0, description="Informational findings.")

    @property
    def total(self) -> int:
        """All of them."""
        return self.critical + self.high + self.medium + self.low + self.info

    def of(self, severity: Severity) -> int:
        """The count of one severity."""
        return {
            Severity.CRITICAL: self.critical,
            Severity.HIGH: self.high,
            Severity.MEDIUM: self.medium,
            Severity.LOW: self.low,
            Severity.INFO: self.info,
        }[severity]

    def __str__(self) -> str:
        parts = [f"{self.of(severity)} {severity.value}" for severity in Severity if self.of(severity)]
        return ", ".join(parts) or "none"


class EngineRun(BaseModel):
    """What one engine did in a scan."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="The engine.")
    version: str | None = Field(default=None, description="Its version.")
    files_assessed: int = Field(default=0, description="Files it looked at and could read.")
    seconds: float = Field(default=0.0, description="Wall time it took.")


class ScanRecord(BaseModel):
    """A scan, running or finished."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="The scan's id.")
    owner: str = Field(description="Id of the principal that asked for it.")
    request: ScanRequest = Field(description="What was asked for.")
    base: str = Field(description="The directory that paths of findings are relative to.")
    state: ScanState = Field(description="running, interrupted or completed.")
    started_at: datetime = Field(description="When it was first started.")
    finished_at: datetime | None = Field(default=None, description="When it was completed.")
    files_total: int = Field(default=0, description="Files selected.")
    files_done: int = Field(default=0, description="Files dealt with so far.")
    counts: SeverityCounts = Field(default_factory=SeverityCounts, description="Findings by severity.")
    suppressed: int = Field(default=0, description="Findings silenced by a comment in the source.")
    engines: tuple[EngineRun, ...] = Field(default=(), description="What ran.")
    not_assessed: tuple[NotAssessed, ...] = Field(default=(), description="What was not looked at, and why.")
