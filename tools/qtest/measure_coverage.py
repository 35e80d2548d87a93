"""Measures what tests reach, ranks what they do not, and keeps the map of tests up to date."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.errors import CallerError
from quantum_suite.core.principals import Principal
from quantum_suite.core.verdicts import Isolation
from quantum_suite.services.process import ProcessError, run
from quantum_suite.services.sandbox.interface import Limits
from quantum_suite.services.testing.coverage_reports import cobertura, html_page, lcov, totals
from quantum_suite.services.testing.interface import FileCoverage, ReachMap, TestRun
from quantum_suite.services.testing.report_store import ReportStore
from quantum_suite.tools.qtest.project_copy import Progress, ProjectCopies
from quantum_suite.tools.qtest.rank_gaps import Gap, churn_of, rank_gaps
from quantum_suite.tools.qtest.run_answers import counts_of
from quantum_suite.tools.qtest.run_tests import report_uri

SHOWN_GAPS = 15
SHOWN_FILES = 30
_TESTS = re.compile(
    r"(?:^|/)(?:tests?|testing)/|(?:^|/)(?:test_[^/]*|[^/]*_test|conftest)\.py$|\.test\.[cm]?[jt]s$"
)
_HUNK = re.compile(r"^@@ -\d+(?:,\d+)? \+(\d+)(?:,(\d+))? @@")
_GIT_SECONDS = 20.0
_MOST_OUTPUT = 32 * 1024 * 1024


class CoveredFile(BaseModel):
    """How much of one file is reached."""

    model_config = ConfigDict(frozen=True)

    path: str = Field(description="The file.")
    line_rate: float = Field(description="Share of its lines that are reached, 0 to 1.")
    branch_rate: float = Field(description="Share of its branches that are taken, 0 to 1.")
    missing_lines: int = Field(description="Lines not reached.")


class CoverageAnswer(BaseModel):
    """What the tests reach, and what they do not."""

    model_config = ConfigDict(frozen=True)

    run: str = Field(description="The run's id.")
    assessed: bool = Field(description="Whether coverage was measured; the explanation says why not.")
    scope: str = Field(description="What the shares are of: all code, or the lines a diff changed.")
    line_rate: float | None = Field(description="Share of lines reached, 0 to 1; tests themselves left out.")
    branch_rate: float | None = Field(description="Share of branches taken, 0 to 1; for all code only.")
    lines: int = Field(description="Lines that could be reached.")
    gaps: tuple[Gap, ...] = Field(description="What is not reached, riskiest first.")
    more_gaps: int = Field(description="How many more gaps there are; the reports show them all.")
    files: tuple[CoveredFile, ...] = Field(description="Files, least covered first.")
    tests: dict[str, int] = Field(description="Tests by outcome: failing ones reach less than they would.")
    map_updated: bool = Field(description="Whether affected_tests knows this state of the project now.")
    isolation: Isolation = Field(description="How the tests were kept apart.")
    explanation: str = Field(description="How the run ended, and what was not assessed.")
    cobertura: str = Field(description="URI of the report in Cobertura XML.")
    lcov: str = Field(description="URI of the report in LCOV.")
    html: str = Field(description="URI of the report as a page.")


@dataclass(frozen=True, slots=True)
class CoverageMeter:
    """Measures coverage. One object serves every call."""

    copies: ProjectCopies
    reach: ReachMap
    reports: ReportStore

    async def measure(
        self,
        root: Path,
        diff_against: str | None,
        runner: str | None,
        processes: int,
        seconds: float,
        principal: Principal,
        progress: Progress,
    ) -> CoverageAnswer:
        """Run all tests of the project at `root` and say what they reach. Raises CallerError, EngineMissing."""
        only = await changed_lines(root, diff_against) if diff_against is not None else None
        churn = await churn_of(root)
        async with self.copies.copy(root, runner, "a coverage run", progress) as copy:
            request = replace(
                copy.request(), coverage=True, contexts=True, processes=processes, limits=Limits(seconds=seconds)
            )
            run_ = await copy.chosen.runner.run(request, progress)
            mapped = any(file.contexts for file in run_.coverage)
            if mapped:
                await self.reach.update(copy.origin, run_, copy.root)
            code = product_code(run_.coverage)
            gaps = await anyio.to_thread.run_sync(rank_gaps, copy.root, code, churn, only)
            page = await anyio.to_thread.run_sync(html_page, code, copy.root)
        sums = totals(code)
        reports = {
            "cobertura": cobertura(code, str(root)),
            "lcov": lcov(code).encode(),
            "html": page.encode(),
            "junit": run_.junit_xml,
        }
        summary = {"line_rate": sums.line_rate, "branch_rate": sums.branch_rate, "counts": counts_of(run_)}
        record = await self.reports.save(principal, "coverage", root, summary, reports)
        return _answer(record.id, run_, code, gaps, only, mapped, f"{_told(run_)} {copy.sandbox.reason}")


def product_code(coverage: Sequence[FileCoverage]) -> tuple[FileCoverage, ...]:
    """Return the files that are no tests."""
    return tuple(file for file in coverage if not _TESTS.search(file.path))


async def changed_lines(root: Path, against: str) -> dict[str, frozenset[int]]:
    """Return the lines of the working tree that differ from a commit; raises CallerError (`diff_against`)."""
    if against.startswith("-"):
        raise CallerError(f"'{against}' names no commit.", "Give a branch or commit.", argument="diff_against")
    command = ["git", "-c", "core.fsmonitor=false", "-C", str(root), "--no-pager", "diff", "--no-ext-diff"]
    command += ["--no-textconv", "--no-color", "--relative", "-U0", against, "--", "."]
    try:
        done = await run(command, timeout_seconds=_GIT_SECONDS, max_output_bytes=_MOST_OUTPUT)
    except ProcessError as error:
        raise CallerError(f"git could not compare: {error.message}", argument="diff_against") from error
    if done.returncode != 0:
        raise CallerError(
            f"git cannot compare with '{against}': {done.stderr_tail[-300:]}",
            "Name a commit or branch of the repository that holds the project.",
            argument="diff_against",
        )
    return _lines_of(done.stdout.decode("utf-8", "replace"))


def _lines_of(diff: str) -> dict[str, frozenset[int]]:
    found: dict[str, set[int]] = {}
    path = ""
    for line in diff.splitlines():
        if line.startswith("+++ "):
            path = line[4:].strip().strip('"').removeprefix("b/")
        elif (match := _HUNK.match(line)) is not None and path != "/dev/null":
            first, count = int(match[1]), int(match[2] or 1)
            found.setdefault(path, set()).update(range(first, first + count))
    return {path: frozenset(lines) for path, lines in found.items()}


def _told(run_: TestRun) -> str:
    problem = f" Coverage: {run_.coverage_problem}." if run_.coverage_problem else ""
    return f"{run_.explanation}{problem}"


def _answer(
    run_id: str,
    run_: TestRun,
    code: Sequence[FileCoverage],
    gaps: Sequence[Gap],
    only: Mapping[str, frozenset[int]] | None,
    mapped: bool,
    explanation: str,
) -> CoverageAnswer:
    sums = totals(code)
    lines, rate = sums.lines, sums.line_rate
    if only is not None:
        concerned = [
            (len((f.executed | f.missing) & only[f.path]), len(f.executed & only[f.path]))
            for f in code
            if f.path in only
        ]
        lines = sum(count for count, _ in concerned)
        rate = sum(covered for _, covered in concerned) / lines if lines else 1.0
    rated = [(file, totals([file])) for file in code]
    rated.sort(key=lambda pair: (pair[1].line_rate, pair[0].path))
    return CoverageAnswer(
        run=run_id,
        assessed=bool(code),
        scope="all code" if only is None else "the changed lines",
        line_rate=round(rate, 4) if code else None,
        branch_rate=round(sums.branch_rate, 4) if code and only is None and sums.branches else None,
        lines=lines,
        gaps=tuple(gaps[:SHOWN_GAPS]),
        more_gaps=max(0, len(gaps) - SHOWN_GAPS),
        files=tuple(
            CoveredFile(
                path=file.path,
                line_rate=round(s.line_rate, 4),
                branch_rate=round(s.branch_rate, 4),
                missing_lines=len(file.missing),
            )
            for file, s in rated[:SHOWN_FILES]
        ),
        tests=counts_of(run_),
        map_updated=mapped,
        isolation=run_.isolation,
        explanation=explanation,
        cobertura=report_uri(run_id, "cobertura"),
        lcov=report_uri(run_id, "lcov"),
        html=report_uri(run_id, "html"),
    )
