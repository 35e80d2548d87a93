"""What the workers that judge changed Python files do alike: how they are asked, read, and answer.

In: one JSON object `{"files": [{"path", "after", "before"}], "environment"}`, contents in base64 or null;
`environment` says whether this interpreter is the project's own. Out: one JSON object.
"""

from __future__ import annotations

import ast
import base64
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

MOST_FILES = 20000
STANDARD = frozenset(sys.builtin_module_names) | frozenset(getattr(sys, "stdlib_module_names", ()))
"""Top modules of the standard library, also those of other platforms."""
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What parsing raises for source that is no Python: another gate's to say."""
_SKIPPED = {".git", "node_modules", "__pycache__", ".venv", "venv", ".tox", ".nox"}


def answer(judge: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answer one request, and end. What imported code prints goes to stderr, so that the answer stands alone."""
    request = json.loads(sys.stdin.buffer.read())
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)
        json.dump(judge(request), out)
        out.flush()
        # Threads and hooks of what was imported have no say in how this ends.
        os._exit(0)


def content_of(file: dict[str, Any], state: str) -> bytes | None:
    """Return what a file held `before` or holds `after`; None where there was or is none."""
    return None if file[state] is None else base64.b64decode(file[state])


def parse(content: bytes) -> ast.Module | None:
    """Return the syntax tree, or None: bad syntax is another gate's."""
    try:
        return ast.parse(content)
    except UNREADABLE:
        return None


def names_in(node: ast.AST) -> set[str]:
    """Return the names and attributes that a piece of code mentions."""
    return {
        part.id if isinstance(part, ast.Name) else part.attr
        for part in ast.walk(node)
        if isinstance(part, (ast.Name, ast.Attribute))
    }


def walk_tree(*, skipped: frozenset[str] = frozenset()) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield (folder, names of folders, names of files) of the changed tree, `skipped` folders left out too.

    Ends after the folder with which MOST_FILES files were passed.
    """
    seen = 0
    for folder, folders, files in os.walk(".", followlinks=False):
        folders[:] = [name for name in folders if name not in _SKIPPED and name not in skipped]
        yield folder, folders, files
        seen += len(files)
        if seen > MOST_FILES:
            return
