"""What a file uses of what it imports, as far as names can mean one thing alone."""

from __future__ import annotations

import ast
from collections import Counter
from typing import Any, NamedTuple

from quantum_suite.services.validators.workers.api.scopes import (
    bindings,
    chain_of,
    own_nodes,
    split_chain,
    unguarded,
)

MOST_REFERENCES = 20_000
_LITERALS = {
    ast.List: "list",
    ast.ListComp: "list",
    ast.Dict: "dict",
    ast.DictComp: "dict",
    ast.Set: "set",
    ast.SetComp: "set",
    ast.Tuple: "tuple",
    ast.JoinedStr: "str",
}


class Call(NamedTuple):
    """The arguments of a call, as far as they are written out."""

    positional: int
    keywords: tuple[str, ...]
    open_ended: bool
    """Whether it unpacks something, so that more may be given than is seen."""


class Reference(NamedTuple):
    """A use of something imported: `module`, then a name taken from it, then attributes."""

    module: str
    path: tuple[str, ...]
    instance: int
    """How many parts of `path` name the class whose instance the rest is asked of; -1 for no instance."""
    call: Call | None
    line: int
    column: int
    end_column: int
    of_import: bool

    @property
    def key(self) -> tuple[Any, ...]:
        """What makes two uses the same, wherever they stand."""
        return self.module, self.path, self.instance, self.call


class Uses:
    """Collects the references of one file."""

    def __init__(self, tree: ast.Module) -> None:
        self.found: list[Reference] = []
        self._bindings = bindings(tree)
        self._imports = self._trusted(tree)
        self._patched = {
            tuple(chain)
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load)
            for chain in [chain_of(node)]
            if chain
        }
        self._scope(tree)

    def _trusted(self, tree: ast.Module) -> dict[str, tuple[str, tuple[str, ...]]]:
        """Return names that only an import binds: name -> (module, path below it)."""
        trusted: dict[str, tuple[str, tuple[str, ...]]] = {}
        plain: Counter[str] = Counter()
        for node in unguarded(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    top = alias.name.split(".")[0]
                    bound = alias.asname or top
                    trusted[bound] = (alias.name, ()) if alias.asname else (top, ())
                    plain[bound] += 0 if alias.asname else 1
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                for alias in node.names:
                    if alias.name != "*":
                        trusted[alias.asname or alias.name] = (node.module, (alias.name,))
                        end = getattr(alias, "end_col_offset", None)
                        start = getattr(alias, "col_offset", node.col_offset)
                        line = getattr(alias, "lineno", node.lineno)
                        self.found.append(
                            Reference(
                                node.module, (alias.name,), -1, None, line, start + 1, (end or start + 1) + 1, True
                            )
                        )
        return {
            name: where
            for name, where in trusted.items()
            # `import a.b` beside `import a` binds the same thing twice.
            if self._bindings[name] == 1 or self._bindings[name] == plain[name]
        }

    def _scope(self, scope: ast.AST) -> None:
        """Take the uses of one function or of the module, then those of the functions in it."""
        instances = self._instances(scope)
        for node, parent in own_nodes(scope):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
                self._scope(node)
                continue
            if len(self.found) >= MOST_REFERENCES or not isinstance(node, (ast.Attribute, ast.Name)):
                continue
            if isinstance(parent, ast.Attribute) or not isinstance(node.ctx, ast.Load):
                continue
            self._take(node, parent, instances)

    def _take(self, node: Any, parent: Any, instances: dict[str, tuple[str, tuple[str, ...]]]) -> None:
        called = isinstance(parent, ast.Call) and parent.func is node
        call = _call(parent) if called else None
        root, attributes = split_chain(node)
        if isinstance(root, ast.Name):
            if (root.id, *attributes) in self._patched:
                return
            if root.id in self._imports:
                module, path = self._imports[root.id]
                if attributes or call is not None:
                    self._add(module, path + attributes, -1, call, node)
            elif root.id in instances and attributes:
                module, path = instances[root.id]
                self._add(module, path + attributes[:1], len(path), call if len(attributes) == 1 else None, node)
        elif attributes:
            known = self._class_of(root)
            if known is not None:
                module, path = known
                self._add(module, path + attributes[:1], len(path), call if len(attributes) == 1 else None, node)

    def _add(self, module: str, path: tuple[str, ...], instance: int, call: Call | None, node: Any) -> None:
        one_line = node.end_lineno == node.lineno
        start = node.col_offset + 1
        end = node.end_col_offset + 1 if one_line else start + 1
        line = node.lineno if one_line else node.end_lineno
        self.found.append(Reference(module, path, instance, call, line, start if one_line else 1, end, False))

    def _class_of(self, value: ast.AST) -> tuple[str, tuple[str, ...]] | None:
        """Return the class an expression makes an instance of: of a literal, or of a call of an imported name."""
        if isinstance(value, ast.Constant) and type(value.value) in (str, bytes, int, float):
            return "builtins", (type(value.value).__name__,)
        if type(value) in _LITERALS:
            return "builtins", (_LITERALS[type(value)],)
        if isinstance(value, ast.Call):
            root, attributes = split_chain(value.func)
            if isinstance(root, ast.Name) and root.id in self._imports:
                module, path = self._imports[root.id]
                return module, path + attributes
        return None

    def _instances(self, scope: ast.AST) -> dict[str, tuple[str, tuple[str, ...]]]:
        """Return variables a function binds once: to a literal, or to what a call of an imported name gives."""
        if not isinstance(scope, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return {}
        bound = bindings(scope)
        found = {}
        for node, _ in own_nodes(scope):
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id
                known = self._class_of(node.value)
                if known is not None and bound[name] == 1 and name not in self._imports:
                    found[name] = known
        return found


def _call(node: ast.Call) -> Call:
    starred = any(isinstance(argument, ast.Starred) for argument in node.args)
    unpacked = any(keyword.arg is None for keyword in node.keywords)
    return Call(
        len([argument for argument in node.args if not isinstance(argument, ast.Starred)]),
        tuple(keyword.arg for keyword in node.keywords if keyword.arg is not None),
        starred or unpacked,
    )
