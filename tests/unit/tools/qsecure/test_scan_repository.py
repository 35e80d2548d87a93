"""How a scan runs its engines, part by part; with engines in memory."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from reference.services import event_log

from quantum_suite.core.errors import CallerError, EngineError, NotFound
from quantum_suite.core.findings import Confidence, Region, Severity
from quantum_suite.core.principals import LOCAL, Principal, Role
from quantum_suite.core.scans import SCANNERS, Scanner, ScanRecord, ScanRequest
from quantum_suite.services.capacity.memory import MemoryCapacity
from quantum_suite.services.code_scanning.interface import Engine, EngineReport, EngineRequest, RawFinding
from quantum_suite.services.code_scanning.memory import MemoryEngine
from quantum_suite.services.scans.interface import FindingQuery
from quantum_suite.services.scans.memory import MemoryScanStore
from quantum_suite.tools.qsecure.list_findings import list_findings
from quantum_suite.tools.qsecure.open_scan import list_scans, open_scan, scan_id_of
from quantum_suite.tools.qsecure.scan_repository import RepositoryScanner
from quantum_suite.tools.qsecure.select_files import ScanLimits

pytestmark = pytest.mark.anyio

PYTHON: frozenset[Scanner] = frozenset({"python"})
SECRETS: frozenset[Scanner] = frozenset({"secrets"})
CI = Principal("key:ci", frozenset({Role.OPERATOR}))


async def one_each(request: EngineRequest) -> EngineReport:
    """Report the first line of every file."""
    findings = [
        RawFinding(
            engine="one",
            rule_id="R1",
            kind="code",
            family="R1",
            title="first line",
            message="found",
            severity=Severity.HIGH,
            confidence=Confidence.HIGH,
            staged=file.staged,
            region=Region(start_line=1, end_line=1),
        )
        for file in request.files
    ]
    return EngineReport(findings, frozenset(file.staged for file in request.files))


def failing(error: Exception) -> Callable[[EngineRequest], Awaitable[EngineReport]]:
    async def scan(request: EngineRequest) -> EngineReport:
        raise error

    return scan


class Bench:
    """A scanner on a small repository, and what it said of its progress."""

    def __init__(self, tmp_path: Path, *engines: Engine, part_files: int = 2, extra_runs: int = 100) -> None:
        self.capacity = MemoryCapacity(1)
        self.root = tmp_path / "repo"
        self.root.mkdir()
        self.work = tmp_path / "work"
        self.store = MemoryScanStore()
        self.progress: list[tuple[int, int]] = []
        self.messages: list[str] = []
        self.on_progress: Callable[[int], None] = lambda done: None
        self.events = event_log()
        limits = ScanLimits(part_files=part_files, engine_extra_runs=extra_runs)
        self.scanner = RepositoryScanner(engines, self.store, self.work, self.capacity, self.events, limits)

    def write(self, *names: str) -> None:
        for name in names:
            (self.root / name).write_text(f"# {name}\n")

    async def scan(
        self,
        *,
        resume: str | None = None,
        principal: Principal = LOCAL,
        scanners: tuple[Scanner, ...] = SCANNERS,
        paths: tuple[str, ...] = (),
        correlation_id: str | None = None,
    ) -> ScanRecord:
        async def progress(done: int, total: int, message: str) -> None:
            self.progress.append((done, total))
            self.messages.append(message)
            self.on_progress(done)

        request = ScanRequest(root=str(self.root), scanners=scanners, paths=paths)
        return await self.scanner.scan(request, principal, progress, resume, correlation_id=correlation_id)

    async def paths(self, record: ScanRecord) -> list[str]:
        page = await self.store.findings(record.id, FindingQuery())
        return [finding.location.path for finding in page.findings]


def gaps(record: ScanRecord) -> dict[str, tuple[str, int | None, str | None]]:
    return {item.what: (item.reason, item.count, item.command) for item in record.not_assessed}


async def test_every_file_is_shown_to_every_engine_once_and_progress_only_grows(tmp_path: Path) -> None:
    one, two = MemoryEngine("one", PYTHON, one_each), MemoryEngine("two", SECRETS)
    bench = Bench(tmp_path, one, two)
    bench.write(*(f"{n}.py" for n in range(5)))
    record = await bench.scan()
    assert (record.state, record.files_total, record.files_done) == ("completed", 5, 5)
    assert record.counts.high == 5
    for engine in (one, two):
        assert [len(request.files) for request in engine.requests] == [2, 2, 1]
    assert bench.progress == [(0, 5), (2, 5), (4, 5), (5, 5)]
    assert {run.name: run.files_assessed for run in record.engines} == {"one": 5, "two": 5}


async def test_nothing_staged_is_left_behind(tmp_path: Path) -> None:
    bench = Bench(tmp_path, MemoryEngine("one", PYTHON, one_each))
    bench.write("a.py", "b.py", "c.py")
    await bench.scan()
    assert list(bench.work.iterdir()) == []
    assert bench.work.stat().st_mode & 0o077 == 0


async def test_copies_that_killed_scans_left_are_deleted_by_the_next_scan(tmp_path: Path) -> None:
    bench = Bench(tmp_path, MemoryEngine("one", PYTHON, one_each))
    bench.write("a.py")
    killed, running = await bench.scan(), await bench.scan()
    await bench.store.update(running.model_copy(update={"state": "running"}))
    for name in (killed.id, running.id, "scan_forgotten"):
        (bench.work / name / "part").mkdir(parents=True)
    async with bench.store.claim(running.id):
        await bench.scan()
    assert [path.name for path in bench.work.iterdir()] == [running.id]


async def test_scans_take_turns_part_by_part_where_there_is_one_place(tmp_path: Path) -> None:
    at_once: set[str] = set()
    most = 0

    async def counting(request: EngineRequest) -> EngineReport:
        nonlocal most
        at_once.add(str(request.root))
        most = max(most, len(at_once))
        await anyio.lowlevel.checkpoint()
        at_once.discard(str(request.root))
        return await one_each(request)

    bench = Bench(tmp_path, MemoryEngine("one", PYTHON, counting))
    bench.write(*(f"{n}.py" for n in range(6)))
    states: list[str] = []

    async def scan() -> None:
        states.append((await bench.scan()).state)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(scan)
    assert most == 1
    assert states == ["completed"] * 3
    assert any("waiting: this machine has 1 place for heavy work, taken by a scan" in m for m in bench.messages)


async def test_a_scan_that_is_cancelled_while_it_waits_takes_no_place(tmp_path: Path) -> None:
    bench = Bench(tmp_path, engine := MemoryEngine("one", PYTHON, one_each))
    bench.write("a.py")
    async with bench.capacity.place("a build"), anyio.create_task_group() as group:
        group.start_soon(bench.scan)
        with anyio.fail_after(25):
            while not any("taken by a build" in message for message in bench.messages):
                await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    assert engine.requests == []
    with anyio.fail_after(25):
        assert (await bench.scan()).state == "completed"


async def test_engines_run_side_by_side(tmp_path: Path) -> None:
    first, second = anyio.Event(), anyio.Event()

    def meeting(mine: anyio.Event, other: anyio.Event) -> Callable[[EngineRequest], Awaitable[EngineReport]]:
        async def scan(request: EngineRequest) -> EngineReport:
            mine.set()
            await other.wait()
            return EngineReport((), frozenset())

        return scan

    bench = Bench(
        tmp_path,
        MemoryEngine("one", PYTHON, meeting(first, second)),
        MemoryEngine("two", SECRETS, meeting(second, first)),
    )
    bench.write("a.py")
    with anyio.fail_after(25):
        assert (await bench.scan()).state == "completed"


async def test_a_failing_engine_costs_only_its_own_findings_and_says_what_it_printed(tmp_path: Path) -> None:
    crash = EngineError("two ended with status 3.", "Reinstall it.", engine="two", printed="out of memory")
    bench = Bench(tmp_path, MemoryEngine("one", PYTHON, one_each), MemoryEngine("two", SECRETS, failing(crash)))
    bench.write("a.py", "b.py", "c.py")
    record = await bench.scan()
    assert await bench.paths(record) == ["a.py", "b.py", "c.py"]
    reason, count, _ = gaps(record)["Credentials in files"]
    assert reason == "two ended with status 3. It printed: out of memory. Reinstall it."
    assert count == 3


async def test_a_file_an_engine_fails_on_is_named_and_all_others_keep_their_findings(tmp_path: Path) -> None:
    async def scan(request: EngineRequest) -> EngineReport:
        if any(file.path == "7.py" for file in request.files):
            raise EngineError("one printed more than it may.", engine="one")
        return await one_each(request)

    bench = Bench(tmp_path, MemoryEngine("one", PYTHON, scan), part_files=20)
    bench.write(*(f"{n}.py" for n in range(10)))
    record = await bench.scan()
    assert await bench.paths(record) == [f"{n}.py" for n in range(10) if n != 7]
    assert record.engines[0].files_assessed == 9
    (gap,) = [item for item in record.not_assessed if item.what == "Security rules on Python source"]
    assert (gap.reason, gap.examples) == ("one printed more than it may", ("7.py",))
    assert list(bench.work.iterdir()) == []


async def test_extra_runs_are_bounded_over_all_parts_of_a_scan(tmp_path: Path) -> None:
    engine = MemoryEngine("one", PYTHON, failing(EngineError("one failed.", engine="one")))
    bench = Bench(tmp_path, engine, part_files=4, extra_runs=8)
    bench.write(*(f"{n:02}.py" for n in range(16)))
    assert gaps(await bench.scan())["Security rules on Python source"]
    assert len(engine.requests) == 4 + 8


async def test_a_fault_in_an_adapter_is_contained_and_quotes_nothing_of_the_files(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fault = KeyError("text of the scanned file")
    bench = Bench(tmp_path, MemoryEngine("one", PYTHON, one_each), MemoryEngine("two", SECRETS, failing(fault)))
    bench.write("a.py")
    record = await bench.scan()
    assert record.counts.high == 1
    assert "two printed something unexpected (KeyError)" in gaps(record)["Credentials in files"][0]
    assert "adapter failed with KeyError" in caplog.text
    assert "text of the scanned file" not in caplog.text + record.model_dump_json()


async def test_what_an_engine_printed_is_masked(tmp_path: Path) -> None:
    word = "hunter" + "2hunter"
    crash = EngineError("two failed.", engine="two", printed=f"cannot open https://me:{word}@host/")
    bench = Bench(tmp_path, MemoryEngine("two", SECRETS, failing(crash)))
    bench.write("a.py")
    assert word not in (await bench.scan()).model_dump_json()


async def test_a_missing_engine_is_named_with_the_command_that_installs_it(tmp_path: Path) -> None:
    absent = MemoryEngine("two", frozenset({"secrets", "misconfiguration"}), available=False)
    bench = Bench(tmp_path, MemoryEngine("one", PYTHON, one_each), absent)
    bench.write("a.py")
    record = await bench.scan()
    assert record.state == "completed"
    reason, _, command = gaps(record)["Credentials in files and Infrastructure settings"]
    assert (reason, command) == ("two is not installed", "install two")
    assert absent.requests == []
    assert [run.name for run in record.engines] == ["one"]


async def test_what_is_never_or_was_not_asked_to_be_assessed_is_said(tmp_path: Path) -> None:
    bench = Bench(tmp_path, MemoryEngine("one", PYTHON))
    bench.write("a.py")
    record = await bench.scan(scanners=("python",))
    assert set(gaps(record)) == {
        "Known vulnerabilities in dependencies",
        "Data flow in Python",
        "Credentials in files",
        "Infrastructure settings",
    }


async def test_an_empty_directory_is_a_completed_scan_of_no_file(tmp_path: Path) -> None:
    engine = MemoryEngine("one", PYTHON, one_each)
    bench = Bench(tmp_path, engine)
    record = await bench.scan()
    assert (record.state, record.files_total, engine.requests) == ("completed", 0, [])


async def test_a_cancelled_scan_is_interrupted_and_resumes_with_the_parts_that_are_left(tmp_path: Path) -> None:
    engine = MemoryEngine("one", PYTHON, one_each)
    bench = Bench(tmp_path, engine)
    bench.write(*(f"{n}.py" for n in range(6)))
    with anyio.CancelScope() as scope:
        bench.on_progress = lambda done: scope.cancel() if done == 4 else None
        await bench.scan()
    assert scope.cancelled_caught
    (stopped,) = await list_scans(bench.store, LOCAL)
    assert stopped.state == "interrupted"
    seen = await open_scan(bench.store, stopped.id, LOCAL)
    assert (seen.files_done, seen.files_total, seen.counts.high) == (4, 6, 4)
    assert f"resume='{stopped.id}'" in seen.not_assessed[0].reason
    assert seen.not_assessed[0].count == 2
    assert list(bench.work.iterdir()) == []

    engine.requests.clear()
    bench.on_progress = lambda done: None
    bench.progress.clear()
    record = await bench.scan(resume=stopped.id)
    assert (record.id, record.state, record.counts.high) == (stopped.id, "completed", 6)
    assert [[file.path for file in request.files] for request in engine.requests] == [["4.py", "5.py"]]
    assert bench.progress == [(4, 6), (6, 6)]


async def test_resuming_a_finished_scan_looks_at_what_changed_came_and_went(tmp_path: Path) -> None:
    engine = MemoryEngine("one", PYTHON, one_each)
    bench = Bench(tmp_path, engine)
    bench.write("changed.py", "gone.py", "same.py")
    first = await bench.scan()
    (bench.root / "changed.py").write_text("# another\n# text\n")
    (bench.root / "gone.py").unlink()
    bench.write("new.py")
    engine.requests.clear()
    record = await bench.scan(resume=first.id)
    assert record.id == first.id
    assert [file.path for request in engine.requests for file in request.files] == ["changed.py", "new.py"]
    assert await bench.paths(record) == ["changed.py", "new.py", "same.py"]


async def test_files_an_engine_failed_on_are_tried_again(tmp_path: Path) -> None:
    reports = [failing(EngineError("one failed.", engine="one")), one_each]

    async def scan(request: EngineRequest) -> EngineReport:
        return await reports.pop(0)(request)

    bench = Bench(tmp_path, MemoryEngine("one", PYTHON, scan))
    bench.write("a.py")
    first = await bench.scan()
    assert first.counts.total == 0
    second = await bench.scan(resume=first.id)
    assert second.counts.high == 1
    assert "Security rules on Python source" not in gaps(second)


async def test_an_engine_that_was_installed_meanwhile_sees_every_file(tmp_path: Path) -> None:
    late = MemoryEngine("two", SECRETS, available=False)
    bench = Bench(tmp_path, MemoryEngine("one", PYTHON, one_each), late)
    bench.write("a.py", "b.py")
    first = await bench.scan()
    late.available = True
    second = await bench.scan(resume=first.id)
    assert [len(request.files) for request in late.requests] == [2]
    assert "Credentials in files" not in gaps(second)
    assert second.counts.high == 2


async def test_a_scan_is_resumed_only_by_the_same_request(tmp_path: Path) -> None:
    bench = Bench(tmp_path, MemoryEngine("one", PYTHON))
    bench.write("a.py")
    first = await bench.scan()
    with pytest.raises(CallerError, match="only be continued with the same") as caught:
        await bench.scan(resume=first.id, paths=("a.py",))
    assert caught.value.argument == "resume"
    with pytest.raises(NotFound) as missing:
        await bench.scan(resume="scan_none")
    assert missing.value.argument == "resume"


async def test_a_scan_that_runs_cannot_be_resumed_at_the_same_time(tmp_path: Path) -> None:
    bench = Bench(tmp_path, MemoryEngine("one", PYTHON))
    bench.write("a.py")
    first = await bench.scan()
    async with bench.store.claim(first.id):
        with pytest.raises(CallerError, match="still running"):
            await bench.scan(resume=first.id)


async def test_a_scan_belongs_to_who_made_it_and_to_administrators(tmp_path: Path) -> None:
    bench = Bench(tmp_path, MemoryEngine("one", PYTHON, one_each))
    bench.write("a.py")
    mine, theirs = await bench.scan(), await bench.scan(principal=CI)
    for call in (
        open_scan(bench.store, mine.id, CI),
        list_findings(bench.store, mine.id, CI, FindingQuery(), None, 10),
        bench.scan(resume=mine.id, principal=CI),
    ):
        with pytest.raises(NotFound, match=mine.id):
            await call
    assert [record.id for record in await list_scans(bench.store, CI)] == [theirs.id]
    assert {record.id for record in await list_scans(bench.store, LOCAL)} == {mine.id, theirs.id}
    assert (await open_scan(bench.store, theirs.id, LOCAL)).owner == CI.id


async def test_latest_passes_over_scans_that_were_interrupted(tmp_path: Path) -> None:
    bench = Bench(tmp_path, MemoryEngine("one", PYTHON, one_each))
    bench.write("a.py")
    finished, interrupted = await bench.scan(), await bench.scan()
    await bench.store.update(interrupted.model_copy(update={"state": "running"}))
    assert await scan_id_of(bench.store, "latest", LOCAL) == finished.id


async def test_a_scans_life_is_in_the_log_under_its_owners_name(tmp_path: Path) -> None:
    bench = Bench(tmp_path, MemoryEngine("one", frozenset({"secrets"})))
    bench.write("a.py", "b.py")

    record = await bench.scan(correlation_id="run_1")
    (tmp_path / "repo" / "c.py").write_text("# new\n")
    await bench.scan(resume=record.id, correlation_id="call_2")

    told = await bench.events.read_stream(f"qsecure.scan/{record.id}")
    assert [event.type for event in told] == [
        "qsecure.scan.started.v1",
        "qsecure.scan.completed.v1",
        "qsecure.scan.resumed.v1",
        "qsecure.scan.completed.v1",
    ]
    assert {event.principal for event in told} == {LOCAL.id}
    assert [event.correlation_id for event in told] == ["run_1", "run_1", "call_2", "call_2"]
    assert told[1].data["files"] == 2
