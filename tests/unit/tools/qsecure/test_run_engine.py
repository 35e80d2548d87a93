"""How an engine that fails on a part is run on smaller pieces of it."""

import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from quantum_suite.core.errors import EngineError, EngineMissing
from quantum_suite.core.findings import Confidence, Region, Severity
from quantum_suite.core.scans import Scanner
from quantum_suite.services.code_scanning.interface import EngineReport, EngineRequest, RawFinding, StagedFile
from quantum_suite.services.code_scanning.locate_program import locate_program
from quantum_suite.services.code_scanning.memory import MemoryEngine
from quantum_suite.services.code_scanning.rule_book import RuleBook
from quantum_suite.services.code_scanning.trivy import DISTRIBUTION, TrivyEngine
from quantum_suite.tools.qsecure.run_engine import ExtraRuns, halve_files, run_engine

pytestmark = pytest.mark.anyio

APART = "References between infrastructure settings"
BOTH: frozenset[Scanner] = frozenset({"secrets", "misconfiguration"})
Report = Callable[[EngineRequest], Awaitable[EngineReport]]


def staged(*names: str) -> list[StagedFile]:
    return [StagedFile(name, name, is_configuration=name.endswith(".tf")) for name in names]


def a_request(tmp_path: Path, *names: str, text: str = "x\n", max_output_bytes: int = 10_000_000) -> EngineRequest:
    root, scratch = tmp_path / "files", tmp_path / "scratch"
    scratch.mkdir()
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return EngineRequest(root, staged(*names), BOTH, scratch, 60, max_output_bytes)


async def one_each(request: EngineRequest) -> EngineReport:
    """Report every file that lies in the directory, as an engine does that walks it by itself."""
    names = sorted(str(path.relative_to(request.root)) for path in request.root.rglob("*") if path.is_file())
    findings = [
        RawFinding(
            "memory",
            "R",
            "code",
            "R",
            "t",
            "m",
            Severity.HIGH,
            Confidence.HIGH,
            name,
            Region(start_line=1, end_line=1),
        )
        for name in names
    ]
    return EngineReport(findings, frozenset(names))


def failing_when(fails: Callable[[EngineRequest], bool], error: Exception) -> Report:
    async def scan(request: EngineRequest) -> EngineReport:
        if fails(request):
            raise error
        return await one_each(request)

    return scan


def found(report: EngineReport) -> list[str]:
    return sorted(finding.staged for finding in report.findings)


def poisoned(name: str) -> Callable[[EngineRequest], bool]:
    return lambda request: any(file.staged == name for file in request.files)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (EngineError("memory took too long.", engine="memory"), "memory took too long"),
        (KeyError("x"), "memory printed something unexpected (KeyError). Please report this"),
    ],
)
async def test_one_poisoned_file_costs_only_itself(tmp_path: Path, error: Exception, reason: str) -> None:
    names = [f"d{n % 3}/{n:02}.py" for n in range(20)]
    engine = MemoryEngine("memory", BOTH, failing_when(poisoned("d1/07.py"), error))
    request = a_request(tmp_path, *names)
    report = await run_engine(engine, request, ExtraRuns(100, 100))
    assert found(report) == sorted(set(names) - {"d1/07.py"})
    assert report.assessed == set(names) - {"d1/07.py"}
    assert [(row.path, row.reason, row.retry) for row in report.unassessed] == [("d1/07.py", reason, True)]
    assert len(engine.requests) < 12
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files", "scratch"]


async def test_a_part_that_is_too_much_at_once_is_scanned_whole_in_pieces(tmp_path: Path) -> None:
    names = [f"{n:02}.py" for n in range(17)]
    error = EngineError("memory printed more than it may.", engine="memory")
    engine = MemoryEngine("memory", BOTH, failing_when(lambda request: len(request.files) > 3, error))
    report = await run_engine(engine, a_request(tmp_path, *names), ExtraRuns(100, 100))
    assert found(report) == names
    assert report.unassessed == []
    assert all(request.timeout_seconds <= 60 for request in engine.requests)


async def test_settings_checked_apart_are_said_to_be(tmp_path: Path) -> None:
    error = EngineError("memory failed.", engine="memory")
    engine = MemoryEngine("memory", BOTH, failing_when(poisoned("c.py"), error))
    whole = await run_engine(engine, a_request(tmp_path, "a/a.tf", "a/b.tf", "c.py"), ExtraRuns(100, 100))
    assert [(row.path, row.what) for row in whole.unassessed if row.what == APART] == []
    (tmp_path / "other").mkdir()
    engine = MemoryEngine("memory", BOTH, failing_when(lambda request: len(request.files) > 2, error))
    apart = await run_engine(
        engine, a_request(tmp_path / "other", "a/a.tf", "a/b.tf", "b/c.tf", "c.py"), ExtraRuns(100, 100)
    )
    assert sorted(row.path for row in apart.unassessed if row.what == APART) == ["a/a.tf", "a/b.tf", "b/c.tf"]


@pytest.mark.parametrize(("runs", "seconds"), [(5, 100.0), (100, 0.0)])
async def test_an_engine_that_always_fails_is_not_run_without_end(
    tmp_path: Path, runs: int, seconds: float
) -> None:
    names = [f"{n:02}.py" for n in range(64)]
    engine = MemoryEngine(
        "memory", BOTH, failing_when(lambda _: True, EngineError("memory failed.", engine="memory"))
    )
    report = await run_engine(engine, a_request(tmp_path, *names), ExtraRuns(runs, seconds))
    assert len(engine.requests) == (6 if seconds else 1)
    assert sorted(row.path for row in report.unassessed) == names
    assert all("memory failed. It failed on these files together" in row.reason for row in report.unassessed)


async def test_a_missing_engine_is_not_tried_again(tmp_path: Path) -> None:
    error = EngineMissing("memory is gone.", "install memory", engine="memory")
    engine = MemoryEngine("memory", BOTH, failing_when(lambda _: True, error))
    report = await run_engine(engine, a_request(tmp_path, "a.py", "b.py"), ExtraRuns(100, 100))
    assert len(engine.requests) == 1
    assert [row.command for row in report.unassessed] == ["install memory"] * 2


@pytest.mark.parametrize(
    ("names", "first"),
    [
        (["a/1", "a/2", "a/3", "b/1"], ["a/1", "a/2", "a/3"]),
        (["m/a/1", "m/a/2", "m/b/1", "m/c/1"], ["m/a/1", "m/a/2"]),
        (["c/Chart.yaml", "c/templates/1", "c/values.yaml"], ["c/Chart.yaml", "c/values.yaml"]),
        (["1", "2", "3", "4"], ["1", "2"]),
        (["ab/1", "abc/1", "abc/2"], ["ab/1"]),
        (["d/1", "d/2"], ["d/1"]),
    ],
)
def test_directories_stay_together_while_there_are_several(names: list[str], first: list[str]) -> None:
    one, two = halve_files(staged(*names))
    assert [file.staged for file in one] == first
    assert sorted(file.staged for file in [*one, *two]) == sorted(names)


async def test_trivy_finds_everything_in_settings_whose_report_is_too_large_at_once(tmp_path: Path) -> None:
    bucket = 'resource "aws_s3_bucket" "b" {\n  bucket = "x"\n}\n'
    names = [f"module{n}/main.tf" for n in range(2)]
    trivy = TrivyEngine(RuleBook(), tmp_path / "cache")
    # One such module makes a report of about 21 kB, two make one of 41 kB.
    request = a_request(tmp_path, *names, text=bucket, max_output_bytes=30_000)
    with pytest.raises(EngineError, match="more than"):
        await trivy.scan(request)
    extra = ExtraRuns(100, 100)
    report = await run_engine(trivy, request, extra)
    assert extra.runs < 100
    by_file = {name: {f.rule_id for f in report.findings if f.staged == name} for name in names}
    assert "AWS-0086" in by_file[names[0]]
    assert all(rules == by_file[names[0]] for rules in by_file.values())
    assert {row.what for row in report.unassessed} == {APART}


async def test_a_file_trivy_dies_of_costs_only_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = locate_program("trivy", DISTRIBUTION)
    assert real is not None
    script = tmp_path / "trivy"
    script.write_text(f'#!/bin/sh\n[ -e poison.tf ] && {{ echo dead >&2; exit 2; }}\nexec "{real.path}" "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    wrapped = type(real)(script, real.distribution_version)
    monkeypatch.setattr("quantum_suite.services.code_scanning.trivy.locate_program", lambda *_: wrapped)
    request = a_request(tmp_path, "poison.tf", "good.tf", text='resource "aws_s3_bucket" "b" {}\n')
    report = await run_engine(TrivyEngine(RuleBook(), tmp_path / "cache"), request, ExtraRuns(100, 100))
    assert {finding.staged for finding in report.findings} == {"good.tf"}
    (row,) = [row for row in report.unassessed if row.path == "poison.tf"]
    assert "trivy ended with status 2. It printed: dead" in row.reason
