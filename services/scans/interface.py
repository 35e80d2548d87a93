"""The port to the store of scans.

A scan is written part by part: a part holds files, what was found in them and what could not be assessed, and is
stored whole or not at all. A scan whose process was killed therefore keeps every part that was stored, and the
next run continues from them. Readers may look at any time, from any process.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Protocol

from quantum_suite.core.errors import CallerError, NotFound
from quantum_suite.core.findings import Finding, Severity
from quantum_suite.core.principals import Principal, Role
from quantum_suite.core.scans import FileStamp, NotAssessed, ScanRecord, SeverityCounts

KEEP_SCANS = 100
"""Scans kept for each owner; starting another drops the oldest that nobody works on."""

MAX_PAGE = 1000
"""Most findings one page holds."""

EXAMPLES = 5
"""Paths named as examples of a group of files that were not assessed."""


@dataclass(frozen=True, slots=True)
class AssessedFile:
    """A file that was dealt with, and the engines that could read it."""

    stamp: FileStamp
    engines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UnassessedFile:
    """One file that something was not done with. `retry`: the next run of the scan should try it again."""

    path: str
    what: str
    reason: str
    command: str | None = None
    retry: bool = False


@dataclass(frozen=True, slots=True)
class ScanPart:
    """Some files of a scan and everything learnt from them."""

    files: Sequence[AssessedFile]
    findings: Sequence[Finding]
    unassessed: Sequence[UnassessedFile] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall time by engine."""


@dataclass(frozen=True, slots=True)
class ScanTally:
    """The sums over the parts stored so far."""

    files: int
    counts: SeverityCounts
    suppressed: int
    files_by_engine: Mapping[str, int]
    seconds_by_engine: Mapping[str, float]
    not_assessed: tuple[NotAssessed, ...]
    """Unassessed files, grouped by what and why, in alphabetical order."""


@dataclass(frozen=True, slots=True)
class FindingQuery:
    """Which findings of a scan are wanted. Everything given must hold."""

    severity_at_least: Severity | None = None
    rule: str | None = None
    path: str | None = None
    """A path, a directory, or a glob (`*` crosses slashes)."""
    engine: str | None = None
    cwe: int | None = None
    fingerprint: str | None = None
    suppressed: bool | None = False
    """False leaves out what the source silences, True shows nothing else, None shows both."""

    def matches(self, finding: Finding) -> bool:
        """Whether `finding` is wanted."""
        at_least = self.severity_at_least
        return (
            (at_least is None or finding.severity.at_least(at_least))
            and (self.rule is None or self.rule == finding.rule_id or self.rule in finding.other_rules)
            and (self.path is None or path_matches(self.path, finding.location.path))
            and (self.engine is None or self.engine in finding.engines)
            and (self.cwe is None or self.cwe in finding.cwe)
            and (self.fingerprint is None or self.fingerprint == finding.fingerprint)
            and (self.suppressed is None or self.suppressed == finding.suppressed)
        )


@dataclass(frozen=True, slots=True)
class FindingPage:
    """Findings in the order of `Finding.sort_key`, from one position on."""

    findings: tuple[Finding, ...]
    total: int
    """How many match, over all pages."""
    next_cursor: str | None
    """Where the next page starts; None on the last."""


class ScanStore(Protocol):
    """Keeps scans. Every method raises NotFound for a scan it does not have."""

    async def create(self, record: ScanRecord) -> None:
        """Add a scan, durably, and drop the owner's oldest beyond `KEEP_SCANS`."""
        ...

    def claim(self, scan_id: str) -> AbstractAsyncContextManager[None]:
        """Own a scan while it is worked on, across processes; ends with the process at the latest.

        Raises CallerError (argument `resume`) when somebody else works on it.
        """
        ...

    async def update(self, record: ScanRecord) -> None:
        """Replace what is said of the scan as a whole."""
        ...

    async def save_part(self, scan_id: str, part: ScanPart) -> None:
        """Add a part, whole or not at all, durably once this returns. Saving it again changes nothing more."""
        ...

    async def forget_files(self, scan_id: str, paths: Sequence[str]) -> None:
        """Drop these files and everything learnt from them."""
        ...

    async def stamps(self, scan_id: str) -> dict[str, FileStamp]:
        """Return the files dealt with, by path, without those that should be tried again."""
        ...

    async def known_paths(self, scan_id: str) -> set[str]:
        """Return the paths of every file any part speaks of."""
        ...

    async def tally(self, scan_id: str) -> ScanTally:
        """Return the sums over the parts stored so far."""
        ...

    async def get(self, scan_id: str) -> ScanRecord:
        """Return a scan; its state reads `interrupted` when it is unfinished and nobody works on it."""
        ...

    async def latest(self, owner: str | None, limit: int) -> list[ScanRecord]:
        """Return the newest scans of `owner` (None: of everybody), newest first."""
        ...

    async def findings(
        self, scan_id: str, query: FindingQuery, *, cursor: str | None = None, limit: int = 100
    ) -> FindingPage:
        """Return a page of findings; raises CallerError (argument `cursor`) for a cursor it did not make."""
        ...

    async def scans_with(self, fingerprint: str, owner: str | None) -> list[str]:
        """Return the ids of `owner`'s (None: everybody's) scans that hold this finding, newest first."""
        ...


def sees_all(principal: Principal) -> bool:
    """Whether a principal may see other people's scans."""
    return Role.ADMIN in principal.roles


def may_see(principal: Principal, record: ScanRecord) -> bool:
    """Whether a scan's results may be shown to `principal`: its owner, and administrators."""
    return record.owner == principal.id or sees_all(principal)


def path_matches(pattern: str, path: str) -> bool:
    """Whether `path` is `pattern`, lies below it, or matches it as a glob whose `*` crosses slashes."""
    plain = pattern.rstrip("/")
    return path == plain or path.startswith(f"{plain}/") or fnmatchcase(path, pattern)


def scan_not_found(scan_id: str, argument: str = "scan") -> NotFound:
    """The error for a scan that is not there, or not the caller's to see: the two read the same."""
    return NotFound(
        f"There is no scan '{scan_id}'.",
        "Take an id from scan_repository's answer or from the listed resources; old scans are dropped.",
        argument=argument,
    )


def scan_is_busy(scan_id: str) -> CallerError:
    """The error for claiming a scan that is being worked on."""
    return CallerError(
        f"Scan '{scan_id}' is still running.", "Wait until it has ended, or start a new one.", argument="resume"
    )
