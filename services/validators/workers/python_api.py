"""Says which attributes, functions and arguments that Python files use do not exist in what is installed.

Run in the top folder of the changed tree by the project's interpreter, isolated (`-I`).

Sure or silent. Spoken of is only what a name can mean: one that the file binds once, by an import nothing guards,
or a variable that its function binds once, to a literal or to an instance of a plain class. Modules are imported,
objects are looked at, nothing of the tree is run.
"""

from __future__ import annotations

import ast
from typing import Any

from quantum_suite.services.validators.workers.api.installed import Installed
from quantum_suite.services.validators.workers.api.references import Reference, Uses
from quantum_suite.services.validators.workers.changed_files import (
    STANDARD,
    UNREADABLE,
    answer,
    content_of,
    walk_tree,
)

MOST_PROBLEMS = 200


def _local_names() -> set[str]:
    """Return every name a module of the tree could go by."""
    found: set[str] = set()
    for _, folders, files in walk_tree():
        found.update(folders)
        found.update(
            name.split(".")[0] for name in files if name.split(".")[-1] in ("py", "pyi", "pyx", "so", "pyd")
        )
    return found


def _uses(content: bytes | None) -> list[Reference]:
    if content is None:
        return []
    try:
        return Uses(ast.parse(content)).found
    except UNREADABLE:
        return []


def judge(request: dict[str, Any]) -> dict[str, Any]:
    """Return every use of something that does not exist."""
    # Folders named like the standard library's modules (`types`, `code`) do not hide it from an absolute import.
    installed = Installed(request["environment"], _local_names() - STANDARD)
    problems: list[dict[str, Any]] = []
    checked = 0
    for file in request["files"]:
        known = {one.key for one in _uses(content_of(file, "before"))}
        for one in _uses(content_of(file, "after")):
            checked += 1
            problem = installed.problem(one)
            if problem is None:
                continue
            problems.append(
                {
                    "path": file["path"],
                    "code": problem.code,
                    "message": problem.message,
                    "suggestion": problem.suggestion,
                    "line": one.line,
                    "column": one.column,
                    "end_column": one.end_column,
                    "known": one.key in known,
                }
            )
            if len(problems) >= MOST_PROBLEMS:
                break
    problems.sort(key=lambda one: (one["path"], one["line"], one["column"]))
    return {"problems": problems, "unchecked": sorted(installed.unchecked), "checked": checked}


def main() -> None:
    """Answer one request."""
    answer(judge)
