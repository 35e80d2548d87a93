"""Puts together what processes measured, and reads what each wrote."""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quantum_suite.services.testing.interface import FileCoverage

LARGEST_FILE = 512 * 1024 * 1024


@dataclass(slots=True)
class _File:
    executed: set[int] = field(default_factory=set)
    statements: set[int] = field(default_factory=set)
    missing_branches: set[tuple[int, int]] | None = None
    branches: int = 0
    contexts: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))


@dataclass(slots=True)
class Measured:
    """What processes measured together."""

    coverage: tuple[FileCoverage, ...] = ()
    opened: dict[str, frozenset[str]] = field(default_factory=dict)
    """Other files of the project, and the tests that opened them."""
    far: frozenset[str] = frozenset()
    """Tests that started further processes."""


def read_coverage(files: Iterable[Path]) -> Measured:
    """Return what was reached by any of the processes that wrote `files`; unreadable ones say nothing."""
    merged: dict[str, _File] = defaultdict(_File)
    opened: dict[str, set[str]] = defaultdict(set)
    far: set[str] = set()
    for file in files:
        try:
            if file.stat().st_size > LARGEST_FILE:
                continue
            told = json.loads(file.read_bytes())
            _merge(told, merged)
            for path, tests in told["opened"].items():
                opened[path].update(map(str, tests))
            far.update(map(str, told["far"]))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError):
            continue
    coverage = tuple(
        FileCoverage(
            path,
            executed=frozenset(found.executed),
            missing=frozenset(found.statements - found.executed),
            missing_branches=frozenset(found.missing_branches or ()),
            branches=found.branches,
            contexts={line: frozenset(tests) for line, tests in sorted(found.contexts.items())},
        )
        for path, found in sorted(merged.items())
    )
    return Measured(coverage, {path: frozenset(tests) for path, tests in opened.items()}, frozenset(far))


def _merge(told: dict[str, Any], merged: dict[str, _File]) -> None:
    names = [str(name) for name in told["contexts"]]
    for path, shown in told["files"].items():
        into = merged[path]
        executed = {int(line) for line in shown["executed"]}
        into.executed |= executed
        into.statements |= executed | {int(line) for line in shown["missing"]}
        missing = {(int(start), int(end)) for start, end in shown["missing_branches"]}
        # A branch is missing where no process took it.
        into.missing_branches = missing if into.missing_branches is None else into.missing_branches & missing
        into.branches = max(into.branches, int(shown["branches"]))
        for line, tests in shown["lines"].items():
            into.contexts[int(line)].update(names[number] for number in tests)
