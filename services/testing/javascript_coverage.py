"""Coverage of JavaScript, as Node and Istanbul tell it."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from quantum_suite.services.testing.interface import FileCoverage


def merge_lines(measured: Iterable[list[Any]]) -> tuple[FileCoverage, ...]:
    """Return coverage from what node:test says of files, `[line, count]` each; what is malformed is left out.

    Node names the line of a branch, not where it leads: both ends of a missing one are that line.
    """
    lines: dict[str, dict[int, int]] = defaultdict(dict)
    branches: dict[str, dict[tuple[int, int], int]] = defaultdict(dict)
    for files in measured:
        for file in files:
            try:
                path = str(file["path"])
                if path.startswith("..") or "node_modules/" in path:
                    continue
                for line, count in file["lines"]:
                    lines[path][int(line)] = max(int(count), lines[path].get(int(line), 0))
                for number, (line, count) in enumerate(file["branches"]):
                    key = (int(line), number)
                    branches[path][key] = max(int(count), branches[path].get(key, 0))
            except (KeyError, TypeError, ValueError):
                continue
    return tuple(
        FileCoverage(
            path,
            executed=frozenset(line for line, count in found.items() if count),
            missing=frozenset(line for line, count in found.items() if not count),
            missing_branches=frozenset((line, line) for (line, _), count in branches[path].items() if not count),
            branches=len(branches[path]),
        )
        for path, found in sorted(lines.items())
    )


def from_istanbul(report: dict[str, Any], root: str) -> tuple[FileCoverage, ...]:
    """Return coverage from Istanbul's `coverage-final.json`, which Jest and Vitest write."""
    found = []
    for path, file in sorted(report.items()):
        if not path.startswith(f"{root}/"):
            continue
        starts = {key: int(place["start"]["line"]) for key, place in file["statementMap"].items()}
        executed = {starts[key] for key, count in file["s"].items() if count}
        missing: set[tuple[int, int]] = set()
        branches = 0
        for key, counts in file["b"].items():
            branch = file["branchMap"][key]
            line = int(branch["loc"]["start"]["line"])
            branches += len(counts)
            for count, place in zip(counts, branch["locations"], strict=False):
                if not count:
                    missing.add((line, int(place.get("start", {}).get("line") or line)))
        found.append(
            FileCoverage(
                path.removeprefix(f"{root}/"),
                executed=frozenset(executed),
                missing=frozenset(set(starts.values()) - executed),
                missing_branches=frozenset(missing),
                branches=branches,
            )
        )
    return tuple(found)
