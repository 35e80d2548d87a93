"""What Jest and Vitest have in common: one command, and a report in Jest's form at its end."""

import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import anyio
import anyio.to_thread

from quantum_suite.core.errors import CallerError
from quantum_suite.core.masking import mask_text
from quantum_suite.services.sandbox.interface import Sandbox, SandboxCommand, SandboxRun
from quantum_suite.services.testing.interface import CaseOutcome, FileCoverage, TestCase, TestRequest, TestRun
from quantum_suite.services.testing.javascript_coverage import from_istanbul
from quantum_suite.services.testing.junit_xml import junit_xml
from quantum_suite.services.testing.node_programs import (
    depends_on,
    find_node,
    package_of,
    readable_for_node,
    script_of,
)
from quantum_suite.services.testing.python_runner import Progress, text_tail

LONGEST_MESSAGE = 6_000
LARGEST_REPORT = 256 * 1024 * 1024
_OUTCOMES: dict[str, CaseOutcome] = {
    "passed": "passed",
    "failed": "failed",
    "skipped": "skipped",
    "pending": "skipped",
    "todo": "skipped",
    "disabled": "skipped",
}
_ANSI = re.compile("\x1b\\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Program:
    """How one framework is called."""

    name: str
    script: str
    """Path of its program below its package."""
    options: Callable[[TestRequest, Path], list[str]]
    """The options for a request, with a folder to write `report.json` and `coverage/` to."""


class JestLikeRunner:
    """Runs a framework that reports in Jest's form; see `Runner`."""

    def __init__(self, sandbox: Sandbox, program: Program, node: Path | None = None) -> None:
        self._sandbox = sandbox
        self._program = program
        self._node = node

    @property
    def name(self) -> str:
        """Return the framework's name."""
        return self._program.name

    def detect(self, root: Path) -> str | None:
        """Return why: `package.json` depends on it, or its test script calls it."""
        return depends_on(root, self.name)

    async def run(self, request: TestRequest, progress: Progress | None = None) -> TestRun:
        """Run tests in the sandbox; see `Runner.run`. Results come at the end: a run that is ended has none."""
        started = time.monotonic()
        node = find_node(self._node)
        script = script_of(request.root, self.name, self._program.script)
        missing = [name for name in request.select if not (request.root / name.split(" > ")[0]).exists()]
        if missing:
            raise CallerError(f"There is no '{missing[0]}'.", "Name files below the root.", argument="select")
        # Below the root: what a framework writes outside of it, some refuse to serve.
        work = Path(await anyio.to_thread.run_sync(lambda: tempfile.mkdtemp(prefix=".tests-", dir=request.root)))
        try:
            end = await self._sandbox.run(
                SandboxCommand(
                    command=[str(node), str(script), *self._program.options(request, work), *request.arguments],
                    cwd=request.root,
                    writable=[request.root],
                    readable=[*readable_for_node(request.root, node), *request.readable],
                    env={"CI": "1", "NO_COLOR": "1", "NODE_ENV": "test"},
                    limits=request.limits,
                )
            )
            report = await anyio.to_thread.run_sync(_read, work / "report.json")
            measured = await anyio.to_thread.run_sync(_read, work / "coverage" / "coverage-final.json")
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(lambda: shutil.rmtree(work, ignore_errors=True))
        run = self._result(request, end, report, measured, time.monotonic() - started)
        if progress is not None:
            await progress(len(run.cases), len(run.cases), f"{self.name} {run.ended}")
        return run

    def _result(
        self,
        request: TestRequest,
        end: SandboxRun,
        report: dict[str, Any],
        measured: dict[str, Any],
        seconds: float,
    ) -> TestRun:
        skip = set(request.skip)
        asked = [name for name in request.select if " > " in name]
        files = {name for name in request.select if " > " not in name}
        cases = [
            case
            for case in _cases(report, request.root)
            if case.id not in skip
            and (not asked or case.id in asked or case.path in files or case.id == case.path)
        ]
        wanted = request.coverage or request.contexts
        coverage = _coverage(measured, request.root) if wanted else ()
        return TestRun(
            runner=self.name,
            runner_version=str(_version(request.root, self.name)),
            cases=tuple(cases),
            ended=_ended(end, report, cases),
            isolation=end.isolation,
            seconds=seconds,
            output_tail=text_tail([replace(end, stderr=end.stdout + b"\n" + end.stderr)]),
            coverage=coverage,
            junit_xml=junit_xml(self.name, cases, seconds),
            explanation=end.explanation if report else f"It left no report. {end.explanation}",
            coverage_problem=self._coverage_problem(request, coverage) if wanted else None,
        )

    def _coverage_problem(self, request: TestRequest, coverage: Sequence[FileCoverage]) -> str | None:
        if not coverage:
            needs = "; install it with `npm install -D @vitest/coverage-v8`" if self.name == "vitest" else ""
            return f"{self.name} wrote no coverage{needs}"
        return f"{self.name} does not tell which test reached a line" if request.contexts else None


def names_pattern(request: TestRequest) -> list[str]:
    """Return the option that keeps to the tests selected by id; none when whole files are."""
    if not request.select or any(" > " not in name for name in request.select):
        return []
    titles = (re.escape(" ".join(name.split(" > ")[1:])) for name in request.select)
    return ["-t", f"^(?:{'|'.join(titles)})$"]


def files_of(request: TestRequest) -> list[str]:
    """Return the files that the selection names."""
    return list(dict.fromkeys(name.split(" > ")[0] for name in request.select))


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST_REPORT:
            return {}
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _coverage(measured: dict[str, Any], root: Path) -> tuple[FileCoverage, ...]:
    try:
        return from_istanbul(measured, str(root))
    except (KeyError, TypeError, ValueError, AttributeError):
        return ()


def _version(root: Path, name: str) -> Any:
    return package_of(root / "node_modules" / name).get("version", "")


def _cases(report: dict[str, Any], root: Path) -> Iterator[TestCase]:
    for file in report.get("testResults", ()):
        path = Path(str(file.get("name", "")))
        shown = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
        tests = file.get("assertionResults") or []
        if not tests and file.get("status") == "failed":
            yield TestCase(shown, "error", message=_message([file.get("message")]), path=shown)
        for test in tests:
            place = test.get("location") or {}
            yield TestCase(
                " > ".join([shown, *map(str, test.get("ancestorTitles", ())), str(test.get("title"))]),
                _OUTCOMES.get(str(test.get("status")), "error"),
                float(test.get("duration") or 0) / 1000,
                _message(test.get("failureMessages") or ()),
                shown,
                place.get("line") if isinstance(place.get("line"), int) else None,
            )


def _message(parts: Sequence[Any]) -> str:
    return mask_text(_ANSI.sub("", "\n".join(map(str, parts)))[:LONGEST_MESSAGE])


def _ended(
    end: SandboxRun, report: dict[str, Any], cases: Sequence[TestCase]
) -> Literal["finished", "timeout", "crashed", "no_tests", "collection_error"]:
    if end.ended_by == "timeout":
        return "timeout"
    if any(case.id == case.path for case in cases):
        return "collection_error"
    if cases:
        return "finished"
    return "no_tests" if report or b"o test" in end.stdout + end.stderr else "crashed"
