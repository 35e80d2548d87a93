"""Ranks what no test reaches: by how much can go wrong there, how often it changes, and how many call it."""

import ast
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.services.process import ProcessError, run
from quantum_suite.services.testing.interface import FileCoverage

_BRANCHES = (
    ast.If,
    ast.IfExp,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.ExceptHandler,
    ast.BoolOp,
    ast.comprehension,
    ast.match_case,
    ast.Assert,
)
_GIT_SECONDS = 20.0
_MOST_OUTPUT = 8 * 1024 * 1024
_LONGEST_LIST = 30


class Gap(BaseModel):
    """A function, or a file's own level, with lines or branches that no test reaches."""

    model_config = ConfigDict(frozen=True)

    path: str = Field(description="The file.")
    function: str = Field(description="Qualified name of the function; empty at the file's own level.")
    first_line: int = Field(description="Where it starts.")
    last_line: int = Field(description="Where it ends.")
    missing_lines: tuple[int, ...] = Field(description="Lines no test reaches, the first ones.")
    missing_branches: tuple[str, ...] = Field(description="Branches no test takes, as from->to lines.")
    missing: int = Field(description="Lines and branches missing, all of them.")
    risk: float = Field(description="Complexity x share missing x weight of churn and callers: larger is riskier.")
    complexity: int = Field(description="Decision points in it, plus one (McCabe).")
    churn: int = Field(description="Commits of the last year that touched its file; 0 where git does not know.")
    callers: int = Field(description="Functions of the project that mention its name.")
    reaching_tests: tuple[str, ...] = Field(default=(), description="Tests that reach other lines of it, a few.")


async def churn_of(root: Path) -> dict[str, int]:
    """Return how many commits of the last year touched each file; empty where there is no git history."""
    # Settings of a repository can name programs to run; log runs none of them when it is told so.
    command = ["git", "-c", "core.fsmonitor=false", "-c", "log.showSignature=false", "-C", str(root), "--no-pager"]
    command += ["log", "--since=1 year ago", "--no-ext-diff", "--no-textconv", "--relative", "--name-only"]
    try:
        done = await run(
            [*command, "--format=", "--", "."], timeout_seconds=_GIT_SECONDS, max_output_bytes=_MOST_OUTPUT
        )
    except ProcessError:
        return {}
    if done.returncode != 0:
        return {}
    return dict(Counter(line for line in done.stdout.decode("utf-8", "replace").splitlines() if line))


def rank_gaps(
    root: Path,
    coverage: Sequence[FileCoverage],
    churn: Mapping[str, int],
    only: Mapping[str, frozenset[int]] | None,
) -> list[Gap]:
    """Return the gaps of a project, riskiest first; `only` keeps to these lines (a diff's)."""
    trees: dict[str, ast.Module | None] = {file.path: _parsed(root / file.path) for file in coverage}
    mentions = _mentions(trees)
    gaps: list[Gap] = []
    for file in coverage:
        missing = file.missing if only is None else file.missing & only.get(file.path, frozenset())
        branches = {
            (start, end)
            for start, end in file.missing_branches
            if start in file.executed and (only is None or start in only.get(file.path, frozenset()))
        }
        if missing or branches:
            parts = _functions(trees[file.path])
            gaps += _of_file(file, missing, branches, parts, churn.get(file.path, 0), mentions)
    return sorted(gaps, key=lambda gap: (-gap.risk, gap.path, gap.first_line))


def _of_file(
    file: FileCoverage,
    missing: frozenset[int],
    branches: set[tuple[int, int]],
    parts: list[tuple[str, int, int, int]],
    churn: int,
    mentions: Mapping[str, int],
) -> list[Gap]:
    by_part: dict[tuple[str, int, int, int], tuple[set[int], set[tuple[int, int]]]] = {}
    last = max(file.executed | file.missing, default=1)
    for line in missing:
        by_part.setdefault(_innermost(parts, line, last), (set(), set()))[0].add(line)
    for branch in branches:
        by_part.setdefault(_innermost(parts, branch[0], last), (set(), set()))[1].add(branch)
    found = []
    for (name, first, end, complexity), (lines, arcs) in by_part.items():
        statements = sum(first <= line <= end for line in file.executed | file.missing) or 1
        share = min(1.0, (len(lines) + len(arcs)) / statements)
        callers = mentions.get(name.rpartition(".")[2], 0) if name else 0
        weight = (1 + math.log1p(churn)) * (1 + math.log1p(callers))
        tests = {test for line in range(first, end + 1) for test in file.contexts.get(line, ()) if test}
        found.append(
            Gap(
                path=file.path,
                function=name,
                first_line=first,
                last_line=end,
                missing_lines=tuple(sorted(lines)[:_LONGEST_LIST]),
                missing_branches=tuple(
                    f"{start}->{'exit' if to < 0 else to}" for start, to in sorted(arcs)[:_LONGEST_LIST]
                ),
                missing=len(lines) + len(arcs),
                risk=round(complexity * share * weight, 2),
                complexity=complexity,
                churn=churn,
                callers=callers,
                reaching_tests=tuple(sorted(tests)[:3]),
            )
        )
    return found


def _innermost(parts: list[tuple[str, int, int, int]], line: int, last: int) -> tuple[str, int, int, int]:
    within = [part for part in parts if part[1] <= line <= part[2]]
    return max(within, key=lambda part: part[1]) if within else ("", 1, last, 1)


def _parsed(path: Path) -> ast.Module | None:
    if path.suffix != ".py":
        return None
    try:
        return ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _functions(tree: ast.Module | None) -> list[tuple[str, int, int, int]]:
    """Return (qualified name, first line, last line, complexity) of each function."""
    found: list[tuple[str, int, int, int]] = []

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                inside = sum(isinstance(each, _BRANCHES) for each in ast.walk(child))
                found.append((prefix + child.name, child.lineno, child.end_lineno or child.lineno, inside + 1))
                visit(child, f"{prefix}{child.name}.")
            elif isinstance(child, ast.ClassDef):
                visit(child, f"{prefix}{child.name}.")
            else:
                visit(child, prefix)

    if tree is not None:
        visit(tree, "")
    return found


def _mentions(trees: Mapping[str, ast.Module | None]) -> dict[str, int]:
    """Return how many functions mention a name."""
    counts: Counter[str] = Counter()
    for tree in trees.values():
        for node in ast.walk(tree) if tree is not None else ():
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                names = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
                names |= {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)}
                counts.update(names - {node.name})
    return dict(counts)
