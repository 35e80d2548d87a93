"""Says which imports of changed Python files lead nowhere, and which close a circle.

Run in the top folder of the changed tree by the project's interpreter, isolated (`-I`), so that only what is
installed is found beside the tree.

Sure or silent: an import in a `try`, under a test of platform or version, or of a name that something in the tree
might provide in a way that cannot be read from its files, is not spoken of.
"""

from __future__ import annotations

import ast
from typing import Any

from quantum_suite.services.validators.workers.changed_files import answer, content_of, parse
from quantum_suite.services.validators.workers.imports.checker import Checker
from quantum_suite.services.validators.workers.imports.circles import circle, edges
from quantum_suite.services.validators.workers.imports.reading import Import, bound_names, imports_of
from quantum_suite.services.validators.workers.imports.tree import MOST_BYTES


def _broken_importers(checker: Checker, gone: dict[str, set[str]], changed: set[str]) -> list[dict[str, Any]]:
    """Return imports, in files that did not change, of names that changed files no longer have."""
    found: list[dict[str, Any]] = []
    words = {name.encode() for names in gone.values() for name in names}
    for path in sorted(checker.tree.files):
        if path in changed or not path.endswith(".py") or not words:
            continue
        try:
            with open(path, "rb") as file:
                content = file.read(MOST_BYTES)
        except OSError:
            continue
        if not any(word in content for word in words):
            continue
        tree = checker.tree.parsed(path)
        for one in imports_of(tree) if tree is not None else ():
            target = checker.tree.target(one, path)
            if target in gone and one.name in gone[target] and not one.guarded:
                problem = checker.problem(one, path)
                if problem is not None:
                    found.append(_told(path, one, problem))
    return found


def _told(path: str, one: Import, problem: tuple[str, str]) -> dict[str, Any]:
    return {
        "path": path,
        "code": problem[0],
        "message": problem[1],
        "line": one.line,
        "column": one.column,
        "end_column": one.end_column,
    }


def _key(one: Import) -> tuple[str, int, str | None]:
    return one.module, one.level, one.name


def _judge_file(checker: Checker, path: str, after: ast.Module, before: ast.Module | None) -> dict[str, Any]:
    known = {_key(one) for one in imports_of(before) if not one.guarded} if before is not None else set()
    problems = []
    for one in imports_of(after):
        problem = checker.problem(one, path)
        if problem is not None:
            problems.append({**_told(path, one, problem), "known": _key(one) in known})
    old = set(edges(checker.tree, path, before)) if before is not None else set()
    circles = []
    for target, one in edges(checker.tree, path, after).items():
        way = circle(checker.tree, target, path) if target not in old else None
        if way is not None:
            circles.append({"path": path, "way": [path, *way], "line": one.line, "column": one.column})
    return {"problems": problems, "circles": circles}


def _module(file: dict[str, Any], state: str) -> ast.Module | None:
    content = content_of(file, state)
    return None if content is None else parse(content)


def judge(request: dict[str, Any]) -> dict[str, Any]:
    """Return every problem of the changed files, and of files that lean on what they took away."""
    checker = Checker(request["environment"])
    problems: list[dict[str, Any]] = []
    circles: list[dict[str, Any]] = []
    gone: dict[str, set[str]] = {}
    for file in request["files"]:
        after, before = _module(file, "after"), _module(file, "before")
        if after is not None:
            found = _judge_file(checker, file["path"], after, before)
            problems += found["problems"]
            circles += found["circles"]
        if before is not None and after is not None:
            had, has = bound_names(before), bound_names(after)
            if had is not None and has is not None and had - has:
                gone[file["path"]] = had - has
    problems += _broken_importers(checker, gone, {file["path"] for file in request["files"]})
    return {"problems": problems, "circles": circles, "unchecked": sorted(checker.unchecked)}


def main() -> None:
    """Answer one request."""
    answer(judge)
