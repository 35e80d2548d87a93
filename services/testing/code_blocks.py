"""What a Python file consists of, for telling which part of it a change concerns.

A file is split into the bodies of its functions, its definitions (what a name at module or class level is bound
to: headers of functions, classes, assignments, imports) and the rest that runs at import. Each part has the digest
of its syntax tree, so that comments and spacing change nothing, and the names it mentions.
"""

import ast
import hashlib
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

_WORD = re.compile(r"[\w.\-]+")
_LONGEST_STRING = 300
LOOKS_AT_EVERYTHING = frozenset(
    {"__all__", "__dict__", "dir", "eval", "exec", "getmembers", "globals", "import_module", "locals", "vars"}
)
"""Who mentions one of these may depend on any name."""
EVERYTHING = "*"
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Body:
    """The body of a function or method; functions inside it are part of it."""

    name: str
    """Qualified: `Class.method`."""
    first: int
    last: int
    digest: str
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Definition:
    """What a name is bound to, without the bodies of functions."""

    digest: str
    names: frozenset[str]
    means: frozenset[str]
    """The names through which a change of it is felt."""
    safe: bool = True
    """Whether evaluating it at import cannot fail, as far as can be seen: it calls nothing."""


@dataclass(frozen=True, slots=True)
class FileCode:
    """A file in parts."""

    bodies: dict[str, Body] = field(default_factory=dict)
    definitions: dict[str, Definition] = field(default_factory=dict)
    rest: str = ""
    rest_names: frozenset[str] = frozenset()
    imports: frozenset[tuple[int, str]] = frozenset()
    """(level, dotted name): level counts the dots of a relative import."""
    readable: bool = True
    """False when it is no Python that can be parsed: then it is one part, its bytes."""


def read_code(source: bytes) -> FileCode:
    """Return the parts of a file."""
    try:
        tree = ast.parse(source)
        return _Reader().read(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return FileCode(rest=hashlib.sha256(source).hexdigest(), readable=False)


class _Reader:
    def __init__(self) -> None:
        self.bodies: dict[str, list[Body]] = {}
        self.definitions: dict[str, list[Definition]] = {}
        self.rest: list[ast.stmt] = []

    def read(self, tree: ast.Module) -> FileCode:
        for statement in tree.body:
            self._module_level(statement)
        return FileCode(
            bodies={name: _joined(name, bodies) for name, bodies in self.bodies.items()},
            definitions={name: _merged(found) for name, found in self.definitions.items()},
            rest=_digest(self.rest),
            rest_names=_names(self.rest),
            imports=frozenset(_imports(tree)),
        )

    def _module_level(self, statement: ast.stmt) -> None:
        if isinstance(statement, _Function):
            self._function(statement, "")
        elif isinstance(statement, ast.ClassDef):
            self._class(statement, "")
        elif (names := _bound(statement)) is not None:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                statement_parts = _one_by_one(statement)
            else:
                statement_parts = [(name, statement) for name in names]
            for name, part in statement_parts:
                # What comes from the standard library depends on nothing here.
                imported = isinstance(part, ast.Import | ast.ImportFrom)
                mentioned = frozenset() if imported and _is_standard(part) else _names([part])
                # An import stands on what it names; an assignment does not on its own target.
                mentioned = mentioned if imported else mentioned - {name}
                self._define(name, _part(part), mentioned, {name}, _is_safe([part]))
        else:
            # What is defined inside of `if` and `try` counts as one with it, but for the bodies.
            for inner in ast.walk(statement):
                if isinstance(inner, _Function):
                    self._body(inner, f"{inner.name}@{inner.lineno - statement.lineno}")
            self.rest.append(statement)

    def _function(self, function: _Function, prefix: str, through: frozenset[str] = frozenset()) -> None:
        name = prefix + function.name
        header = _header(function)
        means = {function.name}
        special = function.name.startswith("__") and function.name.endswith("__")
        if function.decorator_list or special:
            means |= through
        self._define(name, _digest(header), _names(header), means, _is_safe(header))
        self._body(function, name)

    def _class(self, definition: ast.ClassDef, prefix: str) -> None:
        name = prefix + definition.name
        outside: list[ast.AST] = [*definition.decorator_list, *definition.bases, *definition.keywords]
        # What is done with the members of a class by its decorators and bases cannot be seen from here.
        through = frozenset({definition.name})
        plain = not outside
        for statement in definition.body:
            if isinstance(statement, _Function):
                self._function(statement, f"{name}.", through)
                if not plain:
                    self._means_more(f"{name}.{statement.name}", through)
            elif isinstance(statement, ast.ClassDef):
                self._class(statement, f"{name}.")
                outside.append(ast.Name(statement.name, ast.Load()))
            else:
                outside.append(statement)
        means = {definition.name, *_assigned(definition.body)}
        self._define(name, _digest(outside), _names(outside), means, _is_safe(outside))

    def _define(
        self, name: str, digest: str, names: Iterable[str], means: Iterable[str], safe: bool = True
    ) -> None:
        found = Definition(digest, frozenset(names), frozenset(means), safe)
        self.definitions.setdefault(name, []).append(found)

    def _means_more(self, name: str, through: frozenset[str]) -> None:
        last = self.definitions[name].pop()
        self._define(name, last.digest, last.names, last.means | through, last.safe)

    def _body(self, function: _Function, name: str) -> None:
        first = function.body[0].lineno
        last = function.end_lineno or first
        self.bodies.setdefault(name, []).append(
            Body(name, first, last, _digest(function.body), _names(function.body))
        )


def _joined(name: str, bodies: list[Body]) -> Body:
    """Return one body for those that share a name, as overloads and properties do."""
    if len(bodies) == 1:
        return bodies[0]
    return Body(
        name,
        min(body.first for body in bodies),
        max(body.last for body in bodies),
        _hash("".join(body.digest for body in bodies)),
        frozenset().union(*(body.names for body in bodies)),
    )


def _merged(found: list[Definition]) -> Definition:
    if len(found) == 1:
        return found[0]
    return Definition(
        _hash("".join(each.digest for each in found)),
        frozenset().union(*(each.names for each in found)),
        frozenset().union(*(each.means for each in found)),
        all(each.safe for each in found),
    )


def _header(function: _Function) -> list[ast.AST]:
    header: list[ast.AST] = [*function.decorator_list, function.args]
    if function.returns is not None:
        header.append(function.returns)
    header.append(ast.Constant(type(function).__name__))
    return header


def _bound(statement: ast.stmt) -> list[str] | None:
    """Return the names a simple statement binds; None when it does anything else."""
    if isinstance(statement, ast.Assign) and all(isinstance(target, ast.Name) for target in statement.targets):
        return [target.id for target in statement.targets if isinstance(target, ast.Name)]
    if isinstance(statement, ast.AnnAssign | ast.AugAssign) and isinstance(statement.target, ast.Name):
        return [statement.target.id]
    if isinstance(statement, ast.Import | ast.ImportFrom):
        names = [(alias.asname or alias.name).split(".")[0] for alias in statement.names]
        # What a star brings is felt under the names it brings.
        return None if "*" in names or getattr(statement, "module", None) == "__future__" else names
    return None


def _is_safe(nodes: Iterable[ast.AST]) -> bool:
    """Whether nothing is called, awaited or imported from outside the standard library."""
    for top in nodes:
        if isinstance(top, ast.Import | ast.ImportFrom) and not _is_standard(top):
            return False
        for node in ast.walk(top):
            if isinstance(node, ast.Call | ast.comprehension | ast.Await | ast.Assert | ast.Raise):
                return False
    return True


def _is_standard(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.ImportFrom):
        return not statement.level and (statement.module or "").split(".")[0] in sys.stdlib_module_names
    return isinstance(statement, ast.Import) and all(
        alias.name.split(".")[0] in sys.stdlib_module_names for alias in statement.names
    )


def _one_by_one(statement: ast.Import | ast.ImportFrom) -> list[tuple[str, ast.stmt]]:
    """Return an import statement for each name it binds: what else stands on its line concerns nobody."""
    found: list[tuple[str, ast.stmt]] = []
    for alias in statement.names:
        name = (alias.asname or alias.name).split(".")[0]
        if isinstance(statement, ast.Import):
            found.append((name, ast.Import([alias])))
        else:
            found.append((name, ast.ImportFrom(statement.module, [alias], statement.level)))
    return found


def _part(statement: ast.stmt) -> str:
    return _digest([statement])


def _assigned(body: Iterable[ast.stmt]) -> set[str]:
    return {name for statement in body for name in _bound(statement) or ()}


def _digest(nodes: Iterable[ast.AST]) -> str:
    return _hash("\n".join(ast.dump(node) for node in nodes))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _names(nodes: Iterable[ast.AST]) -> frozenset[str]:
    found: set[str] = set()
    for top in nodes:
        for node in ast.walk(top):
            _take(node, found)
    if not LOOKS_AT_EVERYTHING.isdisjoint(found):
        found.add(EVERYTHING)
    return frozenset(found)


def _take(node: ast.AST, found: set[str]) -> None:
    if isinstance(node, ast.Name):
        found.add(node.id)
    elif isinstance(node, ast.Attribute):
        found.add(node.attr)
    elif isinstance(node, ast.keyword) and node.arg is not None:
        found.add(node.arg)
    elif isinstance(node, ast.alias):
        found.update(node.name.split("."))
        if node.name == "*":
            found.add(EVERYTHING)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < _LONGEST_STRING:
        for word in _WORD.findall(node.value):
            found.add(word)
            found.update(word.split("."))
    elif isinstance(node, ast.Call) and _asks_by_name(node):
        found.add(EVERYTHING)


def _asks_by_name(call: ast.Call) -> bool:
    """Whether a call looks up an attribute whose name cannot be read here."""
    if not isinstance(call.func, ast.Name) or call.func.id not in ("getattr", "hasattr"):
        return False
    return not isinstance(call.args[1] if len(call.args) > 1 else None, ast.Constant)


def _imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield node.level, module
            for alias in node.names:
                yield node.level, f"{module}.{alias.name}".lstrip(".")
