"""Ruff for real, on small files."""

from pathlib import Path

import pytest

from quantum_suite.core.errors import EngineError, EngineMissing
from quantum_suite.core.findings import Confidence, Severity
from quantum_suite.services.code_scanning import ruff_security
from quantum_suite.services.code_scanning.interface import EngineReport, EngineRequest, RawFinding, StagedFile
from quantum_suite.services.code_scanning.locate_program import Program
from quantum_suite.services.code_scanning.ruff_security import RuffSecurityEngine
from quantum_suite.services.code_scanning.rule_book import RuleBook

pytestmark = pytest.mark.anyio


async def scan(tmp_path: Path, files: dict[str, str], *, max_output_bytes: int = 1_000_000) -> EngineReport:
    root, scratch = tmp_path / "root", tmp_path / "scratch"
    scratch.mkdir()
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    staged = [StagedFile(f"shown/{name}", name, is_python=not name.endswith(".txt")) for name in files]
    request = EngineRequest(root, staged, frozenset({"python"}), scratch, 60, max_output_bytes)
    return await RuffSecurityEngine(RuleBook()).scan(request)


def only(report: EngineReport) -> RawFinding:
    (finding,) = report.findings
    return finding


async def test_a_finding_carries_the_suites_own_cwe_severity_and_remedy(tmp_path: Path) -> None:
    finding = only(await scan(tmp_path, {"a.py": "import subprocess\nsubprocess.run('ls ' + x, shell=True)\n"}))
    assert (finding.rule_id, finding.cwe, finding.severity) == ("S602", (78,), Severity.HIGH)
    assert finding.region is not None
    assert (finding.region.start_line, finding.region.end_line) == (2, 2)
    assert finding.remediation
    assert finding.references


async def test_a_comment_does_not_hide_a_finding_but_marks_it(tmp_path: Path) -> None:
    quiet = await scan(
        tmp_path, {"a.py": "eval(x)  # noqa: S307\n", "b.py": "# ruff: noqa\neval(x)\n", "c.py": "eval(x)\n"}
    )
    assert {finding.staged: finding.suppressed for finding in quiet.findings} == {
        "a.py": True,
        "b.py": True,
        "c.py": False,
    }


async def test_the_repositorys_own_configuration_is_not_read(tmp_path: Path) -> None:
    silence = '[tool.ruff]\nexclude = ["*"]\n[tool.ruff.lint]\nignore = ["S"]\n'
    report = await scan(tmp_path, {"pyproject.toml": "", "build/a.py": "eval(x)\n"})
    assert len(report.findings) == 1
    (tmp_path / "root" / "pyproject.toml").write_text(silence)
    (tmp_path / "root" / "ruff.toml").write_text('lint.ignore = ["S"]\n')
    request = EngineRequest(
        tmp_path / "root",
        [StagedFile("build/a.py", "build/a.py", is_python=True)],
        frozenset({"python"}),
        tmp_path / "scratch",
        60,
        1_000_000,
    )
    assert len((await RuffSecurityEngine(RuleBook()).scan(request)).findings) == 1


async def test_bad_syntax_is_counted_once_for_a_file_and_new_syntax_is_none(tmp_path: Path) -> None:
    report = await scan(
        tmp_path,
        {"bad.py": "def f(:\n  pass\nclass\n", "new.py": "type X = int\nmatch x:\n    case 1: f(f'{'a'}')\n"},
    )
    assert [(row.path, row.what) for row in report.unassessed] == [
        ("shown/bad.py", "Python source with bad syntax")
    ]
    assert report.assessed == {"new.py"}


async def test_asserts_count_outside_tests_only_and_the_rest_of_a_test_has_low_confidence(tmp_path: Path) -> None:
    text = "assert x\neval(y)\n"
    report = await scan(tmp_path, {"a.py": text, "test_a.py": text, "tests/b.py": text})
    found = {(finding.staged, finding.rule_id): finding.confidence for finding in report.findings}
    assert found == {
        ("a.py", "S101"): Confidence.HIGH,
        ("a.py", "S307"): Confidence.MEDIUM,
        ("test_a.py", "S307"): Confidence.LOW,
        ("tests/b.py", "S307"): Confidence.LOW,
    }


async def test_plain_words_and_constant_commands_are_rated_low(tmp_path: Path) -> None:
    word = "hunter" + "2"
    report = await scan(
        tmp_path, {"a.py": f"import os\ntoken_type = 'bearer'\npassword = '{word}'\nos.system('/bin/true')\n"}
    )
    found = {finding.region.start_line: finding.severity for finding in report.findings if finding.region}
    assert found == {2: Severity.LOW, 3: Severity.MEDIUM, 4: Severity.LOW}


async def test_file_names_that_look_like_options_are_names(tmp_path: Path) -> None:
    report = await scan(
        tmp_path, {"-a.py": "eval(x)\n", "@b.py": "eval(x)\n", "c d.py": "eval(x)\n", "run": "eval(x)\n"}
    )
    assert {finding.staged for finding in report.findings} == {"-a.py", "@b.py", "c d.py", "run"}


async def test_too_much_output_is_an_error_that_names_the_engine(tmp_path: Path) -> None:
    with pytest.raises(EngineError) as caught:
        await scan(tmp_path, {"a.py": "eval(x)\n" * 100}, max_output_bytes=100)
    assert caught.value.engine == "ruff"


async def test_nothing_to_look_at_starts_nothing(tmp_path: Path) -> None:
    report = await scan(tmp_path, {"a.txt": "x"})
    assert (list(report.findings), report.assessed) == ([], frozenset())


async def test_a_missing_ruff_is_said_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ruff_security, "locate_program", lambda *_: None)
    status = RuffSecurityEngine(RuleBook()).status()
    assert (status.available, status.install_command) == (False, "pip install ruff")
    with pytest.raises(EngineMissing):
        await scan(tmp_path, {"a.py": ""})


async def test_a_ruff_that_breaks_is_an_error_that_shows_what_it_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "ruff"
    broken.write_text("#!/bin/sh\necho out of luck >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(ruff_security, "locate_program", lambda *_: Program(broken, "0"))
    with pytest.raises(EngineError, match="status 3") as caught:
        await scan(tmp_path, {"a.py": ""})
    assert caught.value.printed == "out of luck"


def test_the_installed_ruff_is_found_with_its_version() -> None:
    status = RuffSecurityEngine(RuleBook()).status()
    assert status.available
    assert status.version
    assert status.location
