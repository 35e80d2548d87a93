"""Which code runs whatever the version and platform, what it binds, and what stands in which function."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator

from quantum_suite.services.validators.workers.changed_files import names_in

_GUARD = re.compile(
    r"(?i)version|platform|windows|darwin|linux|posix|pypy|cpython|py[23]|^type_checking$|^[hg]\w*attr$|^_?ha(?:s|ve)_|"
    r"_available$"
)
_FORGIVING = {"AttributeError", "ImportError", "ModuleNotFoundError", "TypeError", "Exception", "BaseException"}
_EXPECTING = {"raises", "suppress", "assertRaises", "assertRaisesRegex", "warns", "patch"}


def bindings(tree: ast.AST) -> Counter[str]:
    """Return how often each name is bound anywhere in a tree."""
    count: Counter[str] = Counter()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            count[node.id] += 1
        elif isinstance(node, ast.arg):
            count[node.arg] += 1
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and node is not tree:
            count[node.name] += 1
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                count[alias.asname or alias.name.split(".")[0]] += 1
        elif isinstance(node, ast.ExceptHandler) and node.name:
            count[node.name] += 1
        elif isinstance(node, (ast.Global, ast.Nonlocal)):
            for name in node.names:
                count[name] += 2
        else:
            # Captures of a pattern, parameters of a type.
            for field in ("name", "rest"):
                value = getattr(node, field, None)
                if isinstance(value, str) and not isinstance(node, (ast.alias, ast.FunctionDef, ast.ClassDef)):
                    count[value] += 2
    return count


def unguarded(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that run whatever the version, platform or what is installed."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for child in _children(node):
            waiting.append(child)


def own_nodes(scope: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Yield (node, parent) of a scope, functions and classes in it as one node each, guarded parts left out."""
    waiting: list[tuple[ast.AST, ast.AST]] = [(child, scope) for child in _children(scope)]
    while waiting:
        node, parent = waiting.pop()
        yield node, parent
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            waiting.extend((child, node) for child in _children(node))


def _children(node: ast.AST) -> list[ast.AST]:
    if isinstance(node, ast.Try) or type(node).__name__ == "TryStar":
        forgiving = any(h.type is None or names_in(h.type) & _FORGIVING for h in node.handlers)  # type: ignore[attr-defined] # TryStar has them too
        return [] if forgiving else list(ast.iter_child_nodes(node))
    if isinstance(node, (ast.If, ast.IfExp, ast.While)) and _guards(node.test):
        return []
    if isinstance(node, (ast.BoolOp, ast.Assert)) and _guards(node):
        return []
    if isinstance(node, (ast.With, ast.AsyncWith)) and any(
        names_in(i.context_expr) & _EXPECTING for i in node.items
    ):
        return []
    # What is only said of types may be known to type checkers alone.
    spared = {id(part) for part in (getattr(node, "annotation", None), getattr(node, "returns", None))}
    return [child for child in ast.iter_child_nodes(node) if id(child) not in spared]


def _guards(node: ast.AST) -> bool:
    return any(_GUARD.search(word) for word in names_in(node))


def split_chain(node: ast.AST) -> tuple[ast.AST, tuple[str, ...]]:
    """Return what a chain of attributes begins with, and the attributes."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    return node, tuple(attributes[::-1])


def chain_of(node: ast.AST) -> list[str]:
    """Return the names of a dotted chain; nothing for one that does not begin with a name."""
    root, attributes = split_chain(node)
    return [root.id, *attributes] if isinstance(root, ast.Name) else []
