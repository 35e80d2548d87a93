"""Says which tests are missing: gaps by risk, mutants that survive, and properties worth stating."""

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.errors import CallerError, EngineError
from quantum_suite.core.verdicts import Isolation
from quantum_suite.services.mutation.interface import MutationRequest
from quantum_suite.services.sandbox.interface import Limits
from quantum_suite.services.testing.interface import FileCoverage, ReachMap
from quantum_suite.tools.qtest.measure_coverage import changed_lines, product_code
from quantum_suite.tools.qtest.mutate_code import MakeEngine, Survivor, survivors_of
from quantum_suite.tools.qtest.project_copy import Progress, ProjectCopies, ProjectCopy
from quantum_suite.tools.qtest.rank_gaps import Gap, churn_of, rank_gaps
from quantum_suite.tools.qtest.run_answers import FailedCase, failed_cases

MUTANTS = 60
_PAIRS = (
    ("encode", "decode"),
    ("dump", "load"),
    ("dumps", "loads"),
    ("serialize", "deserialize"),
    ("serialise", "deserialise"),
    ("compress", "decompress"),
    ("encrypt", "decrypt"),
    ("escape", "unescape"),
    ("quote", "unquote"),
    ("pack", "unpack"),
    ("to", "from"),
    ("parse", "format"),
    ("parse", "render"),
    ("split", "join"),
    ("push", "pop"),
)
_STEADY = re.compile(r"^(?:normali[sz]e|canonical|clean|strip|sort|dedup|unique|flatten|sanitize|simplify)")
_ORDERING = {"__lt__", "__le__", "__eq__", "__hash__"}


class Property(BaseModel):
    """Something that ought to hold for every input, seen from the code's own names."""

    model_config = ConfigDict(frozen=True)

    kind: str = Field(description="round trip, idempotence, order or errors.")
    place: str = Field(description="File and line of the function.")
    statement: str = Field(description="What ought to hold. A guess from names: drop it where it is not meant.")


class TestPlan(BaseModel):
    """What is missing, in the order in which to write it."""

    __test__ = False
    model_config = ConfigDict(frozen=True)

    gaps: tuple[Gap, ...] = Field(description="Lines and branches no test reaches, riskiest first.")
    more_gaps: int = Field(description="How many more there are.")
    survivors: tuple[Survivor, ...] = Field(description="Mutants no test notices, verified ones first.")
    properties: tuple[Property, ...] = Field(
        description="Properties worth stating, for code that changed or is risky."
    )
    failing: tuple[FailedCase, ...] = Field(description="Tests that fail now: mend these first.")
    not_assessed: tuple[str, ...] = Field(description="What was not looked at, and why.")
    runner: str = Field(description="What the tests have to be written for.")
    isolation: Isolation = Field(description="How the tests were kept apart.")


@dataclass(frozen=True, slots=True)
class TestPlanner:
    """Plans tests. One object serves every call."""

    __test__ = False

    copies: ProjectCopies
    reach: ReachMap
    make_engine: MakeEngine | None

    async def plan(
        self,
        root: Path,
        paths: Sequence[str],
        diff_against: str | None,
        limit: int,
        mutants: int,
        seconds: float,
        progress: Progress,
    ) -> TestPlan:
        """Measure the project at `root`, say what is missing below `paths`. Raises CallerError, EngineMissing."""
        only = await changed_lines(root, diff_against) if diff_against is not None else None
        churn = await churn_of(root)
        async with self.copies.copy(root, None, "a test plan", progress) as copy:
            request = replace(copy.request(), coverage=True, contexts=True, limits=Limits(seconds=seconds))
            run = await copy.chosen.runner.run(request, progress)
            if any(file.contexts for file in run.coverage):
                await self.reach.update(copy.origin, run, copy.root)
            code = [file for file in product_code(run.coverage) if _within(file.path, paths)]
            gaps = await anyio.to_thread.run_sync(rank_gaps, copy.root, code, churn, only)
            missing = [run.coverage_problem] if run.coverage_problem else []
            survivors = await self._survivors(copy, paths, only, mutants, seconds, progress, missing)
            properties = await anyio.to_thread.run_sync(_properties, copy.root, code, only)
        return TestPlan(
            gaps=tuple(gaps[:limit]),
            more_gaps=max(0, len(gaps) - limit),
            survivors=tuple(survivors[:limit]),
            properties=tuple(properties[:limit]),
            failing=tuple(failed_cases(run.cases)[:limit]),
            not_assessed=tuple(missing),
            runner=run.runner,
            isolation=run.isolation,
        )

    async def _survivors(
        self,
        copy: ProjectCopy,
        paths: Sequence[str],
        only: dict[str, frozenset[int]] | None,
        mutants: int,
        seconds: float,
        progress: Progress,
        missing: list[str],
    ) -> list[Survivor]:
        if mutants == 0:
            missing.append("Mutants: none were asked for")
            return []
        if self.make_engine is None or copy.chosen.runner.name not in ("pytest", "unittest"):
            missing.append(f"Mutants: there is no engine for projects tested with {copy.chosen.runner.name}")
            return []
        request = MutationRequest(
            copy.root,
            paths=tuple(paths),
            changed_lines=only,
            sample=mutants,
            python=copy.request().python,
            limits=Limits(seconds=seconds),
        )
        try:
            report = await self.make_engine(copy.sandbox.sandbox).run(request, progress)
        except (CallerError, EngineError) as error:
            missing.append(f"Mutants: {error.message}")
            return []
        if report.stopped_early:
            missing.append(f"Mutants: {report.stopped_early}")
        elif report.generated > len(report.results):
            missing.append(f"Mutants: a sample of {len(report.results)} of {report.generated} was judged")
        return survivors_of(report.results, copy.root)


def _within(path: str, paths: Sequence[str]) -> bool:
    return not paths or any(path == top.rstrip("/") or path.startswith(f"{top.rstrip('/')}/") for top in paths)


def _properties(
    root: Path, code: Sequence[FileCoverage], only: dict[str, frozenset[int]] | None
) -> list[Property]:
    found: list[Property] = []
    for file in code:
        if not file.path.endswith(".py") or (only is not None and file.path not in only):
            continue
        try:
            tree = ast.parse((root / file.path).read_bytes())
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        found += _of_scope(file.path, tree)
        for node in ast.walk(tree):
            found += _of_scope(file.path, node) if isinstance(node, ast.ClassDef) else []
    return found


def _of_scope(path: str, scope: ast.Module | ast.ClassDef) -> list[Property]:
    functions = {
        node.name: node for node in scope.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    found = []
    for name, node in functions.items():
        place = f"{path}:{node.lineno}"
        for forth, back in _PAIRS:
            other = _counterpart(name, forth, back)
            if other is not None and other in functions:
                found.append(
                    Property(
                        kind="round trip", place=place, statement=f"{other}({name}(x)) == x for every valid x"
                    )
                )
        if _STEADY.match(name.lstrip("_")):
            found.append(
                Property(kind="idempotence", place=place, statement=f"{name}({name}(x)) == {name}(x) for every x")
            )
        raised = sorted({_raised(each) for each in ast.walk(node) if isinstance(each, ast.Raise)} - {""})
        if raised and not name.startswith("_"):
            found.append(
                Property(
                    kind="errors",
                    place=place,
                    statement=f"{name} raises {', '.join(raised)} for exactly the inputs it must refuse",
                )
            )
    if isinstance(scope, ast.ClassDef) and len(_ORDERING & functions.keys()) > 1:
        statement = f"{scope.name}: ==, < and hash agree: equal ones hash alike, and the order is total"
        found.append(Property(kind="order", place=f"{path}:{scope.lineno}", statement=statement))
    return found


def _counterpart(name: str, forth: str, back: str) -> str | None:
    words = name.split("_")
    return "_".join(back if word == forth else word for word in words) if forth in words else None


def _raised(node: ast.Raise) -> str:
    target = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
    return target.id if isinstance(target, ast.Name) else ""
