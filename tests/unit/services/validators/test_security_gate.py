from pathlib import Path

import pytest
from reference.judging import Files, open_court, write_project

from quantum_suite.core.errors import EngineError
from quantum_suite.core.scans import Scanner
from quantum_suite.core.verdicts import GateReport, Outcome
from quantum_suite.services.code_scanning.interface import Engine, EngineReport, EngineRequest
from quantum_suite.services.code_scanning.memory import MemoryEngine
from quantum_suite.services.code_scanning.ruff_security import RuffSecurityEngine
from quantum_suite.services.code_scanning.rule_book import RuleBook
from quantum_suite.services.code_scanning.trivy import TrivyEngine
from quantum_suite.services.validators.safeguards import SafeguardsValidator
from quantum_suite.services.validators.security import SecurityValidator

pytestmark = pytest.mark.anyio

SHELL = "import subprocess\n\n\ndef f(x):\n    subprocess.run(x, shell=True)\n"
# Made up of two, so that no scanner takes this file for one with a key.
KEY = "AKIA" + "Z7QXW4N2MBL5TRKD"


async def checked(tmp_path: Path, before: Files, after: Files, *engines: Engine) -> GateReport:
    async with open_court(tmp_path / "court") as court:
        root = write_project(tmp_path / "project", {"README": "x", **before})
        rules = RuleBook()
        real = (TrivyEngine(rules, tmp_path / "trivy"), RuffSecurityEngine(rules))
        judgement = await court.judge(root, dict(after), SecurityValidator(engines or real, tmp_path))
    report = judgement.verdict.gate("security")
    assert report is not None
    return report


async def test_new_insecure_code_is_refused(tmp_path: Path) -> None:
    report = await checked(tmp_path, {}, {"a.py": SHELL})
    assert report.outcome is Outcome.FAILED
    assert report.problems[0].code == "S602"
    assert str(report.problems[0].location) == "a.py:5"


async def test_a_new_credential_is_refused_and_never_repeated(tmp_path: Path) -> None:
    report = await checked(tmp_path, {}, {"conf.env": f"AWS_ACCESS_KEY_ID={KEY}\n"})
    assert report.outcome is Outcome.FAILED
    assert str(report.problems[0].location) == "conf.env:1"
    assert KEY not in report.model_dump_json()


async def test_what_was_insecure_before_does_not_block(tmp_path: Path) -> None:
    report = await checked(tmp_path, {"a.py": SHELL}, {"a.py": "x = 1\n" + SHELL})
    assert report.outcome is Outcome.PASSED
    assert [problem.introduced for problem in report.problems] == [False]


async def test_what_a_comment_silences_is_advice(tmp_path: Path) -> None:
    report = await checked(tmp_path, {}, {"a.py": SHELL.replace("=True)", "=True)  # noqa: S602")})
    assert report.outcome is Outcome.PASSED
    assert "S602" in [problem.code for problem in report.problems if not problem.blocking]


async def test_odd_names_and_binaries_do_no_harm(tmp_path: Path) -> None:
    report = await checked(tmp_path, {}, {"a\u202eb.py": SHELL, "x.bin": b"\x00\x01" * 50, "-rf": "x\n"})
    assert report.outcome is Outcome.FAILED
    location = report.problems[0].location
    assert location is not None
    assert location.path == "a\u202eb.py"


async def test_a_scanner_that_fails_is_named_beside_what_the_others_found(tmp_path: Path) -> None:
    async def broken(request: EngineRequest) -> EngineReport:
        raise EngineError("it crashed", engine="broken")

    scanners: frozenset[Scanner] = frozenset({"secrets"})
    engines = (MemoryEngine("broken", scanners, broken), RuffSecurityEngine(RuleBook()))
    report = await checked(tmp_path, {}, {"a.py": SHELL}, *engines)
    assert report.outcome is Outcome.FAILED
    assert any("it crashed" in note for note in report.unassessed)


async def test_without_any_scanner_the_gate_is_not_assessed(tmp_path: Path) -> None:
    scanners: frozenset[Scanner] = frozenset({"secrets"})
    report = await checked(tmp_path, {}, {"a.py": SHELL}, MemoryEngine("gone", scanners, available=False))
    assert report.outcome is Outcome.NOT_ASSESSED
    assert report.install_command == "install gone"


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [
        ("def test_a(): ...\ndef test_b(): ...\n", "def test_b(): ...\n", "removed-test"),
        ("def test_a(): ...\n", "@pytest.mark.skip\ndef test_a(): ...\n", "skipped-test"),
        ("def test_a(): ...\n", "def test_a(): f()  # type: ignore\n", "silenced-check"),
    ],
)
async def test_a_change_that_weakens_what_it_is_judged_by_is_pointed_out(
    tmp_path: Path, before: str, after: str, code: str
) -> None:
    async with open_court(tmp_path / "court") as court:
        root = write_project(tmp_path / "project", {"tests/test_a.py": before})
        judgement = await court.judge(root, {"tests/test_a.py": after}, SafeguardsValidator())
    report = judgement.verdict.gate("safeguards")
    assert report is not None
    assert report.outcome is Outcome.PASSED
    assert [problem.code for problem in report.problems] == [code]


async def test_changed_rules_are_pointed_out_and_other_settings_are_not(tmp_path: Path) -> None:
    settings = "[project]\nname = 'x'\n[tool.ruff]\nline-length = 80\n"
    async with open_court(tmp_path / "court") as court:
        root = write_project(tmp_path / "project", {"pyproject.toml": settings})
        harmless = await court.judge(
            root, {"pyproject.toml": settings.replace("'x'", "'y'")}, SafeguardsValidator()
        )
        loosened = await court.judge(
            root, {"pyproject.toml": settings.replace("80", "300")}, SafeguardsValidator()
        )
    assert harmless.verdict.gates[1].problems == ()
    assert [problem.code for problem in loosened.verdict.gates[1].problems] == ["changed-rules"]
