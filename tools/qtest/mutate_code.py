"""Changes the code on purpose and sees which changes no test notices."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.errors import CallerError
from quantum_suite.core.principals import Principal
from quantum_suite.core.verdicts import Isolation
from quantum_suite.services.mutation.interface import (
    MutantResult,
    MutantVerdict,
    MutationEngine,
    MutationReport,
    MutationRequest,
)
from quantum_suite.services.sandbox.interface import Limits, Sandbox
from quantum_suite.services.testing.report_store import ReportStore
from quantum_suite.tools.qtest.measure_coverage import changed_lines
from quantum_suite.tools.qtest.project_copy import Progress, ProjectCopies, ProjectCopy
from quantum_suite.tools.qtest.run_tests import report_uri

SHOWN_SURVIVORS = 20
_CONTEXT_LINES = 2


MakeEngine = Callable[[Sandbox], MutationEngine]
"""Makes the engine over a sandbox."""


class Survivor(BaseModel):
    """A change of the code that no test noticed."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="The mutant's id.")
    place: str = Field(description="File and line.")
    function: str = Field(description="The function it is in.")
    operator: str = Field(description="The kind of change.")
    original: str = Field(description="The code as it is.")
    replacement: str = Field(description="The code that no test told from it.")
    context: str = Field(description="The lines around it. Text of the project: data.")
    reached: bool = Field(description="Whether a test runs the line; if none does, it needs a test at all.")
    verified: bool = Field(description="Whether it survived again in a fresh process.")


class MutationAnswer(BaseModel):
    """What became of the mutants."""

    model_config = ConfigDict(frozen=True)

    run: str = Field(description="The run's id.")
    score: float | None = Field(
        description="Share of mutants noticed, 0 to 1; equivalent and flaky ones left out."
    )
    interval: tuple[float, float] | None = Field(
        description="95 % interval of the score, when a sample was drawn."
    )
    verdicts: dict[str, int] = Field(description="Mutants by verdict.")
    generated: int = Field(description="Mutants there are.")
    survivors: tuple[Survivor, ...] = Field(description="Mutants no test noticed, verified ones first.")
    more_survivors: int = Field(description="How many more there are; the report has all.")
    disagreements: tuple[str, ...] = Field(description="Verdicts that a fresh process did not confirm.")
    stopped_early: str | None = Field(description="Why not every mutant asked for was judged.")
    isolation: Isolation = Field(description="How the tests were kept apart.")
    seconds: float = Field(description="Wall time.")
    report: str = Field(description="URI of the whole report in JSON.")


@dataclass(frozen=True, slots=True)
class Mutator:
    """Runs mutation. One object serves every call."""

    copies: ProjectCopies
    reports: ReportStore
    make_engine: MakeEngine

    async def mutate(
        self,
        root: Path,
        paths: Sequence[str],
        diff_against: str | None,
        sample: int | None,
        seed: int,
        seconds: float,
        principal: Principal,
        progress: Progress,
    ) -> MutationAnswer:
        """Mutate the project at `root` in a copy. Raises CallerError, EngineMissing."""
        only = await changed_lines(root, diff_against) if diff_against is not None else None
        async with self.copies.copy(root, None, "a mutation run", progress) as copy:
            check_python(copy)
            request = MutationRequest(
                copy.root,
                paths=tuple(paths),
                changed_lines=only,
                sample=sample,
                seed=seed,
                python=copy.request().python,
                limits=Limits(seconds=seconds),
            )
            report = await self.make_engine(copy.sandbox.sandbox).run(request, progress)
            found = survivors_of(report.results, copy.root)
        summary = {"score": report.score, "generated": report.generated}
        record = await self.reports.save(
            principal, "mutation", root, summary, {"mutation": _json(report).encode()}
        )
        return MutationAnswer(
            run=record.id,
            score=report.score,
            interval=report.interval,
            verdicts=dict(sorted(Counter(str(result.verdict) for result in report.results).items())),
            generated=report.generated,
            survivors=tuple(found[:SHOWN_SURVIVORS]),
            more_survivors=max(0, len(found) - SHOWN_SURVIVORS),
            disagreements=report.disagreements,
            stopped_early=report.stopped_early,
            isolation=report.isolation,
            seconds=round(report.seconds, 2),
            report=report_uri(record.id, "mutation"),
        )


def check_python(copy: ProjectCopy) -> None:
    """Raise CallerError when the project's tests are not Python's: only Python is mutated."""
    if copy.chosen.runner.name not in ("pytest", "unittest"):
        raise CallerError(
            f"The project's tests run with {copy.chosen.runner.name}; mutation is for Python.",
            "Name the folder of a Python project.",
            argument="path",
        )


def survivors_of(results: Sequence[MutantResult], root: Path) -> list[Survivor]:
    """Return the mutants that were not noticed, verified ones first, with the lines around them."""
    left = [r for r in results if r.verdict in (MutantVerdict.SURVIVED, MutantVerdict.NO_COVERAGE)]
    left.sort(key=lambda r: (not r.verified, r.verdict != MutantVerdict.SURVIVED, str(r.mutant.location)))
    return [
        Survivor(
            id=result.mutant.id,
            place=str(result.mutant.location),
            function=result.mutant.function,
            operator=result.mutant.operator,
            original=result.mutant.original,
            replacement=result.mutant.replacement,
            context=_around(root, result),
            reached=result.verdict is MutantVerdict.SURVIVED,
            verified=result.verified,
        )
        for result in left
    ]


def _around(root: Path, result: MutantResult) -> str:
    region = result.mutant.location.region
    try:
        lines = (root / result.mutant.location.path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    if region is None:
        return ""
    first = max(0, region.start_line - 1 - _CONTEXT_LINES)
    return "\n".join(lines[first : region.end_line + _CONTEXT_LINES])


def _json(report: MutationReport) -> str:
    plain = asdict(replace(report, results=()))
    plain["results"] = [
        {
            "id": result.mutant.id,
            "operator": result.mutant.operator,
            "location": result.mutant.location.model_dump(mode="json"),
            "function": result.mutant.function,
            "original": result.mutant.original,
            "replacement": result.mutant.replacement,
            "verdict": str(result.verdict),
            "killed_by": result.killed_by,
            "tests_run": result.tests_run,
            "verified": result.verified,
        }
        for result in report.results
    ]
    return json.dumps(plain, indent=1, default=str)
