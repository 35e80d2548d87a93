"""What is said of one finding."""

from datetime import UTC, datetime

import pytest

from quantum_suite.core.errors import CallerError, NotFound
from quantum_suite.core.findings import Confidence, Finding, Location, Severity
from quantum_suite.core.principals import LOCAL, Principal
from quantum_suite.core.scans import ScanRecord, ScanRequest
from quantum_suite.services.code_scanning.rule_book import RuleBook
from quantum_suite.services.scans.interface import ScanPart
from quantum_suite.services.scans.memory import MemoryScanStore
from quantum_suite.tools.qsecure.explain_finding import explain_finding

pytestmark = pytest.mark.anyio

FINGERPRINT = "0123456789abcdef" * 2
FINDING = Finding(
    fingerprint=FINGERPRINT,
    rule_id="S324",
    kind="code",
    family="S324",
    engines=("ruff",),
    title="Broken hash",
    message="md5",
    cwe=(327, 328),
    severity=Severity.MEDIUM,
    confidence=Confidence.MEDIUM,
    location=Location(path="a.py"),
)


async def store_with(*scans: tuple[str, str, Finding]) -> MemoryScanStore:
    store = MemoryScanStore()
    for scan_id, owner, finding in scans:
        request = ScanRequest(root="/r", scanners=("python",))
        record = ScanRecord(
            id=scan_id, owner=owner, request=request, base="/r", state="completed", started_at=datetime.now(UTC)
        )
        await store.create(record)
        await store.save_part(scan_id, ScanPart([], [finding]))
    return store


async def test_reason_remedy_links_and_measured_accuracy_are_given() -> None:
    store = await store_with(("scan_1", "local", FINDING))
    found = await explain_finding(store, RuleBook(), FINGERPRINT, None, LOCAL)
    assert found.scan == "scan_1"
    assert found.finding == FINDING
    assert found.why == RuleBook().python["S324"].why
    assert found.cwe_links[0] == "https://cwe.mitre.org/data/definitions/327.html"
    assert found.accuracy.precision is not None
    assert "CWE-328" in found.accuracy.summary
    assert found.accuracy.command


async def test_accuracy_that_was_not_measured_is_said_to_be_so() -> None:
    odd = FINDING.model_copy(update={"engines": ("trivy",), "kind": "misconfiguration", "why": "It is open."})
    found = await explain_finding(await store_with(("scan_1", "local", odd)), RuleBook(), FINGERPRINT, None, LOCAL)
    assert found.accuracy.summary == "not measured"
    assert found.accuracy.precision is None
    assert found.why == "It is open."


async def test_a_fingerprint_means_the_newest_scan_unless_one_is_named() -> None:
    store = await store_with(("scan_1", "local", FINDING), ("scan_2", "local", FINDING))
    for reference, scan, expected in (
        (FINGERPRINT, None, "scan_2"),
        (FINGERPRINT, "scan_1", "scan_1"),
        (f"scan_1.{FINGERPRINT}", None, "scan_1"),
        (f"scan_1.{FINGERPRINT}", "scan_1", "scan_1"),
    ):
        assert (await explain_finding(store, RuleBook(), reference, scan, LOCAL)).scan == expected


@pytest.mark.parametrize("reference", ["", "abc", FINGERPRINT.upper(), FINGERPRINT + "0", "scan_1."])
async def test_what_is_no_finding_is_refused_by_name(reference: str) -> None:
    store = await store_with(("scan_1", "local", FINDING))
    with pytest.raises(CallerError) as caught:
        await explain_finding(store, RuleBook(), reference, None, LOCAL)
    assert caught.value.argument == "finding"


async def test_two_scans_that_contradict_each_other_are_refused() -> None:
    store = await store_with(("scan_1", "local", FINDING))
    with pytest.raises(CallerError):
        await explain_finding(store, RuleBook(), f"scan_1.{FINGERPRINT}", "scan_2", LOCAL)


async def test_a_finding_of_somebody_elses_scan_is_not_there() -> None:
    store = await store_with(("scan_1", "local", FINDING))
    other = Principal("key:ci")
    for reference in (FINGERPRINT, f"scan_1.{FINGERPRINT}"):
        with pytest.raises(NotFound):
            await explain_finding(store, RuleBook(), reference, None, other)
    with pytest.raises(NotFound):
        await explain_finding(store, RuleBook(), "f" * 32, "scan_1", LOCAL)
