"""Python source through ruff's S rules (flake8-bandit's, in Rust).

Only stable rules run; the preview ones flag imports. Ruff's caches and every configuration file of the scanned
repository are left out of account. `noqa` comments do not hide anything: ruff runs with and without them, and
what they silence is marked as suppressed. In test files asserts are not reported, and the rest has low confidence:
what a test does to itself is rarely an attack.
"""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import anyio
import anyio.to_thread
import orjson

from quantum_suite.core.engines import EngineStatus
from quantum_suite.core.errors import EngineError, EngineMissing
from quantum_suite.core.findings import Confidence, Region, Severity
from quantum_suite.core.scans import Scanner
from quantum_suite.services.code_scanning.interface import EngineReport, EngineRequest, RawFinding, StagedFile
from quantum_suite.services.code_scanning.locate_program import locate_program
from quantum_suite.services.code_scanning.rule_book import RuleBook
from quantum_suite.services.process import ProcessError, run
from quantum_suite.services.scans.interface import UnassessedFile

NAME = "ruff"
INSTALL = "pip install ruff"

_ARGUMENTS = (
    "check",
    "--isolated",
    "--no-cache",
    "--no-fix",
    "--exit-zero",
    "--quiet",
    "--select=S",
    "--output-format=json",
    # The newest grammar: a file is bad syntax only if no Python reads it.
    "--target-version=py314",
)
_SYNTAX = "invalid-syntax"
# How ruff words a shell command that is a constant.
_SEEMS_SAFE = "seems safe"
_CREDENTIALS = frozenset({"S105", "S106", "S107"})
_PLAIN_WORD = re.compile(r"""(["'])[A-Za-z]+(?:[-_ .:/][A-Za-z]+)*\1$""")
_TEST_DIRECTORIES = frozenset({"test", "tests", "testing"})


class RuffSecurityEngine:
    """Runs the ruff that is installed beside the suite."""

    name = NAME
    scanners: frozenset[Scanner] = frozenset({"python"})

    def __init__(self, rules: RuleBook) -> None:
        self._rules = rules

    def status(self) -> EngineStatus:
        program = locate_program("ruff", "ruff")
        return EngineStatus(
            name=NAME,
            provides="insecure patterns in Python source",
            available=program is not None,
            version=program.distribution_version if program else None,
            location=str(program.path) if program else None,
            problem=None if program else "ruff is not installed",
            install_command=None if program else INSTALL,
        )

    def wants(self, file: StagedFile, scanners: frozenset[Scanner]) -> bool:
        return file.is_python and "python" in scanners

    async def scan(self, request: EngineRequest) -> EngineReport:
        files = [file for file in request.files if self.wants(file, request.scanners)]
        if not files:
            return EngineReport((), frozenset())
        program = locate_program("ruff", "ruff")
        if program is None:
            raise EngineMissing("ruff is not installed.", INSTALL, engine=NAME)
        paths = [f"./{file.staged}" for file in files]
        everything = [str(program.path), *_ARGUMENTS, "--ignore-noqa", "--", *paths]
        audible = [str(program.path), *_ARGUMENTS, "--", *paths]
        printed = await _run_both(everything, audible, request)
        return await anyio.to_thread.run_sync(self._read, request, files, *printed)

    def _read(
        self, request: EngineRequest, files: Sequence[StagedFile], everything: bytes, audible: bytes
    ) -> EngineReport:
        heard = {_identity(row) for row in _rows(audible)}
        by_path = {str(request.root / file.staged): file for file in files}
        findings: list[RawFinding] = []
        unassessed: dict[str, UnassessedFile] = {}
        sources: dict[str, list[str]] = {}
        for row in _rows(everything):
            file = by_path[row["filename"]]
            if row["code"] in (_SYNTAX, "E902", None):
                unassessed.setdefault(file.staged, _unread(file, row))
            elif row["code"] != "S101" or not _is_test(file.path):
                if file.staged not in sources:
                    sources[file.staged] = (request.root / file.staged).read_text("utf-8", "replace").split("\n")
                silent = _identity(row) not in heard
                findings.append(self._finding(file, row, sources[file.staged], suppressed=silent))
        return EngineReport(
            findings,
            frozenset(file.staged for file in files if file.staged not in unassessed),
            list(unassessed.values()),
        )

    def _finding(
        self, file: StagedFile, row: dict[str, Any], lines: Sequence[str], *, suppressed: bool
    ) -> RawFinding:
        code = row["code"]
        rule = self._rules.python.get(code)
        severity = rule.severity if rule else Severity.MEDIUM
        if _SEEMS_SAFE in row["message"] or (code in _CREDENTIALS and _is_plain_word(lines, row)):
            severity = Severity.LOW
        return RawFinding(
            engine=NAME,
            rule_id=code,
            kind="code",
            family=(rule.family if rule else None) or code,
            title=rule.title if rule else row["name"].replace("-", " "),
            message=row["message"],
            severity=severity,
            confidence=rule.confidence if rule and not _is_test(file.path) else Confidence.LOW,
            staged=file.staged,
            region=Region(
                start_line=row["location"]["row"],
                start_column=row["location"]["column"],
                end_line=row["end_location"]["row"],
                end_column=row["end_location"]["column"],
            ),
            cwe=rule.cwe if rule else (),
            remediation=rule.remediation if rule else None,
            references=(row["url"],) if row["url"] else (),
            suppressed=suppressed,
        )


async def _run_both(first: list[str], second: list[str], request: EngineRequest) -> tuple[bytes, bytes]:
    printed: dict[int, bytes] = {}

    async def keep(number: int, command: list[str]) -> None:
        printed[number] = await _run(command, request)

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(keep, 0, first)
            group.start_soon(keep, 1, second)
    except* EngineError as errors:
        # Both runs are the same engine on the same files: one reason is enough.
        raise errors.exceptions[0] from None
    return printed[0], printed[1]


async def _run(command: list[str], request: EngineRequest) -> bytes:
    try:
        done = await run(
            command,
            cwd=request.root,
            timeout_seconds=request.timeout_seconds,
            max_output_bytes=request.max_output_bytes,
        )
    except ProcessError as error:
        raise error.as_engine_error(NAME) from error
    if done.returncode != 0:
        raise EngineError(
            f"ruff ended with status {done.returncode}.",
            "Check that this ruff runs by itself, or reinstall it: " + INSTALL,
            engine=NAME,
            printed=done.stderr_tail,
        )
    return done.stdout


def _rows(printed: bytes) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = orjson.loads(printed)
    except orjson.JSONDecodeError as error:
        raise EngineError("ruff printed no JSON.", "Reinstall it: " + INSTALL, engine=NAME) from error
    return rows


def _identity(row: dict[str, Any]) -> tuple[str, str | None, int, int]:
    return row["filename"], row["code"], row["location"]["row"], row["location"]["column"]


def _unread(file: StagedFile, row: dict[str, Any]) -> UnassessedFile:
    what = "Python source with bad syntax" if row["code"] != "E902" else "Python source that cannot be read"
    return UnassessedFile(file.path, what, "ruff cannot parse it, so no rule looked at it")


def _is_plain_word(lines: Sequence[str], row: dict[str, Any]) -> bool:
    """Whether the literal is plain words without a digit, such as "bearer": rather a label than a secret."""
    start, end = row["location"], row["end_location"]
    if start["row"] != end["row"] or start["row"] > len(lines):
        return False
    literal = lines[start["row"] - 1][start["column"] - 1 : end["column"] - 1]
    return _PLAIN_WORD.search(literal) is not None


def _is_test(path: str) -> bool:
    parts = PurePosixPath(path)
    return (
        not _TEST_DIRECTORIES.isdisjoint(parts.parts[:-1])
        or parts.name.startswith("test_")
        or parts.name.endswith("_test.py")
        or parts.name == "conftest.py"
    )
