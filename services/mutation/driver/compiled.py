"""Turning a file and its mutants into code objects."""

from __future__ import annotations
import __future__

import ast
import dis
import sys
import warnings
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

from quantum_suite.services.mutation.driver.defaults import DefaultValue, default_value
from quantum_suite.services.mutation.driver.model import Edit, Site, Unit
from quantum_suite.services.mutation.driver.text import SourceText
from quantum_suite.services.mutation.driver.walk import Walk

_DEFAULTS: dict[str, dict[str, Any]] = {
    "sorted": {"key": None, "reverse": False},
    "min": {"key": None},
    "max": {"key": None},
    "zip": {"strict": False},
    "enumerate": {"start": 0},
    "sum": {"start": 0},
    "print": {"sep": " ", "end": "\n", "file": None, "flush": False},
    "open": {"mode": "r", "buffering": -1, "encoding": None, "errors": None, "newline": None},
}
"""Keyword arguments of built-in functions that say what is the case anyway (Python's library reference)."""

_PROBE = "\0quantum probe\0"
CodePath = tuple[tuple[str, int, int], ...]
"""Where a code object lies in its outermost function: name, first line and rank among equals, level by level."""
Variant = CodeType | DefaultValue
"""What a mutant makes of a function that lives."""


class MutatedFile:
    """One file: its mutants, and its code with probes, without, and with one mutant."""

    def __init__(self, raw: bytes, relative: str, filename: str, first_number: int) -> None:
        self.source = SourceText(raw)
        self.relative = relative
        self.filename = filename
        self.walk = Walk(self.source, relative, first_number)
        self.flags = _future_flags(self.walk.tree)
        self._pristine: dict[Unit, CodeType | None] = {}
        self._variants: dict[Site, Variant | None] = {}
        self._parts: dict[int, CodeType] = {}
        self._plain: CodeType | None = None

    @property
    def sites(self) -> list[Site]:
        """The mutants of this file."""
        return self.walk.sites

    def compiled(self, tree: ast.Module) -> CodeType:
        """Compile a tree as this file would be."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code = compile(tree, self.filename, "exec", flags=self.flags, dont_inherit=True)
        assert isinstance(code, CodeType)
        return code

    def plain(self) -> CodeType:
        """Return the file's own code."""
        if self._plain is None:
            self._plain = self.compiled(self.walk.tree)
        return self._plain

    def mutated(self, site: Site) -> CodeType:
        """Return the file's code with a mutant in it."""
        with site.edit.applied():
            return self.compiled(self.walk.tree)

    def prepare_parts(self) -> None:
        """Compile what `mutated_parts` takes from here, so that children forked later need not."""
        for place in range(len(self.walk.tree.body)):
            self._part(place)

    def mutated_parts(self, site: Site) -> list[CodeType]:
        """Return the file's code with a mutant in it, in parts to be executed one after the other: only the
        statement with the mutant is compiled."""
        place = self._place(site)
        # Annotations of a module belong to its code as a whole from there on.
        if place is None or sys.version_info >= (3, 14):
            return [self.mutated(site)]
        parts = [self._part(number) for number in range(len(self.walk.tree.body))]
        with site.edit.applied():
            # Looked up anew: the mutant may stand in the whole statement's place.
            parts[place] = self._statement(place)
        return parts

    def probed(self, reached: Callable[[int], Any]) -> CodeType:
        """Return the file's code, calling `reached` with a statement's number before each statement in a
        function."""
        edits = [
            Edit(listed.owner, listed.name, _with_probes(listed.owner, listed.name, dict(listed.numbers)))
            for listed in self.walk.probed
        ]
        edits += [Edit(node, "body", _probed_expression(node.body, number)) for node, number in self.walk.lambdas]
        before = [getattr(edit.owner, edit.name) for edit in edits]
        try:
            for edit in edits:
                setattr(edit.owner, edit.name, edit.value)
            code = self.compiled(self.walk.tree)
        finally:
            for edit, value in zip(edits, before, strict=True):
                setattr(edit.owner, edit.name, value)
        return _with_constant(code, reached)

    def unit_code(self, unit: Unit) -> CodeType | None:
        """Return the own code of an outermost function; None when it cannot be told from another on its line."""
        if unit not in self._pristine:
            self._pristine[unit] = self._compile_unit(unit, ())
        return self._pristine[unit]

    def variant(self, site: Site) -> Variant | None:
        """Return what a mutant makes of a function that lives: the code of the outermost one with the mutant in
        it, or a default argument's value. None when those that live cannot take it."""
        if site not in self._variants:
            self._variants[site] = default_value(site, self.source) if site.unit is None else self._variant(site)
        return self._variants[site]

    def forget_variant(self, site: Site) -> None:
        """Free what `variant` has kept."""
        self._variants.pop(site, None)

    def _variant(self, site: Site) -> CodeType | None:
        assert site.unit is not None
        own = self.unit_code(site.unit)
        with site.edit.applied():
            code = self._compile_unit(site.unit, ())
            if own is None or code is None:
                return None
            lost = [name for name in own.co_freevars if name not in code.co_freevars]
            if lost:
                # Functions that live are tied to these cells: the mutant keeps them without use.
                code = self._compile_unit(site.unit, lost)
        return code if code is not None and code.co_freevars == own.co_freevars else None

    def is_equivalent(self, site: Site) -> bool:
        """Whether a mutant compiles to the same code as the original, or is known to do the same."""
        if _known_same(site, self.walk.tree):
            return True
        if site.unit is not None:
            own, variant = self.unit_code(site.unit), self.variant(site)
            return own is not None and isinstance(variant, CodeType) and same_code(own, variant)
        place = self._place(site)
        if place is None:
            return False
        own = self._part(place)
        with site.edit.applied():
            # Looked up anew: the mutant may stand in the whole statement's place.
            return same_code(own, self._statement(place))

    def _place(self, site: Site) -> int | None:
        """Return which statement of the module holds a mutant: files are long."""
        nodes = enumerate(self.walk.tree.body)
        return next((place for place, node in nodes if _holds(node, site, self.source)), None)

    def _part(self, place: int) -> CodeType:
        if place not in self._parts:
            self._parts[place] = self._statement(place)
        return self._parts[place]

    def _statement(self, place: int) -> CodeType:
        """Compile one statement of the module as it is now."""
        node = self.walk.tree.body[place]
        # A text that stands alone says nothing, but as a module's first statement it would be what it is about.
        says_nothing = place > 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        return self.compiled(ast.Module(body=[] if says_nothing else [node], type_ignores=[]))

    def _compile_unit(self, unit: Unit, kept: tuple[str, ...] | list[str]) -> CodeType | None:
        """Compile a function inside empty copies of its classes: it sees the same names, and has the same own."""
        body: Any = unit.node
        if isinstance(body, ast.Lambda):
            body = ast.copy_location(ast.Expr(value=body), body)
        elif kept:
            dead: list[ast.stmt] = [ast.Expr(value=ast.Name(id=name, ctx=ast.Load())) for name in kept]
            guard = ast.If(test=ast.Constant(value=0), body=dead, orelse=[])
            ast.copy_location(guard, body.body[-1])
            ast.fix_missing_locations(guard)
            new = ast.copy_location(type(body)(**{name: getattr(body, name, None) for name in body._fields}), body)
            new.body = [*body.body, guard]
            body = new
        for outer in reversed(unit.classes):
            fields: dict[str, Any] = {
                "name": outer.name,
                "bases": [],
                "keywords": [],
                "body": [body],
                "decorator_list": [],
            }
            if hasattr(outer, "type_params"):
                fields["type_params"] = outer.type_params
            body = ast.copy_location(ast.ClassDef(**fields), outer)
        code = self.compiled(ast.Module(body=[body], type_ignores=[]))
        found = [inner for inner in _walk_code(code) if (inner.co_name, inner.co_firstlineno) == _key(unit)]
        return found[0] if found else None


def same_code(one: CodeType, other: CodeType) -> bool:
    """Whether two code objects do the same: all is compared but lines, positions, and constants nobody loads."""
    # The operations, every other byte, are compared first: most differ there, and the rest costs more.
    return one.co_code[::2] == other.co_code[::2] and _shape(one) == _shape(other) and _steps(one) == _steps(other)


def code_tree(code: CodeType) -> dict[CodePath, CodeType]:
    """Return a code object and all inside it by their paths."""
    found: dict[CodePath, CodeType] = {(): code}
    ranks: dict[tuple[str, int], int] = {}
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            key = (inner.co_name, inner.co_firstlineno)
            step = (*key, ranks.get(key, 0))
            ranks[key] = step[2] + 1
            found.update({(step, *path): deeper for path, deeper in code_tree(inner).items()})
    return found


def units_in(module: CodeType, units: list[Unit]) -> dict[Unit, CodeType]:
    """Find the code objects of outermost functions in a module's code; those that cannot be told apart are left
    out."""
    by_key: dict[tuple[str, int], list[CodeType]] = {}
    for code in _outermost(module):
        by_key.setdefault((code.co_name, code.co_firstlineno), []).append(code)
    wanted: dict[tuple[str, int], list[Unit]] = {}
    for unit in units:
        wanted.setdefault(_key(unit), []).append(unit)
    return {same[0]: by_key[key][0] for key, same in wanted.items() if len(same) == 1 == len(by_key.get(key, []))}


def _key(unit: Unit) -> tuple[str, int]:
    return unit.name, unit.first_line


def _outermost(code: CodeType) -> Iterator[CodeType]:
    """Yield the functions of a module and its classes, not what is inside them."""
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            # CO_OPTIMIZED: a function, lambda or comprehension; without it a class body or a scope of types.
            if inner.co_flags & 0x1 and not inner.co_name.startswith("<generic"):
                yield inner
            else:
                yield from _outermost(inner)


def _walk_code(code: CodeType) -> Iterator[CodeType]:
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield inner
            yield from _walk_code(inner)


def _shape(code: CodeType) -> tuple[Any, ...]:
    return (
        code.co_name,
        code.co_varnames,
        code.co_freevars,
        code.co_cellvars,
        code.co_flags,
        (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount),
        getattr(code, "co_exceptiontable", b""),
    )


def _steps(code: CodeType) -> list[tuple[str, Any]]:
    return [(step.opname, _constant(step.argval)) for step in dis.get_instructions(code)]


def _constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return _shape(value), _steps(value)
    if isinstance(value, (tuple, frozenset)):
        return type(value), [_constant(item) for item in value]
    return type(value), repr(value)  # 0.0 and -0.0, 1 and True are equal, and not the same.


def _known_same(site: Site, tree: ast.Module) -> bool:
    """Leaving out an argument that says what a built-in function takes anyway."""
    if site.operator != "keyword":
        return False
    new = site.edit.value
    old = getattr(site.edit.owner, site.edit.name)
    if isinstance(old, list):
        pairs = [(one, other) for one, other in zip(old, new, strict=True) if one is not other]
        old, new = pairs[0]
    if not isinstance(old.func, ast.Name) or old.func.id not in _DEFAULTS or _rebinds(tree, old.func.id):
        return False
    left = {keyword.arg for keyword in new.keywords}
    (gone,) = [keyword for keyword in old.keywords if keyword.arg not in left] or [None]
    defaults = _DEFAULTS[old.func.id]
    return (
        gone is not None
        and gone.arg in defaults
        and isinstance(gone.value, ast.Constant)
        and _constant(gone.value.value) == _constant(defaults[gone.arg])
    )


def _rebinds(tree: ast.Module, name: str) -> bool:
    """Whether a name may mean something else than the built-in function in this file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == name and not isinstance(node.ctx, ast.Load):
            return True
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and node.name == name:
            return True
        if isinstance(node, ast.arg) and node.arg == name:
            return True
        if isinstance(node, ast.alias) and (node.name == "*" or (node.asname or node.name) == name):
            return True
    return False


def _holds(node: ast.stmt, site: Site, source: SourceText) -> bool:
    start, end = source.span(node)
    decorators = getattr(node, "decorator_list", [])
    if decorators:
        start = source.span(decorators[0])[0] - 1
    return start <= site.start and site.end <= end


def _future_flags(tree: ast.Module) -> int:
    flags = 0
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            for alias in node.names:
                feature = getattr(__future__, alias.name, None)
                flags |= feature.compiler_flag if feature is not None else 0
    return flags


def _with_probes(owner: ast.AST, name: str, numbers: dict[ast.stmt, int]) -> list[ast.stmt]:
    probed: list[ast.stmt] = []
    for node in getattr(owner, name):
        if node in numbers:
            call = ast.Expr(value=_call(numbers[node]))
            probed.append(ast.fix_missing_locations(ast.copy_location(call, node)))
        probed.append(node)
    return probed


def _probed_expression(node: ast.expr, number: int) -> ast.expr:
    pair = ast.Tuple(elts=[_call(number), node], ctx=ast.Load())
    second = ast.Subscript(value=pair, slice=ast.Constant(value=1), ctx=ast.Load())
    return ast.fix_missing_locations(ast.copy_location(second, node))


def _call(number: int) -> ast.Call:
    return ast.Call(func=ast.Constant(value=_PROBE), args=[ast.Constant(value=number)], keywords=[])


def _with_constant(code: CodeType, reached: Callable[[int], Any]) -> CodeType:
    """Put the function where the code has its mark: no name of the module's is used for it."""
    constants: list[Any] = []
    for value in code.co_consts:
        if isinstance(value, CodeType):
            constants.append(_with_constant(value, reached))
        else:
            constants.append(reached if isinstance(value, str) and value == _PROBE else value)
    return code.replace(co_consts=tuple(constants))
