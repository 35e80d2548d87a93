"""What a module imports, and what it binds at its top."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any, NamedTuple

from quantum_suite.services.validators.workers.changed_files import names_in

_GUARDS = {"TYPE_CHECKING", "version_info", "platform", "implementation", "name", "PY2", "PY3", "version"}
_FORGIVING = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}
_DYNAMIC = {"globals", "setattr", "exec", "eval", "vars", "__import__", "modules", "__getattr__", "locals"}


class Import(NamedTuple):
    """One imported module or name."""

    module: str
    level: int
    name: str | None
    line: int
    column: int
    end_column: int
    guarded: bool
    at_top: bool


def imports_of(tree: ast.Module) -> list[Import]:
    """Return every import, in order."""
    return list(_walk(tree.body, guarded=False, at_top=True))


def _walk(nodes: Any, guarded: bool, at_top: bool) -> Iterator[Import]:
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield _import(alias.name, 0, None, node, guarded, at_top)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield _import(node.module or "", node.level, alias.name, node, guarded, at_top)
        else:
            inside = at_top and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            for body, depends in _bodies(node):
                yield from _walk(body, guarded or depends, inside)


def _bodies(node: Any) -> list[tuple[Any, bool]]:
    """Return the blocks of a statement, each with whether it runs only under some condition of where it runs."""
    if isinstance(node, ast.Try):
        handlers = [(handler.body, True) for handler in node.handlers]
        return [(node.body, _forgives(node)), *handlers, (node.orelse + node.finalbody, False)]
    if isinstance(node, ast.If):
        return [(node.body + node.orelse, bool(names_in(node.test) & _GUARDS))]
    if isinstance(node, (ast.With, ast.AsyncWith)):
        return [(node.body, any(names_in(item.context_expr) & _FORGIVING for item in node.items))]
    if type(node).__name__ in ("Match", "TryStar", "match_case", "ExceptHandler"):
        return [(list(ast.iter_child_nodes(node)), True)]
    if isinstance(getattr(node, "body", None), list):
        return [(node.body + getattr(node, "orelse", []), False)]
    return []


def _import(module: str, level: int, name: str | None, node: Any, guarded: bool, at_top: bool) -> Import:
    one_line = getattr(node, "end_lineno", node.lineno) == node.lineno
    end = node.end_col_offset if one_line else node.col_offset + 1
    return Import(module, level, name, node.lineno, node.col_offset + 1, end + 1, guarded, at_top)


def _forgives(node: ast.Try) -> bool:
    return any(handler.type is None or names_in(handler.type) & _FORGIVING for handler in node.handlers)


def bound_names(tree: ast.Module) -> set[str] | None:
    """Return what a module binds at its top, or None when that cannot be read from its source."""
    found: set[str] = set()
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
            continue
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                if alias.name == "*":
                    return None
                found.add(alias.asname or alias.name.split(".")[0])
            continue
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            found.add(node.name)
        elif type(node).__name__ in ("MatchAs", "MatchStar", "MatchMapping", "TypeAlias"):
            return None
        waiting.extend(ast.iter_child_nodes(node))
    # A function may bind for the module, by name or by its dictionary.
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            found.update(node.names)
    if "__getattr__" in found or names_in(tree) & _DYNAMIC:
        return None
    return found | {
        "__name__",
        "__file__",
        "__doc__",
        "__path__",
        "__spec__",
        "__loader__",
        "__package__",
        "__dict__",
    }
