"""Trivy for real, on small files."""

from pathlib import Path

import pytest
from planted.repositories import fake_github_token, fake_private_key

from quantum_suite.core.errors import EngineError, EngineMissing
from quantum_suite.core.findings import Confidence, Severity
from quantum_suite.core.scans import Scanner
from quantum_suite.services.code_scanning import trivy
from quantum_suite.services.code_scanning.interface import EngineReport, EngineRequest, StagedFile
from quantum_suite.services.code_scanning.locate_program import Program, locate_program
from quantum_suite.services.code_scanning.rule_book import RuleBook
from quantum_suite.services.code_scanning.trivy import DISTRIBUTION, TrivyEngine, refuse_version
from quantum_suite.services.installed_engines import embedded_version

pytestmark = pytest.mark.anyio

BOTH: tuple[Scanner, ...] = ("secrets", "misconfiguration")
MARKER = b"github.com/aquasecurity/trivy/pkg/version/app.ver="


async def scan(tmp_path: Path, files: dict[str, str], scanners: tuple[Scanner, ...] = BOTH) -> EngineReport:
    root, scratch = tmp_path / "root", tmp_path / "scratch"
    scratch.mkdir()
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    settings = (".tf", ".yaml", "Dockerfile")
    staged = [StagedFile(name, name, is_configuration=name.endswith(settings)) for name in files]
    request = EngineRequest(root, staged, frozenset(scanners), scratch, 60, 10_000_000)
    return await TrivyEngine(RuleBook(), tmp_path / "cache").scan(request)


def a_program(path: Path, script: str) -> Program:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return Program(path, "0.76.0.1")


async def test_a_secret_is_found_and_shown_masked(tmp_path: Path) -> None:
    token = fake_github_token()
    (finding,) = (await scan(tmp_path, {"a.env": f"x=1\nGITHUB_TOKEN={token}\n"})).findings
    assert (finding.rule_id, finding.kind, finding.cwe) == ("github-pat", "secret", (798,))
    assert (finding.severity, finding.confidence) == (Severity.CRITICAL, Confidence.HIGH)
    assert finding.region is not None
    assert finding.region.start_line == 2
    assert set(finding.masked_lines) == {2}
    assert token not in str(finding)


async def test_a_private_key_is_a_hard_coded_cryptographic_key(tmp_path: Path) -> None:
    (finding,) = (await scan(tmp_path, {"k.pem": fake_private_key()[0]})).findings
    assert finding.cwe == (321, 798)


@pytest.mark.parametrize(
    "path", ["tests/a.env", "examples/a.env", "README.md", "vendor/a.env", "usr/share/a.env", "locale/a.env"]
)
async def test_secrets_are_found_where_trivy_by_itself_would_not_look(tmp_path: Path, path: str) -> None:
    report = await scan(tmp_path, {path: f"GITHUB_TOKEN={fake_github_token()}\n"}, ("secrets",))
    assert [finding.rule_id for finding in report.findings] == ["github-pat"]


async def test_a_secret_in_a_test_has_low_confidence(tmp_path: Path) -> None:
    report = await scan(tmp_path, {"tests/a.env": f"GITHUB_TOKEN={fake_github_token()}\n"}, ("secrets",))
    assert report.findings[0].confidence is Confidence.LOW


async def test_lock_files_are_said_not_to_be_searched(tmp_path: Path) -> None:
    report = await scan(tmp_path, {"package-lock.json": "{}", "a.txt": ""}, ("secrets",))
    assert [row.path for row in report.unassessed] == ["package-lock.json"]
    assert report.assessed == {"a.txt"}


async def test_misconfigurations_are_found_with_place_reason_and_remedy(tmp_path: Path) -> None:
    text = 'resource "aws_security_group_rule" "r" {\n  type = "ingress"\n  cidr_blocks = ["0.0.0.0/0"]\n'
    text += '  from_port = 22\n  to_port = 22\n  protocol = "tcp"\n  security_group_id = "x"\n}\n'
    report = await scan(tmp_path, {"infra/main.tf": text}, ("misconfiguration",))
    worst = next(finding for finding in report.findings if finding.rule_id == "AWS-0107")
    assert (worst.staged, worst.severity, worst.cwe) == ("infra/main.tf", Severity.HIGH, (284,))
    assert worst.region is not None
    assert worst.region.start_line == 3
    assert worst.why
    assert worst.remediation
    assert worst.references


async def test_only_what_was_asked_for_is_reported(tmp_path: Path) -> None:
    files = {"Dockerfile": "FROM a:latest\n", "a.env": f"T={fake_github_token()}\n"}
    secrets = await scan(tmp_path, files, ("secrets",))
    assert {finding.kind for finding in secrets.findings} == {"secret"}


async def test_without_settings_the_checks_are_not_even_started(tmp_path: Path) -> None:
    report = await scan(tmp_path, {"a.txt": "x"}, ("misconfiguration",))
    assert (list(report.findings), report.assessed) == ([], frozenset())


async def test_neither_the_repositorys_files_nor_the_environment_change_what_is_scanned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIVY_SEVERITY", "LOW")
    monkeypatch.setenv("TRIVY_SKIP_FILES", "**")
    report = await scan(
        tmp_path,
        {
            "a.env": f"GITHUB_TOKEN={fake_github_token()}\n",
            "trivy.yaml": "severity: [LOW]\nscan:\n  skip-files: ['**']\n",
            ".trivyignore": "github-pat\n",
            "trivy-secret.yaml": "disable-rules: [github-pat]\n",
        },
        ("secrets",),
    )
    assert [finding.rule_id for finding in report.findings] == ["github-pat"]


async def test_a_crash_is_an_error_that_shows_what_was_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = a_program(tmp_path / "trivy", "echo boom >&2; exit 2")
    monkeypatch.setattr(trivy, "locate_program", lambda *_: broken)
    with pytest.raises(EngineError, match="status 2") as caught:
        await scan(tmp_path, {"a.txt": "x"})
    assert (caught.value.engine, caught.value.printed) == ("trivy", "boom")


async def test_output_that_is_no_json_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = a_program(tmp_path / "trivy", "echo hello")
    monkeypatch.setattr(trivy, "locate_program", lambda *_: broken)
    with pytest.raises(EngineError, match="no JSON"):
        await scan(tmp_path, {"a.txt": "x"})


@pytest.mark.parametrize("version", ["0.69.4", "0.69.5", "0.69.6"])
async def test_a_malicious_release_is_refused_without_being_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    witness = tmp_path / "started"
    program = a_program(tmp_path / "trivy", f"touch {witness}")
    with program.path.open("ab") as file:
        file.write(b"# -X " + MARKER + version.encode() + b'"\n')
    monkeypatch.setattr(trivy, "locate_program", lambda *_: Program(program.path, None))
    status = TrivyEngine(RuleBook(), tmp_path).status()
    assert (status.available, status.version) == (False, version)
    assert status.problem is not None
    assert "malicious" in status.problem
    with pytest.raises(EngineMissing, match="malicious"):
        await scan(tmp_path, {"a.txt": "x"})
    # A distribution that calls itself harmless is looked into as well.
    monkeypatch.setattr(trivy, "locate_program", lambda *_: Program(program.path, "0.76.0.1"))
    (tmp_path / "scratch").rmdir()
    with pytest.raises(EngineMissing, match="malicious"):
        await scan(tmp_path, {"a.txt": "x"})
    assert not witness.exists()


@pytest.mark.parametrize(
    ("version", "reason"), [("0.69.4", "malicious"), ("0.50.1", "oldest"), (None, "without being run")]
)
def test_versions_that_must_not_run_are_refused_with_the_reason(version: str | None, reason: str) -> None:
    assert reason in (refuse_version(version) or "")


@pytest.mark.parametrize("version", ["0.76.0", "0.69.3", "0.69.7", "1.0.0"])
def test_other_versions_may_run(version: str) -> None:
    assert refuse_version(version) is None


def test_a_missing_trivy_is_said_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trivy, "locate_program", lambda *_: None)
    status = TrivyEngine(RuleBook(), tmp_path).status()
    assert (status.available, status.install_command) == (False, "pip install 'quantum-suite[trivy]'")


def test_the_installed_trivy_is_found_and_says_the_same_version_twice() -> None:
    program = locate_program("trivy", DISTRIBUTION)
    assert program is not None
    assert program.distribution_version is not None
    assert program.distribution_version.startswith(embedded_version(program.path, MARKER) or "nothing")
