"""Runs a project's tests in a copy, once or again and again, all or those that a change concerns."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from quantum_suite.core.principals import Principal
from quantum_suite.core.uris import ResourceUri
from quantum_suite.services.sandbox.interface import Limits
from quantum_suite.services.testing.flaky_tests import Repeated, repeat
from quantum_suite.services.testing.interface import ReachMap, TestRequest
from quantum_suite.services.testing.report_store import ReportStore
from quantum_suite.tools.qtest.project_copy import Progress, ProjectCopies, ProjectCopy
from quantum_suite.tools.qtest.run_answers import (
    SHOWN_FAILURES,
    TestAnswer,
    counts_of,
    failed_cases,
    flaky_cases,
)


@dataclass(frozen=True, slots=True)
class TestOptions:
    """What the caller asks for."""

    __test__ = False

    select: Sequence[str] = ()
    runner: str | None = None
    only_affected: bool = False
    repeat: int = 1
    order_seed: int | None = None
    processes: int = 1
    stop_at_first_failure: bool = False
    seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class TestRunner:
    """Runs tests. One object serves every call."""

    __test__ = False

    copies: ProjectCopies
    reach: ReachMap
    reports: ReportStore

    async def run(self, root: Path, options: TestOptions, principal: Principal, progress: Progress) -> TestAnswer:
        """Run the tests of the project at `root`; nothing of it is changed. Raises CallerError, EngineMissing."""
        async with self.copies.copy(root, options.runner, "a test run", progress) as copy:
            request = replace(
                copy.request(),
                select=tuple(options.select),
                order_seed=options.order_seed,
                processes=options.processes,
                stop_at_first_failure=options.stop_at_first_failure,
                limits=Limits(seconds=options.seconds),
            )
            left_out = None
            if options.only_affected:
                request, left_out = await self._affected(copy, request)
            repeated = await self._run(copy, request, options.repeat, progress)
            if options.only_affected:
                await self.reach.update(copy.origin, repeated.runs[-1], copy.root)
        return await self._answer(root, copy, repeated, left_out, principal)

    async def _affected(self, copy: ProjectCopy, request: TestRequest) -> tuple[TestRequest, int | None]:
        changed = await self.reach.changed_since(copy.origin, copy.root)
        affected = await self.reach.affected(copy.origin, changed, copy.root)
        if affected.everything:
            return replace(request, contexts=True), 0
        known = await self.reach.known_tests(copy.origin)
        left_out = [test for test in known if test not in affected.tests]
        # Nothing concerned: a selection of nothing would mean everything.
        chosen = affected.tests or ("no-test-is-concerned",)
        return replace(request, select=chosen, missing_ok=True, contexts=True), len(left_out)

    async def _run(self, copy: ProjectCopy, request: TestRequest, times: int, progress: Progress) -> Repeated:
        if times > 1:
            return await repeat(copy.chosen.runner, request, times, progress)
        run = await copy.chosen.runner.run(request, progress)
        return Repeated((run,), (request.order_seed or 0,), ())

    async def _answer(
        self, root: Path, copy: ProjectCopy, repeated: Repeated, left_out: int | None, principal: Principal
    ) -> TestAnswer:
        # The run that went worst is the one to show.
        run = next((run for run in repeated.runs if not run.passed), repeated.runs[-1])
        nothing_due = left_out is not None and run.ended == "no_tests"
        passed = (nothing_due or all(run.passed for run in repeated.runs)) and not repeated.flaky
        failures = failed_cases(run.cases)
        summary = {"passed": passed, "ended": run.ended, "counts": counts_of(run), "runner": run.runner}
        record = await self.reports.save(principal, "tests", root, summary, {"junit": run.junit_xml})
        return TestAnswer(
            run=record.id,
            passed=passed,
            ended=run.ended,
            runner=f"{run.runner} {run.runner_version}, because {copy.chosen.reason}".replace("  ", " "),
            counts=counts_of(run),
            failures=tuple(failures[:SHOWN_FAILURES]),
            more_failures=max(0, len(failures) - SHOWN_FAILURES),
            flaky=flaky_cases(repeated.flaky),
            left_out=left_out,
            isolation=run.isolation,
            explanation=f"{run.explanation} {copy.sandbox.reason}",
            output_tail="" if passed else run.output_tail,
            seconds=round(sum(run.seconds for run in repeated.runs), 2),
            junit=report_uri(record.id, "junit"),
        )


def report_uri(run: str, view: str | None = None) -> str:
    """Return the URI of a run, or of one of its reports."""
    return str(ResourceUri("qtest", "runs", run, view))
