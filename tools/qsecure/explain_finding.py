"""Says all there is to say about one finding: why it matters, what to do, and how far to trust it."""

import re

from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.errors import CallerError, NotFound
from quantum_suite.core.findings import Finding
from quantum_suite.core.principals import Principal
from quantum_suite.services.code_scanning.rule_book import Accuracy, RuleBook
from quantum_suite.services.scans.interface import FindingQuery, ScanStore, sees_all
from quantum_suite.tools.qsecure.open_scan import open_scan, scan_id_of

_FINGERPRINT = re.compile(r"[0-9a-f]{32}")
_WHY_A_CREDENTIAL = (
    "Everybody with a copy of the file has the credential, and its history keeps it after the line is gone. "
    "Whether it still works was not tried."
)


class MeasuredAccuracy(BaseModel):
    """How often this engine was right about this weakness, on a labelled corpus."""

    model_config = ConfigDict(frozen=True)

    summary: str = Field(description="The figures in a sentence, or 'not measured'.")
    precision: float | None = Field(default=None, description="Share of its alarms that were true.")
    recall: float | None = Field(default=None, description="Share of the true cases it flagged.")
    corpus: str | None = Field(default=None, description="What it was measured on.")
    measured_on: str | None = Field(default=None, description="When.")
    command: str | None = Field(default=None, description="What repeats the measurement.")


class Explanation(BaseModel):
    """A finding with its background."""

    model_config = ConfigDict(frozen=True)

    scan: str = Field(description="The scan it belongs to.")
    finding: Finding = Field(description="The finding.")
    why: str = Field(description="What could happen.")
    remediation: str = Field(description="What to do.")
    cwe_links: tuple[str, ...] = Field(description="The weakness classes, explained by MITRE.")
    accuracy: MeasuredAccuracy = Field(description="How far to trust the verdict.")


def finding_id(scan_id: str, finding: Finding) -> str:
    """Return the id under which a finding of one scan is shown."""
    return f"{scan_id}.{finding.fingerprint}"


async def find_finding(
    store: ScanStore, reference: str, scan_id: str | None, principal: Principal
) -> tuple[str, Finding]:
    """Return the scan and the finding meant by `<scan>.<fingerprint>`, or by a bare fingerprint.

    A bare fingerprint without `scan_id` means the newest scan the caller may see that holds it; `latest` stands
    for the newest finished scan of the caller's own. Raises NotFound and CallerError (argument `finding`).
    """
    named, _, fingerprint = reference.rpartition(".")
    named = await scan_id_of(store, named, principal)
    scan_id = scan_id and await scan_id_of(store, scan_id, principal)
    if not _FINGERPRINT.fullmatch(fingerprint) or (named and scan_id and named != scan_id):
        raise CallerError(
            f"'{reference}' is no finding.",
            "Pass a fingerprint of 32 hexadecimal digits, alone or as <scan>.<fingerprint>.",
            argument="finding",
        )
    scans = [named or scan_id or ""]
    if not scans[0]:
        scans = await store.scans_with(fingerprint, None if sees_all(principal) else principal.id)
    for candidate in scans[:1]:
        await open_scan(store, candidate, principal)
        page = await store.findings(candidate, FindingQuery(fingerprint=fingerprint, suppressed=None), limit=1)
        if page.findings:
            return candidate, page.findings[0]
    raise NotFound(f"No finding '{reference}'.", "Take a fingerprint from list_findings.", argument="finding")


async def explain_finding(
    store: ScanStore, rules: RuleBook, reference: str, scan_id: str | None, principal: Principal
) -> Explanation:
    """Return a finding with its background; raises as `find_finding` does."""
    scan, finding = await find_finding(store, reference, scan_id, principal)
    return describe(rules, scan, finding)


def describe(rules: RuleBook, scan_id: str, finding: Finding) -> Explanation:
    """Add what is known of its rule to a finding."""
    rule = rules.python.get(finding.rule_id)
    why = _WHY_A_CREDENTIAL if finding.kind == "secret" else finding.why or (rule.why if rule else finding.title)
    measured = next((row for engine in finding.engines if (row := rules.accuracy_of(engine, finding.cwe))), None)
    return Explanation(
        scan=scan_id,
        finding=finding,
        why=why,
        remediation=finding.remediation or "Read the references, and decide whether the setting is meant.",
        cwe_links=tuple(f"https://cwe.mitre.org/data/definitions/{number}.html" for number in finding.cwe),
        accuracy=_accuracy(measured),
    )


def _accuracy(row: Accuracy | None) -> MeasuredAccuracy:
    if row is None:
        return MeasuredAccuracy(summary="not measured")
    share = "it raised no alarm" if row.precision is None else f"{row.precision:.0%} of its alarms were true"
    return MeasuredAccuracy(
        summary=f"{row.engine} on CWE-{row.cwe}: {share}, and it found {row.recall:.0%} of the true cases.",
        precision=row.precision,
        recall=row.recall,
        corpus=row.corpus,
        measured_on=row.measured_on,
        command=row.command,
    )
