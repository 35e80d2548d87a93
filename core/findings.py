"""Findings: what an engine says is wrong, in the one form every engine's output is turned into.

A finding never carries a secret: text taken from scanned files is masked before a `Finding` is made.
"""

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Severity(StrEnum):
    """How bad it is if the finding is true, worst first."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 for critical, up to 4 for info: smaller is worse."""
        return _SEVERITIES.index(self)

    def at_least(self, other: "Severity") -> bool:
        """Whether this is as bad as `other`, or worse."""
        return self.rank <= other.rank


_SEVERITIES = tuple(Severity)


class Confidence(StrEnum):
    """How sure the engine is that the finding is true, surest first."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def rank(self) -> int:
        """0 for high, 2 for low: smaller is surer."""
        return _CONFIDENCES.index(self)


_CONFIDENCES = tuple(Confidence)

FindingKind = Literal["secret", "misconfiguration", "code"]
"""`secret`: a credential in a file. `misconfiguration`: a setting. `code`: a pattern in source code."""


class Region(BaseModel):
    """Part of a text file. Lines and columns count from 1, columns in Unicode code points."""

    model_config = ConfigDict(frozen=True)

    start_line: int = Field(ge=1, description="First line.")
    end_line: int = Field(ge=1, description="Last line, inclusive.")
    start_column: int | None = Field(default=None, ge=1, description="Column of the first character.")
    end_column: int | None = Field(default=None, ge=1, description="Column just after the last character.")

    def overlaps(self, other: "Region") -> bool:
        """Whether the two share a line."""
        return self.start_line <= other.end_line and other.start_line <= self.end_line


class Location(BaseModel):
    """Where a finding is."""

    model_config = ConfigDict(frozen=True)

    path: str = Field(
        description="Path below the scanned root, with forward slashes; bytes that are no UTF-8 appear as \\xNN."
    )
    region: Region | None = Field(default=None, description="The lines concerned; absent for a whole file.")

    def __str__(self) -> str:
        return f"{self.path}:{self.region.start_line}" if self.region else self.path


class Finding(BaseModel):
    """One thing found wrong, whichever engines saw it."""

    model_config = ConfigDict(frozen=True)

    fingerprint: str = Field(
        description="Stays the same when lines move: 32 hex digits over path, rule family, the masked and "
        "space-normalised flagged lines, and the position among identical ones in the file."
    )
    rule_id: str = Field(description="The rule, as its engine names it, e.g. S602 or aws-access-key-id.")
    kind: FindingKind = Field(description="secret, misconfiguration or code.")
    family: str = Field(description="Rules of different engines that mean the same share a family.")
    engines: tuple[str, ...] = Field(description="The engines that reported it.")
    other_rules: tuple[str, ...] = Field(
        default=(), description="Rules of the other engines that reported the same thing."
    )
    title: str = Field(description="What the rule looks for, in a few words.")
    message: str = Field(description="What was found here.")
    cwe: tuple[int, ...] = Field(default=(), description="CWE numbers; empty where none was assigned.")
    severity: Severity = Field(description="How bad it is if true.")
    confidence: Confidence = Field(description="How sure the engine is.")
    location: Location = Field(description="Where it is.")
    snippet: str | None = Field(default=None, description="The flagged lines, secrets masked as ***.")
    why: str | None = Field(default=None, description="What could happen, where the engine says so itself.")
    remediation: str | None = Field(default=None, description="What to do about it.")
    references: tuple[str, ...] = Field(default=(), description="Where to read more.")
    suppressed: bool = Field(
        default=False, description="A comment in the source asks for silence (noqa); kept, but not counted."
    )

    @property
    def sort_key(self) -> tuple[int, int, str, int, str]:
        """Worst first, then surest, then by place."""
        line = self.location.region.start_line if self.location.region else 0
        return (self.severity.rank, self.confidence.rank, self.location.path, line, self.fingerprint)
