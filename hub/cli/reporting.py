"""The report `quantum demo` prints: short, the worst first, and what was not looked at."""

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from quantum_suite.core.findings import Finding
from quantum_suite.core.scans import EngineRun, NotAssessed, SeverityCounts
from quantum_suite.hub.cli.console import printable

RULES_SHOWN = 12
"""Rules in the table; the rest is counted below it."""

CLOSER_LOOKS = 5
"""Findings shown with their lines and what to do, one of each of the worst rules."""

_SNIPPET_LINES = 4
_STYLES = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "cyan", "info": "dim"}


class ScanSummary(BaseModel):
    """What the report needs of a scan's structured answer."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    scan: str = Field(description="The scan's id.")
    root: str = Field(description="What was scanned.")
    files: int = Field(description="Files looked at.")
    counts: SeverityCounts = Field(description="Findings by severity.")
    suppressed: int = Field(description="Findings silenced by comments in the source.")
    engines: tuple[EngineRun, ...] = Field(description="What ran.")
    not_assessed: tuple[NotAssessed, ...] = Field(description="What was not looked at, and why.")


@dataclass(frozen=True, slots=True)
class _Group:
    """The findings of one rule at one severity, the first of them the worst."""

    first: Finding
    size: int


def print_report(console: Console, summary: ScanSummary, findings: Sequence[Finding]) -> None:
    """Print the report. `findings` are those to talk about, worst first."""
    groups = _groups(findings)
    console.print(Text(f"Security scan of {printable(summary.root)}", style="bold"), soft_wrap=True)
    console.print(Text(_counted(summary, len(findings))))
    if not summary.files:
        console.print(Text("There was no file to look at, so this says nothing about security."))
    if groups:
        console.print(Text("\nFound, worst first", style="bold"))
        console.print(_rules_table(groups[:RULES_SHOWN]))
        if rest := groups[RULES_SHOWN:]:
            console.print(
                Text(
                    f"... and {_plural(sum(g.size for g in rest), 'finding')} of {_plural(len(rest), 'rule')} more"
                )
            )
        console.print(Text("\nA closer look at the worst", style="bold"))
        for finding in _closer(groups):
            _print_finding(console, finding)
    console.print(Text("\nNot assessed", style="bold"))
    gaps = Table.grid(padding=(0, 1, 0, 0))
    for item in summary.not_assessed:
        gaps.add_row("  -", Text(_gap(item)))
    console.print(gaps)
    if not summary.not_assessed:
        console.print(Text("  nothing that the scan knows of"))
    console.print(Text("\nLooked at by", style="bold") + Text(_engines(summary.engines), style="not bold"))


def summary_of(structured: Mapping[str, Any] | None) -> ScanSummary:
    """Read a scan's structured answer; raises ValueError when it is none."""
    return ScanSummary.model_validate(structured)


def _counted(summary: ScanSummary, shown: int) -> str:
    total = summary.counts.total
    text = f"{_plural(total, 'finding')} in {_plural(summary.files, 'file')}"
    text += f": {summary.counts}." if total else "."
    if summary.suppressed:
        text += f" {summary.suppressed} more are silenced by comments in the source."
    return text if shown == total else f"{text} Those asked for: {shown}."


def _groups(findings: Iterable[Finding]) -> list[_Group]:
    first: dict[tuple[str, str], Finding] = {}
    sizes: Counter[tuple[str, str]] = Counter()
    for finding in findings:
        key = (finding.severity.value, finding.rule_id)
        first.setdefault(key, finding)
        sizes[key] += 1
    groups = [_Group(finding, sizes[key]) for key, finding in first.items()]
    return sorted(groups, key=lambda group: (group.first.severity.rank, group.first.confidence.rank, -group.size))


def _closer(groups: Sequence[_Group]) -> Iterator[Finding]:
    seen: set[str] = set()
    for group in groups:
        if group.first.rule_id not in seen and len(seen) < CLOSER_LOOKS:
            seen.add(group.first.rule_id)
            yield group.first


def _rules_table(groups: Sequence[_Group]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    table.add_column(overflow="fold")
    for group in groups:
        finding = group.first
        table.add_row(
            Text(finding.severity.value, style=_STYLES[finding.severity.value]),
            Text(str(group.size)),
            Text(f"{printable(finding.title)} ({printable(finding.rule_id)})"),
            Text(("e.g. " if group.size > 1 else "") + printable(str(finding.location)), style="dim"),
        )
    return table


def _print_finding(console: Console, finding: Finding) -> None:
    severity = finding.severity.value
    rules = [
        finding.rule_id,
        *(f"CWE-{number}" for number in finding.cwe),
        f"{finding.confidence.value} confidence",
    ]
    console.print(Text(f"  {severity} ", style=_STYLES[severity]) + Text(printable(finding.title), style="bold"))
    lines = [Text(f"{printable(str(finding.location))} ({printable(', '.join(rules))})")]
    # A masked key is many lines of the same asterisks; one of them says as much.
    snippet = [line for line, _ in groupby(textwrap.dedent(printable(finding.snippet or "")).splitlines())]
    lines += [Text(f"| {line}", style="dim") for line in snippet[:_SNIPPET_LINES]]
    if len(snippet) > _SNIPPET_LINES:
        lines.append(Text("| ...", style="dim"))
    if finding.remediation:
        lines.append(Text(f"To do: {printable(finding.remediation)}"))
    for line in lines:
        console.print(Padding(line, (0, 0, 0, 4), expand=False))


def _gap(item: NotAssessed) -> str:
    count = f" ({item.count})" if item.count is not None else ""
    example = f", e.g. {item.examples[0]}" if item.examples else ""
    command = f". To change that: {item.command}" if item.command else ""
    return printable(f"{item.what}{count}{example}: {item.reason}{command}")


def _engines(runs: Sequence[EngineRun]) -> str:
    told = [
        f" {run.name} {run.version or ''}".rstrip()
        + f" ({_plural(run.files_assessed, 'file')}, {run.seconds:.1f} s)"
        for run in runs
    ]
    return printable(",".join(told)) or " nothing"


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
