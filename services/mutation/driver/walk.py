"""Finding every place of a file that can be mutated.

Left alone: annotations and other types (`Literal[...]`, a `TypeAlias`), docstrings, `assert`, names with two
underscores at module and class level (`__all__`, `__slots__`), `if TYPE_CHECKING` and `if __name__ == "__main__"`
blocks, overloads, log calls and the messages of raised exceptions, names given to TypeVar and its like, lines
marked `pragma: no mutate`, and the inside of f-strings before Python 3.12, which tells no exact places for it.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from quantum_suite.services.mutation.driver.model import Edit, FunctionNode, ProbedList, Site, Unit, last_name
from quantum_suite.services.mutation.driver.operators import (
    assigned_changes,
    condition_changes,
    constant_changes,
    expression_changes,
    handler_body,
    return_changes,
    statement_changes,
)
from quantum_suite.services.mutation.driver.text import SourceText

_LOG_METHODS = frozenset({"debug", "info", "warning", "warn", "error", "exception", "critical", "log"})
_LOGGERS = frozenset({"log", "logger", "logging", "_log", "_logger", "LOG", "LOGGER"})
_TYPE_MAKERS = frozenset({"TypeVar", "ParamSpec", "TypeVarTuple", "NewType", "NamedTuple", "TypedDict", "cast"})
_TYPE_FORMS = frozenset(
    {
        "Callable",
        "ClassVar",
        "Final",
        "Literal",
        "NotRequired",
        "Optional",
        "Required",
        "Type",
        "TypeGuard",
        "Union",
    }
)
"""Names whose subscript is a type, wherever it stands."""
_EXACT_FSTRINGS = sys.version_info >= (3, 12)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class _Where:
    """What is known of the place the walk is at."""

    names: tuple[str, ...] = ()
    classes: tuple[ast.ClassDef, ...] = ()
    unit: Unit | None = None
    about: Unit | None = None
    statement: int | None = None
    quiet: bool = False
    """Inside the message of an exception: its words are nobody's contract."""
    default: bool = False
    """Inside a default argument."""


class Walk:
    """Collects the sites of one file, in the order of its source, and the statements to be probed."""

    def __init__(self, source: SourceText, path: str, first_number: int) -> None:
        self.source = source
        self.path = path
        self.next_number = first_number
        self.sites: list[Site] = []
        self.probed: list[ProbedList] = []
        self.lambdas: list[tuple[ast.Lambda, int]] = []
        self.units: list[Unit] = []
        self.tree = source.parse()
        self._body(self.tree, "body", _Where())
        self._name_sites()

    def _name_sites(self) -> None:
        """Give every site its id: the same for as long as the function around it stays."""
        seen: Counter[tuple[str, str]] = Counter()
        for site in sorted(self.sites, key=lambda site: site.start):
            key = (site.function, site.operator)
            words = "\0".join((self.path, *key, str(seen[key])))
            seen[key] += 1
            site.id = hashlib.sha256(words.encode("utf-8", "surrogateescape")).hexdigest()[:16]

    # Statements

    def _body(self, owner: ast.AST, name: str, where: _Where) -> None:
        statements: list[ast.stmt] = getattr(owner, name)
        numbers: list[tuple[ast.stmt, int]] = []
        for index, node in enumerate(statements):
            if index == 0 and _is_docstring(owner, node):
                continue
            here = where
            if where.unit is not None:
                here = replace(where, statement=self._number(where.unit))
                numbers.append((node, self.next_number - 1))
            self._statement(owner, name, index, node, here)
        if numbers:
            self.probed.append(ProbedList(owner, name, numbers))

    def _number(self, unit: Unit) -> int:
        self.next_number += 1
        unit.statements.append(self.next_number - 1)
        return self.next_number - 1

    def _statement(self, owner: ast.AST, name: str, index: int, node: ast.stmt, where: _Where) -> None:
        if _left_alone(node, where):
            return
        for operator, new in statement_changes(node):
            self._add(operator, owner, name, index, node, new, where)
        if isinstance(node, _FUNCTIONS):
            self._function(node, where)
        elif isinstance(node, ast.ClassDef):
            self._decorators(node, where)
            self._all(node, ("bases", "keywords"), where)
            self._body(
                node, "body", replace(where, names=(*where.names, node.name), classes=(*where.classes, node))
            )
        elif isinstance(node, ast.Match):
            self._child(node, "subject", None, where)
            for case in node.cases:
                self._pattern(case.pattern, where)
                self._condition(case, "guard", where)
                self._body(case, "body", where)
        else:
            self._plain(node, where)

    def _plain(self, node: ast.stmt, where: _Where) -> None:
        """Walk a statement whose parts are expressions and lists of statements."""
        if isinstance(node, ast.Return):
            self._alternatives(node, "value", return_changes(node), where)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and not (node.value is None or _is_type(node.value)):
            self._alternatives(node, "value", assigned_changes(node.value), where)
        elif isinstance(node, ast.Raise):
            where = replace(where, quiet=True)
        for name in node._fields:
            value = getattr(node, name, None)
            if name in ("annotation", "type_comment", "type_params") or value is None:
                continue
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                self._body(node, name, where)
            elif name == "handlers":
                for handler in value:
                    self._handler(handler, where)
            elif name == "items":
                for item in value:
                    self._child(item, "context_expr", None, where)
            elif name == "test":
                self._condition(node, name, where)
            else:
                self._all(node, (name,), where)

    def _handler(self, node: ast.ExceptHandler, where: _Where) -> None:
        body = handler_body(node)
        first, last = node.body[0], node.body[-1]
        if body is not None and not getattr(first, "decorator_list", None):
            start, end = self.source.span(first)[0], self.source.span(last)[1]
            self._record("handler", Edit(node, "body", body), start, end, "raise", where)
        self._body(node, "body", where)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, where: _Where) -> None:
        if any(last_name(decorator) == "overload" for decorator in node.decorator_list):
            return
        first_line = node.decorator_list[0].lineno if node.decorator_list else node.lineno
        unit = where.unit or self._unit(node, where, node.name, first_line)
        names = (*where.names, node.name)
        outside = replace(where, names=names, about=unit)
        self._decorators(node, outside)
        self._defaults(node.args, outside)
        self._body(node, "body", _Where((*names, "<locals>"), where.classes, unit))

    def _unit(self, node: FunctionNode, where: _Where, name: str, first_line: int) -> Unit:
        unit = Unit(node, where.classes, name, first_line)
        self.units.append(unit)
        return unit

    def _decorators(self, node: Any, where: _Where) -> None:
        decorators: list[ast.expr] = node.decorator_list
        for index, decorator in enumerate(decorators):
            start, end = self.source.span(decorator)
            before = self.source.data[:start].rstrip(b" \t")
            if before.endswith(b"@"):
                edit = Edit(node, "decorator_list", [*decorators[:index], *decorators[index + 1 :]])
                self._record("decorator", edit, len(before) - 1, end, "", where)
            self._child(node, "decorator_list", index, where)

    def _defaults(self, arguments: ast.arguments, where: _Where) -> None:
        self._all(arguments, ("defaults", "kw_defaults"), replace(where, default=True))

    # Expressions

    def _all(self, node: ast.AST, names: Iterable[str], where: _Where) -> None:
        for name in names:
            value = getattr(node, name, None)
            if isinstance(value, list):
                for index, item in enumerate(value):
                    if isinstance(item, ast.AST):
                        self._child(node, name, index, where)
            elif isinstance(value, ast.AST):
                self._child(node, name, None, where)

    def _alternatives(
        self, owner: ast.AST, name: str, changes: Iterable[tuple[str, ast.expr]], where: _Where
    ) -> None:
        for operator, new in changes:
            self._add(operator, owner, name, None, getattr(owner, name), new, where)

    def _condition(self, owner: ast.AST, name: str, where: _Where) -> None:
        node = getattr(owner, name)
        if node is not None:
            self._alternatives(owner, name, condition_changes(node), where)
            self._child(owner, name, None, where)

    def _child(self, owner: ast.AST, name: str, index: int | None, where: _Where) -> None:
        node = getattr(owner, name) if index is None else getattr(owner, name)[index]
        if isinstance(node, ast.expr) and not isinstance(node, ast.JoinedStr):
            silent = where.quiet and isinstance(node, ast.Constant) and isinstance(node.value, str)
            for operator, new in () if silent else expression_changes(node):
                self._add("default" if where.default else operator, owner, name, index, node, new, where)
        self._inside(node, where)

    def _inside(self, node: ast.AST, where: _Where) -> None:
        if isinstance(node, ast.Lambda):
            self._lambda(node, where)
        elif isinstance(node, ast.JoinedStr):
            if _EXACT_FSTRINGS:
                for value in node.values:
                    if isinstance(value, ast.FormattedValue):
                        self._child(value, "value", None, where)
        elif isinstance(node, ast.comprehension):
            self._child(node, "iter", None, where)
            for index, test in enumerate(node.ifs):
                for operator, new in condition_changes(test):
                    self._add(operator, node, "ifs", index, test, new, where)
                self._child(node, "ifs", index, where)
        elif isinstance(node, ast.IfExp):
            self._condition(node, "test", where)
            self._all(node, ("body", "orelse"), where)
        elif isinstance(node, ast.Call) and last_name(node.func) in _TYPE_MAKERS:
            self._all(node, ("args",) if last_name(node.func) == "cast" else (), where)
        elif type(node).__name__ == "TemplateStr" or _is_type(node):
            return
        else:
            self._all(node, node._fields, where)

    def _lambda(self, node: ast.Lambda, where: _Where) -> None:
        self._defaults(node.args, where)
        names = (*where.names, "<lambda>", "<locals>")
        if where.unit is not None:
            self._child(node, "body", None, replace(where, names=names, default=False))
            return
        unit = self._unit(node, where, "<lambda>", node.lineno)
        number = self._number(unit)
        self.lambdas.append((node, number))
        self._child(node, "body", None, _Where(names, where.classes, unit, statement=number))

    def _pattern(self, pattern: ast.pattern, where: _Where) -> None:
        for node in ast.walk(pattern):
            value = getattr(node, "value", None)
            if isinstance(node, ast.MatchValue) and isinstance(value, ast.Constant):
                self._alternatives(node, "value", constant_changes(value), where)

    # Recording

    def _add(
        self, operator: str, owner: ast.AST, name: str, index: int | None, old: Any, new: Any, where: _Where
    ) -> None:
        """Take a change in, if its text says exactly what the tree says."""
        if index is None:
            value = new
        else:
            items = getattr(owner, name)
            value = [*items[:index], new, *items[index + 1 :]]
        try:
            text = _text(new, owner)
        except (ValueError, RecursionError):  # Strings that `unparse` cannot quote.
            return
        if text is not None:
            start, end = self.source.span(old)
            self._record(operator, Edit(owner, name, value), start, end, text, where)

    def _record(self, operator: str, edit: Edit, start: int, end: int, text: str, where: _Where) -> None:
        first, last = self.source.place(start)[0], self.source.place(end)[0]
        if b"pragma: no mutate" in self.source.line(first):
            return
        names = where.names[:-1] if where.names[-1:] == ("<locals>",) else where.names
        self.sites.append(
            Site(
                operator,
                edit,
                start,
                end,
                text,
                ".".join(names),
                where.unit,
                where.statement,
                where.about if where.unit is None else None,
                (first, last),
            )
        )


def _text(new: ast.AST, owner: ast.AST) -> str | None:
    """Return the source of a new node, or None when it would not read back as the same."""
    text = ast.unparse(new)
    if isinstance(new, ast.stmt):
        return text if ast.dump(ast.parse(text).body[0]) == ast.dump(new) or not _reads_alone(new) else None
    if ast.dump(ast.parse(f"({text})", mode="eval").body) != ast.dump(_loaded(new)):
        return None
    plain = isinstance(new, (ast.Name, ast.Call, ast.Subscript)) or (
        isinstance(new, ast.Constant) and not isinstance(owner, ast.Attribute) and not text.startswith("-")
    )
    return text if plain or isinstance(owner, ast.MatchValue) else f"({text})"


def _reads_alone(node: ast.stmt) -> bool:
    return not isinstance(node, (ast.Break, ast.Continue, ast.AugAssign, ast.Assign))


def _loaded(node: ast.AST) -> ast.AST:
    return changed_context(node) if isinstance(getattr(node, "ctx", None), (ast.Store, ast.Del)) else node


def changed_context(node: ast.AST) -> ast.AST:
    """Return a copy of a target as it is when read."""
    fields = {name: getattr(node, name) for name in node._fields}
    return type(node)(**{**fields, "ctx": ast.Load()})


def _is_docstring(owner: ast.AST, node: ast.stmt) -> bool:
    return (
        isinstance(owner, (ast.Module, ast.ClassDef, *_FUNCTIONS))
        and isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _is_type(node: ast.AST) -> bool:
    return isinstance(node, ast.Subscript) and last_name(node.value) in _TYPE_FORMS


def _left_alone(node: ast.stmt, where: _Where) -> bool:
    if isinstance(node, (ast.Assert, ast.Import, ast.ImportFrom)):
        return True
    if isinstance(node, ast.If):
        if last_name(node.test) == "TYPE_CHECKING":
            return True
        return isinstance(node.test, ast.Compare) and last_name(node.test.left) == "__name__" and not where.unit
    if isinstance(node, ast.AnnAssign) and last_name(node.annotation) == "TypeAlias":
        return True
    if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)) and where.unit is None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return any(last_name(target).startswith("__") for target in targets)
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        func = node.value.func
        return isinstance(func, ast.Attribute) and func.attr in _LOG_METHODS and last_name(func.value) in _LOGGERS
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
