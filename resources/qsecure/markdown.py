"""A scan as a report for people."""

import re
from collections.abc import Iterator, Sequence

from quantum_suite.core.findings import Finding, Severity
from quantum_suite.core.scans import NotAssessed, ScanRecord
from quantum_suite.resources.qsecure.summary import counted, scan_uri

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|])")
_LINE_BREAKS = re.compile(r"[\r\n\t\x00-\x1f\x7f]+")


def markdown_report(record: ScanRecord, findings: Sequence[Finding], *, page: int, pages: int, total: int) -> str:
    """Return page `page` (from 1) of `pages`. The first says what was done and what was not."""
    lines = [f"# Security scan of {_inline(record.request.root)}", ""]
    lines += _head(record, total) if page == 1 else []
    lines += [f"## Findings, page {page} of {pages}" if pages > 1 else "## Findings", ""]
    for finding in findings:
        lines += _finding(finding)
    if not findings:
        lines += ["None.", ""]
    if page < pages:
        lines += [f"The next page is `{scan_uri(record.id, f'markdown-{page + 1}')}`.", ""]
    return "\n".join(lines)


def finding_report(finding: Finding, why: str, remediation: str, links: Sequence[str], accuracy: str) -> str:
    """Return one finding with its background."""
    lines = [
        *_finding(finding.model_copy(update={"remediation": None})),
        f"**Why it matters.** {_inline(why)}",
        "",
        f"**What to do.** {_inline(remediation)}",
    ]
    lines += ["", f"**How far to trust it.** Measured accuracy: {_inline(accuracy)}", ""]
    lines += [f"- <{link}>" for link in (*links, *finding.references)]
    return "\n".join(lines) + "\n"


def _head(record: ScanRecord, total: int) -> Iterator[str]:
    yield f"Scan `{record.id}`, {record.state}, started {record.started_at:%Y-%m-%d %H:%M} UTC."
    yield f"{record.files_done} of {counted(record.files_total, 'file')} dealt with; {counted(total, 'finding')}."
    if not record.files_total:
        yield "There was no file to look at, so this says nothing about security."
    yield ""
    yield "| severity | findings |"
    yield "|---|---|"
    for severity in Severity:
        yield f"| {severity.value} | {record.counts.of(severity)} |"
    yield ""
    for run in record.engines:
        files = counted(run.files_assessed, "file")
        yield f"- {run.name} {run.version or ''} looked at {files} in {run.seconds:.1f} s"
    if record.suppressed:
        yield f"- {record.suppressed} findings are silenced by comments in the source and not listed here"
    yield ""
    yield "## Not assessed"
    yield ""
    for item in record.not_assessed:
        yield f"- {_not_assessed(item)}"
    yield ""


def _not_assessed(item: NotAssessed) -> str:
    count = f" ({item.count})" if item.count is not None else ""
    text = f"**{_inline(item.what)}**{count}: {_inline(item.reason)}"
    if item.examples:
        text += f"; for example {', '.join(_code(path) for path in item.examples)}"
    return text + (f". To change that: {_code(item.command)}" if item.command else "")


def _finding(finding: Finding) -> Iterator[str]:
    cwe = "".join(f", CWE-{number}" for number in finding.cwe)
    rules = " and ".join((finding.rule_id, *finding.other_rules))
    yield f"### {finding.severity.value}: {_inline(finding.title)}"
    yield ""
    yield f"{_code(str(finding.location))} · {_inline(rules)}{cwe} · {finding.confidence.value} confidence · " + (
        f"{', '.join(finding.engines)} · `{finding.fingerprint}`"
    )
    yield ""
    yield _inline(finding.message)
    yield ""
    if finding.snippet:
        yield from _fenced(finding.snippet)
        yield ""
    if finding.remediation:
        yield f"To do: {_inline(finding.remediation)}"
        yield ""


def _fenced(text: str) -> Iterator[str]:
    """Quote text so that nothing in it can end the quotation."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    yield f"{fence}text"
    yield text
    yield fence


def _inline(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", _LINE_BREAKS.sub(" ", text))


def _code(text: str) -> str:
    text = _LINE_BREAKS.sub("␤", text)
    ticks = "`" * (max((len(run) for run in re.findall(r"`+", text)), default=0) + 1)
    gap = " " if len(ticks) > 1 else ""
    return f"{ticks}{gap}{text}{gap}{ticks}"
