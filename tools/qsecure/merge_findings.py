"""Turns what engines reported on a part into findings: masked, named, and the same thing only once."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from quantum_suite.core.findings import Finding, Location, Region
from quantum_suite.core.masking import MASK
from quantum_suite.services.code_scanning.interface import RawFinding, StagedFile
from quantum_suite.services.code_scanning.mask_snippets import (
    announces_secret,
    hidden_value,
    mask_line,
    mask_prose,
)
from quantum_suite.tools.qsecure.fingerprint_findings import Fingerprinter
from quantum_suite.tools.qsecure.stage_files import StagedPart

_SNIPPET_LINES = 5
_SNIPPET_COLUMNS = 240
_MASKED_COLUMNS = 4_000
_LAST_WORD = re.compile(r"\S*$")
_MESSAGE_CHARACTERS = 500
_SHORTEST_VALUE = 4
_CREDENTIAL = "hardcoded-credential"


def merge_findings(raw: Iterable[RawFinding], part: StagedPart) -> list[Finding]:
    """Return the findings of a part, file by file.

    Two engines' findings are one when they share a line and either their family or a CWE; the worse severity and
    the higher confidence stand. CPU-bound and reads the staged files: call it in a worker thread.
    """
    by_file: dict[str, list[RawFinding]] = defaultdict(list)
    for finding in raw:
        by_file[finding.staged].append(finding)
    files = {file.staged: file for file in part.files}
    findings: list[Finding] = []
    for staged, reported in by_file.items():
        lines = (part.root / staged).read_text("utf-8", "replace").split("\n")
        findings.extend(_findings_of(files[staged], reported, lines))
    return findings


def _findings_of(file: StagedFile, reported: Sequence[RawFinding], lines: Sequence[str]) -> list[Finding]:
    text = _MaskedFile(file, lines, reported)
    namer = Fingerprinter()
    return [group.finding(file, text, namer) for group in _grouped(reported)]


@dataclass(slots=True)
class _Group:
    """Reports of one thing; the first one names it."""

    first: RawFinding
    others: list[RawFinding] = field(default_factory=list)

    def takes(self, raw: RawFinding) -> bool:
        members = [self.first, *self.others]
        if any((member.engine, member.kind) == (raw.engine, raw.kind) for member in members):
            return False
        mine, its = self.first.region, raw.region
        if mine is None or its is None or not mine.overlaps(its):
            return False
        return self.first.family == raw.family or not set(self.first.cwe).isdisjoint(raw.cwe)

    def finding(self, file: StagedFile, text: "_MaskedFile", namer: Fingerprinter) -> Finding:
        members = [self.first, *self.others]
        credential = any(member.family == _CREDENTIAL for member in members)
        snippet = text.snippet(self.first.region, credential=credential)
        return Finding(
            fingerprint=namer.name(file.path, self.first.family, snippet),
            rule_id=self.first.rule_id,
            kind=self.first.kind,
            family=self.first.family,
            engines=tuple(dict.fromkeys(member.engine for member in members)),
            other_rules=tuple(dict.fromkeys(m.rule_id for m in self.others if m.rule_id != self.first.rule_id)),
            title=self.first.title,
            message=mask_prose(text.without_values(self.first.message))[:_MESSAGE_CHARACTERS],
            cwe=tuple(dict.fromkeys(number for member in members for number in member.cwe)),
            severity=min((member.severity for member in members), key=lambda severity: severity.rank),
            confidence=min((member.confidence for member in members), key=lambda confidence: confidence.rank),
            location=Location(path=file.path, region=text.within(self.first.region)),
            snippet=snippet,
            why=next((member.why for member in members if member.why), None),
            remediation=next((member.remediation for member in members if member.remediation), None),
            references=tuple(dict.fromkeys(link for member in members for link in member.references)),
            suppressed=all(member.suppressed for member in members),
        )


def _grouped(reported: Sequence[RawFinding]) -> list[_Group]:
    """Group the reports of a file, in the order of lines; of two equal ones the surer engine's comes first."""
    ordered = sorted(
        {_identity(raw): raw for raw in reported}.values(),
        key=lambda raw: (
            raw.region.start_line if raw.region else 0,
            raw.confidence.rank,
            raw.severity.rank,
            (raw.region.start_column or 0) if raw.region else 0,
            raw.rule_id,
            raw.message,
        ),
    )
    groups: list[_Group] = []
    by_line: dict[int, list[_Group]] = defaultdict(list)
    for raw in ordered:
        span = range(raw.region.start_line, raw.region.end_line + 1) if raw.region else range(0)
        near = (group for line in span for group in by_line[line])
        home = next((group for group in near if group.takes(raw)), None)
        if home is not None:
            home.others.append(raw)
            continue
        group = _Group(raw)
        groups.append(group)
        for line in span:
            by_line[line].append(group)
    return groups


def _identity(raw: RawFinding) -> tuple[object, ...]:
    return raw.engine, raw.rule_id, raw.region, raw.message


class _MaskedFile:
    """Shows lines of a file with everything masked that any engine, or the suite itself, takes for a secret."""

    def __init__(self, file: StagedFile, lines: Sequence[str], reported: Sequence[RawFinding]) -> None:
        self._lines = lines
        self._is_code = file.is_python or PurePosixPath(file.path).suffix in (".js", ".ts", ".go", ".java", ".rb")
        self._masked: dict[int, str] = {}
        self._credential: set[int] = set()
        self._values: set[str] = set()
        for raw in reported:
            if raw.family != _CREDENTIAL or raw.region is None:
                continue
            span = range(raw.region.start_line, min(raw.region.end_line, len(lines)) + 1)
            self._credential.update(span)
            if raw.kind == "secret":
                # Where the engine shows no masked form of a line (long keys), nothing of the line is shown.
                for line in span:
                    shown = raw.masked_lines.get(line, MASK)
                    value = hidden_value(lines[line - 1].rstrip("\r"), shown)
                    if value and len(value) >= _SHORTEST_VALUE:
                        self._values.add(value)
                    # Two secrets on a line: either form may still show the other one.
                    self._masked[line] = shown if self._masked.get(line, shown) == shown else MASK
            else:
                # A literal over several lines: only its first line has a quote to mask from.
                self._masked.update(dict.fromkeys(span[1:], MASK))

    def without_values(self, text: str) -> str:
        """Mask every value that an engine found in this file, wherever it shows."""
        for value in self._values:
            text = text.replace(value, MASK)
        return text

    def within(self, region: Region | None) -> Region | None:
        """Clip a region to the lines there are; None for one that lies outside."""
        if region is None or region.start_line > len(self._lines):
            return None
        end = max(region.start_line, min(region.end_line, len(self._lines)))
        return region.model_copy(update={"end_line": end})

    def snippet(self, region: Region | None, *, credential: bool) -> str | None:
        """Return the flagged lines, at most five, each cut to a bounded length."""
        region = self.within(region)
        if region is None:
            return None
        last = min(region.end_line, region.start_line + _SNIPPET_LINES - 1)
        shown = [self._line(number, credential=credential) for number in range(region.start_line, last + 1)]
        return "\n".join(shown) + ("\n…" if last < region.end_line else "")

    def _line(self, number: int, *, credential: bool) -> str:
        line = self.without_values(self._masked.get(number, self._lines[number - 1]))
        whole = len(line) <= _MASKED_COLUMNS
        masked = mask_line(
            line[:_MASKED_COLUMNS].rstrip("\r"),
            credential=credential
            or number in self._credential
            or announces_secret(self._lines[max(0, number - 4) : number - 1], is_code=self._is_code),
            is_code=self._is_code,
        )
        if not whole:
            # The cut may have gone through a secret, and what is left of it need not look like one.
            masked = _LAST_WORD.sub("", masked)
        return masked if whole and len(masked) <= _SNIPPET_COLUMNS else masked[:_SNIPPET_COLUMNS] + "…"
