"""What the tools answer: structured for programs, a few lines of text for a model, links for what is long."""

from collections.abc import Sequence

from mcp_types import CallToolResult, ContentBlock, ResourceLink, TextContent
from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.findings import Confidence, Finding, Severity
from quantum_suite.core.scans import EngineRun, NotAssessed, ScanRecord, ScanState, SeverityCounts
from quantum_suite.resources.qsecure.sarif import not_assessed_line
from quantum_suite.resources.qsecure.summary import counted, finding_uri, scan_uri
from quantum_suite.tools.qsecure.explain_finding import Explanation, finding_id
from quantum_suite.tools.qsecure.list_findings import FindingList

WORST = 10
"""Findings named in a scan's answer."""


class FindingSummary(BaseModel):
    """A finding in a line."""

    model_config = ConfigDict(frozen=True)

    fingerprint: str = Field(description="Names the finding; pass it to explain_finding.")
    severity: Severity = Field(description="How bad it is if true.")
    confidence: Confidence = Field(description="How sure the engine is.")
    rule_id: str = Field(description="The rule.")
    title: str = Field(description="What the rule looks for.")
    location: str = Field(description="Path and line.")
    engines: tuple[str, ...] = Field(description="The engines that reported it.")
    uri: str = Field(description="The resource with everything about it.")


class ScanAnswer(BaseModel):
    """The outcome of a scan, short. The reports hold everything."""

    model_config = ConfigDict(frozen=True)

    scan: str = Field(description="The scan's id, for list_findings, explain_finding and resume.")
    state: ScanState = Field(description="completed, unless it was interrupted.")
    root: str = Field(description="What was scanned.")
    files: int = Field(description="Files looked at.")
    counts: SeverityCounts = Field(description="Findings by severity, all of them.")
    suppressed: int = Field(description="Findings silenced by comments in the source, not in the counts.")
    matching: int = Field(description="Findings at least as bad as severity_at_least.")
    worst: tuple[FindingSummary, ...] = Field(description="The worst of those.")
    engines: tuple[EngineRun, ...] = Field(description="What ran.")
    not_assessed: tuple[NotAssessed, ...] = Field(description="What was not looked at, and why.")
    sarif: str = Field(description="URI of the full report in SARIF 2.1.0.")
    markdown: str = Field(description="URI of the full report in Markdown.")


def scan_answer(record: ScanRecord, worst: Sequence[Finding], matching: int) -> CallToolResult:
    """Return the answer of scan_repository."""
    answer = ScanAnswer(
        scan=record.id,
        state=record.state,
        root=record.request.root,
        files=record.files_done,
        counts=record.counts,
        suppressed=record.suppressed,
        matching=matching,
        worst=tuple(_summary(record.id, finding) for finding in worst),
        engines=record.engines,
        not_assessed=record.not_assessed,
        sarif=scan_uri(record.id, "sarif"),
        markdown=scan_uri(record.id, "markdown"),
    )
    lines = [
        f"Scan {record.id} of {record.request.root}: {counted(record.files_done, 'file')}, "
        f"{counted(record.counts.total, 'finding')}" + (f" ({record.counts})." if record.counts.total else "."),
        *([f"{record.suppressed} more are silenced by comments in the source."] if record.suppressed else []),
        *([_heading(len(worst), matching)] if worst else []),
        *(_line(finding) for finding in worst),
        *(not_assessed_line(item) for item in record.not_assessed),
    ]
    if record.files_total == 0:
        lines.insert(1, "There was no file to look at, so this says nothing about security.")
    return _result(
        answer,
        "\n".join(lines),
        _link(answer.markdown, "Report in Markdown", "text/markdown", "Every finding, for reading, in pages."),
        _link(answer.sarif, "Report in SARIF", "application/sarif+json", "Every finding, for programs, in pages."),
    )


def findings_answer(page: FindingList) -> CallToolResult:
    """Return the answer of list_findings."""
    lines = [f"{len(page.findings)} of {page.total} matching findings of scan {page.scan}, worst first."]
    lines += [_line(finding) for finding in page.findings]
    if page.next_cursor:
        lines.append(f"More with cursor {page.next_cursor}")
    return _result(page, "\n".join(lines))


def explanation_answer(explanation: Explanation) -> CallToolResult:
    """Return the answer of explain_finding."""
    finding = explanation.finding
    lines = [
        _line(finding),
        finding.message,
        *(["The flagged lines, a quotation from the scanned file:", finding.snippet] if finding.snippet else []),
        f"Why it matters: {explanation.why}",
        f"What to do: {explanation.remediation}",
        f"Measured accuracy: {explanation.accuracy.summary}",
        *explanation.cwe_links,
        *finding.references,
    ]
    uri = finding_uri(finding_id(explanation.scan, finding))
    return _result(explanation, "\n".join(lines), _link(uri, finding.title, "text/markdown", "The finding."))


def _summary(scan_id: str, finding: Finding) -> FindingSummary:
    return FindingSummary(
        fingerprint=finding.fingerprint,
        severity=finding.severity,
        confidence=finding.confidence,
        rule_id=finding.rule_id,
        title=finding.title,
        location=str(finding.location),
        engines=finding.engines,
        uri=finding_uri(finding_id(scan_id, finding)),
    )


def _line(finding: Finding) -> str:
    return (
        f"- {finding.severity.value} ({finding.confidence.value} confidence) {finding.location} "
        f"{finding.rule_id}: {finding.title} [{finding.fingerprint}]"
    )


def _heading(shown: int, matching: int) -> str:
    if shown == matching:
        return "Worst first:"
    return f"The worst {shown} of {matching}; list_findings has the others:"


def _link(uri: str, name: str, mime_type: str, description: str) -> ResourceLink:
    return ResourceLink(uri=uri, name=name, mime_type=mime_type, description=description)


def _result(answer: BaseModel, text: str, *links: ContentBlock) -> CallToolResult:
    return CallToolResult(
        content=[TextContent(text=text), *links], structured_content=answer.model_dump(mode="json")
    )
