"""What every store of scans does."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import anyio.lowlevel
import pytest

from quantum_suite.core.errors import CallerError, ConfigurationError, NotFound
from quantum_suite.core.findings import Confidence, Finding, Location, Region, Severity
from quantum_suite.core.ids import new_id
from quantum_suite.core.scans import EngineRun, FileStamp, ScanRecord, ScanRequest, SeverityCounts
from quantum_suite.services.scans.interface import (
    KEEP_SCANS,
    AssessedFile,
    FindingQuery,
    ScanPart,
    ScanStore,
    UnassessedFile,
)
from quantum_suite.services.scans.memory import MemoryScanStore
from quantum_suite.services.scans.sqlite import SqliteScanStore

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ScanStore:
    makers: dict[str, Callable[[], ScanStore]] = {
        "memory": MemoryScanStore,
        "sqlite": lambda: SqliteScanStore(tmp_path / "scans"),
    }
    return makers[request.param]()


def a_record(owner: str = "local", **changes: object) -> ScanRecord:
    request = ScanRequest(root="/repo", scanners=("secrets", "python"))
    record = ScanRecord(
        id=new_id("scan"),
        owner=owner,
        request=request,
        base="/repo",
        state="running",
        started_at=datetime.now(UTC),
    )
    return record.model_copy(update=changes)


def a_finding(number: int, path: str = "a.py", **changes: object) -> Finding:
    finding = Finding(
        fingerprint=f"{number:032x}",
        rule_id="S602",
        kind="code",
        family="S602",
        engines=("ruff",),
        title="Subprocess with a shell",
        message="here",
        cwe=(78,),
        severity=Severity.HIGH,
        confidence=Confidence.MEDIUM,
        location=Location(path=path, region=Region(start_line=number, end_line=number)),
    )
    return finding.model_copy(update=changes)


def a_file(path: str, engines: tuple[str, ...] = ("ruff",), size: int = 1) -> AssessedFile:
    return AssessedFile(FileStamp(path=path, size=size, modified_ns=5), engines)


async def test_a_scan_reads_back_as_it_was_written(store: ScanStore) -> None:
    record = a_record(state="completed", counts=SeverityCounts(high=2), engines=(EngineRun(name="ruff"),))
    await store.create(record)
    assert await store.get(record.id) == record
    changed = record.model_copy(update={"files_done": 7})
    await store.update(changed)
    assert await store.get(record.id) == changed


async def test_every_method_says_not_found_for_a_scan_that_is_not_there(store: ScanStore) -> None:
    with pytest.raises(NotFound):
        await store.get("scan_none")
    with pytest.raises(NotFound):
        await store.update(a_record())
    with pytest.raises(NotFound):
        await store.save_part("scan_none", ScanPart([], []))
    with pytest.raises(NotFound):
        await store.forget_files("scan_none", ["a"])
    with pytest.raises(NotFound):
        await store.stamps("scan_none")
    with pytest.raises(NotFound):
        await store.known_paths("scan_none")
    with pytest.raises(NotFound):
        await store.tally("scan_none")
    with pytest.raises(NotFound):
        await store.findings("scan_none", FindingQuery())
    with pytest.raises(NotFound):
        async with store.claim("scan_none"):
            pass


async def test_an_unfinished_scan_is_running_while_claimed_and_interrupted_after(store: ScanStore) -> None:
    record = a_record()
    await store.create(record)
    async with store.claim(record.id):
        assert (await store.get(record.id)).state == "running"
    assert (await store.get(record.id)).state == "interrupted"
    assert [scan.state for scan in await store.latest("local", 5)] == ["interrupted"]


async def test_only_one_may_work_on_a_scan_at_a_time(store: ScanStore) -> None:
    record = a_record()
    await store.create(record)
    async with store.claim(record.id):
        with pytest.raises(CallerError, match="still running") as caught:
            async with store.claim(record.id):
                pass
        assert caught.value.argument == "resume"
    async with store.claim(record.id):
        pass


async def test_findings_come_worst_first_and_page_by_page_without_gaps(store: ScanStore) -> None:
    record = a_record()
    await store.create(record)
    severities = list(Severity)
    found = [a_finding(n, severity=severities[n % 5], confidence=list(Confidence)[n % 3]) for n in range(1, 24)]
    await store.save_part(record.id, ScanPart([a_file("a.py")], found))
    shown: list[Finding] = []
    cursor = None
    while True:
        page = await store.findings(record.id, FindingQuery(), cursor=cursor, limit=4)
        assert page.total == 23
        shown += page.findings
        cursor = page.next_cursor
        if cursor is None:
            break
    assert shown == sorted(found, key=lambda finding: finding.sort_key)


async def test_a_last_page_that_is_exactly_full_has_no_successor(store: ScanStore) -> None:
    record = a_record()
    await store.create(record)
    await store.save_part(record.id, ScanPart([a_file("a.py")], [a_finding(1), a_finding(2)]))
    page = await store.findings(record.id, FindingQuery(), limit=2)
    assert len(page.findings) == 2
    assert page.next_cursor is None


@pytest.mark.parametrize("cursor", ["x", "bm9uc2Vuc2U=", "W10=", "WzEsMSwxLDEsMV0=", "ü"])
async def test_a_foreign_cursor_is_refused_by_name(store: ScanStore, cursor: str) -> None:
    record = a_record()
    await store.create(record)
    with pytest.raises(CallerError) as caught:
        await store.findings(record.id, FindingQuery(), cursor=cursor)
    assert caught.value.argument == "cursor"


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        (FindingQuery(), {1, 2, 3}),
        (FindingQuery(severity_at_least=Severity.HIGH), {1, 2}),
        (FindingQuery(severity_at_least=Severity.CRITICAL), {2}),
        (FindingQuery(rule="S602"), {1}),
        (FindingQuery(rule="other"), {2}),
        (FindingQuery(path="src"), {2, 3}),
        (FindingQuery(path="src/b.py"), {2}),
        (FindingQuery(path="*.py"), {1, 2, 3}),
        (FindingQuery(path="sr"), set()),
        (FindingQuery(engine="trivy"), {2}),
        (FindingQuery(cwe=78), {1}),
        (FindingQuery(cwe=8), set()),
        (FindingQuery(fingerprint=f"{3:032x}"), {3}),
        (FindingQuery(suppressed=True), {4}),
        (FindingQuery(suppressed=None), {1, 2, 3, 4}),
        (FindingQuery(engine="ruff", severity_at_least=Severity.HIGH, path="src/*"), {2}),
    ],
)
async def test_every_filter_holds(store: ScanStore, query: FindingQuery, numbers: set[int]) -> None:
    record = a_record()
    await store.create(record)
    found = [
        a_finding(1),
        a_finding(
            2,
            "src/b.py",
            rule_id="key",
            other_rules=("other",),
            engines=("ruff", "trivy"),
            cwe=(798, 259),
            severity=Severity.CRITICAL,
        ),
        a_finding(3, "src/c/d.py", rule_id="S101", cwe=(), severity=Severity.INFO),
        a_finding(4, suppressed=True),
    ]
    await store.save_part(record.id, ScanPart([], found))
    page = await store.findings(record.id, query)
    assert {int(finding.fingerprint, 16) for finding in page.findings} == numbers
    assert page.total == len(numbers)
    assert {int(finding.fingerprint, 16) for finding in found if query.matches(finding)} == numbers


async def test_a_tally_sums_what_the_parts_hold(store: ScanStore) -> None:
    record = a_record()
    await store.create(record)
    unread = [UnassessedFile(f"{n}.bin", "Binary files", "no engine reads them") for n in range(7)]
    first = ScanPart([a_file("a.py"), a_file("b.py", ("ruff", "trivy"))], [a_finding(1)], unread, {"ruff": 0.5})
    second = ScanPart(
        [a_file("c.py", ())],
        [a_finding(2, "c.py", severity=Severity.LOW), a_finding(3, "c.py", suppressed=True)],
        [UnassessedFile("c.py", "Settings", "trivy crashed", "reinstall it", retry=True)],
        {"ruff": 0.25, "trivy": 1.0},
    )
    await store.save_part(record.id, first)
    await store.save_part(record.id, second)
    tally = await store.tally(record.id)
    assert tally.files == 3
    assert tally.counts == SeverityCounts(high=1, low=1)
    assert tally.suppressed == 1
    assert dict(tally.files_by_engine) == {"ruff": 2, "trivy": 1}
    assert dict(tally.seconds_by_engine) == {"ruff": 0.75, "trivy": 1.0}
    assert [(item.what, item.count, item.command) for item in tally.not_assessed] == [
        ("Binary files", 7, None),
        ("Settings", 1, "reinstall it"),
    ]
    assert tally.not_assessed[0].examples == ("0.bin", "1.bin", "2.bin", "3.bin", "4.bin")


async def test_saving_a_part_again_replaces_what_was_known_of_its_files(store: ScanStore) -> None:
    record = a_record()
    await store.create(record)
    unread = UnassessedFile("a.py", "Python", "bad syntax")
    await store.save_part(record.id, ScanPart([a_file("a.py"), a_file("b.py")], [a_finding(1)], [unread]))
    await store.save_part(record.id, ScanPart([a_file("a.py", size=9)], [a_finding(2)]))
    assert (await store.stamps(record.id))["a.py"].size == 9
    assert [f.fingerprint for f in (await store.findings(record.id, FindingQuery())).findings] == [f"{2:032x}"]
    assert (await store.tally(record.id)).not_assessed == ()


async def test_files_to_be_tried_again_have_no_stamp(store: ScanStore) -> None:
    record = a_record()
    await store.create(record)
    again = UnassessedFile("a.py", "Python", "ruff crashed", retry=True)
    once = UnassessedFile("b.py", "Python", "bad syntax")
    await store.save_part(record.id, ScanPart([a_file("a.py"), a_file("b.py")], [], [again, once]))
    assert set(await store.stamps(record.id)) == {"b.py"}
    assert await store.known_paths(record.id) == {"a.py", "b.py"}


async def test_forgetting_files_leaves_the_others(store: ScanStore) -> None:
    record = a_record()
    await store.create(record)
    part = ScanPart([a_file("a.py"), a_file("b.py")], [a_finding(1), a_finding(2, "b.py")])
    await store.save_part(record.id, part)
    await store.forget_files(record.id, ["a.py", "never-seen.py"])
    assert await store.known_paths(record.id) == {"b.py"}
    assert (await store.tally(record.id)).counts.total == 1


async def test_the_newest_scans_come_first_and_only_the_owners(store: ScanStore) -> None:
    mine = [a_record() for _ in range(3)]
    other = a_record("key:ci")
    for record in (*mine, other):
        await store.create(record)
        await anyio.lowlevel.checkpoint()
    ids = [record.id for record in await store.latest("local", 10)]
    assert ids == sorted((record.id for record in mine), reverse=True)
    assert {record.id for record in await store.latest(None, 10)} == {*ids, other.id}
    assert len(await store.latest(None, 2)) == 2


async def test_a_finding_is_looked_up_among_the_owners_scans(store: ScanStore) -> None:
    mine, other = a_record(), a_record("key:ci")
    for record in (mine, other):
        await store.create(record)
        await store.save_part(record.id, ScanPart([], [a_finding(1)]))
    assert await store.scans_with(f"{1:032x}", "local") == [mine.id]
    assert set(await store.scans_with(f"{1:032x}", None)) == {mine.id, other.id}
    assert await store.scans_with(f"{9:032x}", None) == []


async def test_the_oldest_scans_are_dropped_but_not_one_that_is_worked_on(store: ScanStore) -> None:
    records = sorted((a_record() for _ in range(KEEP_SCANS + 2)), key=lambda record: record.id)
    await store.create(records[0])
    await store.save_part(records[0].id, ScanPart([a_file("a.py")], [a_finding(1)]))
    async with store.claim(records[0].id):
        for record in records[1:]:
            await store.create(record)
        kept = {record.id for record in await store.latest("local", KEEP_SCANS * 2)}
    assert records[0].id in kept
    assert records[1].id not in kept
    await store.create(a_record())
    with pytest.raises(NotFound):
        await store.get(records[0].id)
    assert await store.scans_with(f"{1:032x}", None) == []


async def test_two_stores_on_one_directory_see_the_same(tmp_path: Path) -> None:
    first, second = SqliteScanStore(tmp_path / "s"), SqliteScanStore(tmp_path / "s")
    record = a_record()
    await first.create(record)
    async with first.claim(record.id):
        assert (await second.get(record.id)).state == "running"
        with pytest.raises(CallerError):
            async with second.claim(record.id):
                pass
    assert (await second.get(record.id)).state == "interrupted"


async def test_nobody_else_on_the_machine_can_read_the_store(tmp_path: Path) -> None:
    store = SqliteScanStore(tmp_path / "s")
    await store.create(a_record())
    assert (tmp_path / "s").stat().st_mode & 0o077 == 0
    assert (tmp_path / "s" / "scans.sqlite3").stat().st_mode & 0o077 == 0


async def test_a_store_written_by_a_newer_release_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    store = SqliteScanStore(tmp_path / "s")
    record = a_record()
    await store.create(record)
    path = tmp_path / "s" / "scans.sqlite3"
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE seconds")
        db.execute("PRAGMA user_version = 2")
    with pytest.raises(ConfigurationError, match=r"newer release \(layout 2\).*another data directory"):
        await store.get(record.id)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (2,)
        assert db.execute("SELECT name FROM sqlite_master WHERE name = 'seconds'").fetchone() is None
