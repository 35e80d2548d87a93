"""Which files importing a file imports, and the ways back to it."""

from __future__ import annotations

import ast

from quantum_suite.services.validators.workers.imports.reading import Import, imports_of
from quantum_suite.services.validators.workers.imports.tree import Tree


def edges(tree: Tree, path: str, module: ast.Module) -> dict[str, Import]:
    """Return the files of the tree that are imported when a file is, each with the import that does it."""
    found: dict[str, Import] = {}
    for one in imports_of(module):
        if one.guarded or not one.at_top:
            continue
        target = tree.target(one, path)
        if target is None:
            continue
        inner = None
        if one.name is not None and target.endswith("__init__.py"):
            inner = tree.module_file(target[: -len("__init__.py")], one.name)
        for file in (inner, target):
            if file is not None and file.endswith(".py") and file != path:
                found.setdefault(file, one)
    return found


def circle(tree: Tree, start: str, path: str) -> list[str] | None:
    """Return the shortest way from `start` back to `path` along imports, or None."""
    came: dict[str, str | None] = {start: None}
    waiting = [start]
    while waiting:
        here = waiting.pop(0)
        if here == path:
            way: list[str] = []
            step: str | None = here
            while step is not None:
                way.append(step)
                step = came[step]
            return way[::-1]
        module = tree.parsed(here)
        for target in edges(tree, here, module) if module is not None else ():
            if target not in came:
                came[target] = here
                waiting.append(target)
    return None
