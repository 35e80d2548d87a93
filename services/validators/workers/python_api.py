"""Says which attributes, functions and arguments that Python files use do not exist in what is installed.

Run in the top folder of the changed tree by the project's interpreter, isolated (`-I`). In: one JSON object
`{"files": [{"path", "after", "before"}], "environment"}`, contents in base64 or null. Out: one JSON object.

Sure or silent. Spoken of is only what a name can mean: one that the file binds once, by an import nothing guards,
or a variable that its function binds once, to a literal or to an instance of a plain class. Modules are imported,
objects are looked at, nothing of the tree is run.
"""

from __future__ import annotations

import ast
import base64
import difflib
import importlib
import importlib.util
import inspect
import json
import os
import re
import sys
import types
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

MOST_REFERENCES = 20_000
MOST_PROBLEMS = 200
MOST_FILES = 20000
_SKIPPED = {".git", "node_modules", "__pycache__", ".venv", "venv", ".tox", ".nox"}
_STANDARD = frozenset(sys.builtin_module_names) | frozenset(getattr(sys, "stdlib_module_names", ()))
_GUARD = re.compile(
    r"(?i)version|platform|windows|darwin|linux|posix|pypy|cpython|py[23]|^type_checking$|^[hg]\w*attr$|^_?ha(?:s|ve)_|"
    r"_available$"
)
_FORGIVING = {"AttributeError", "ImportError", "ModuleNotFoundError", "TypeError", "Exception", "BaseException"}
_EXPECTING = {"raises", "suppress", "assertRaises", "assertRaisesRegex", "warns", "patch"}
# Parts of these exist on one system and not on another.
_PER_PLATFORM = {
    *("os", "signal", "socket", "select", "sys", "time", "ctypes", "asyncio", "subprocess", "multiprocessing"),
    *("stat", "mmap", "errno", "resource", "locale", "msvcrt", "winreg", "selectors", "socketserver", "ssl"),
    *("fcntl", "termios"),
}
_ELSEWHERE = re.compile(
    r".*[Ww]in.*|start.*|[A-Z][A-Z0-9_]+|get.*|set.*|last_.*|ps[12]|pypy.*|frozen|monitoring|tracebacklimit|"
    r"Proactor.*"
)
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
        self._bindings = _bindings(tree)
        self._imports = self._trusted(tree)
        self._patched = {
            tuple(chain)
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load)
            for chain in [_chain(node)]
            if chain
        }
        self._scope(tree)

    def _trusted(self, tree: ast.Module) -> dict[str, tuple[str, tuple[str, ...]]]:
        """Return names that only an import binds: name -> (module, path below it)."""
        trusted: dict[str, tuple[str, tuple[str, ...]]] = {}
        plain: Counter[str] = Counter()
        for node in _unguarded(tree):
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
        for node, parent in _own(scope):
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
        root, attributes = _split(node)
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
            root, attributes = _split(value.func)
            if isinstance(root, ast.Name) and root.id in self._imports:
                module, path = self._imports[root.id]
                return module, path + attributes
        return None

    def _instances(self, scope: ast.AST) -> dict[str, tuple[str, tuple[str, ...]]]:
        """Return variables a function binds once: to a literal, or to what a call of an imported name gives."""
        if not isinstance(scope, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return {}
        bound = _bindings(scope)
        found = {}
        for node, _ in _own(scope):
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id
                known = self._class_of(node.value)
                if known is not None and bound[name] == 1 and name not in self._imports:
                    found[name] = known
        return found


def _bindings(tree: ast.AST) -> Counter[str]:
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


def _unguarded(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that run whatever the version, platform or what is installed."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for child in _children(node):
            waiting.append(child)


def _own(scope: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Yield (node, parent) of a scope, functions and classes in it as one node each, guarded parts left out."""
    waiting: list[tuple[ast.AST, ast.AST]] = [(child, scope) for child in _children(scope)]
    while waiting:
        node, parent = waiting.pop()
        yield node, parent
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            waiting.extend((child, node) for child in _children(node))


def _children(node: ast.AST) -> list[ast.AST]:
    if isinstance(node, ast.Try) or type(node).__name__ == "TryStar":
        forgiving = any(h.type is None or _words(h.type) & _FORGIVING for h in node.handlers)  # type: ignore[attr-defined]
        return [] if forgiving else list(ast.iter_child_nodes(node))
    if isinstance(node, (ast.If, ast.IfExp, ast.While)) and _guards(node.test):
        return []
    if isinstance(node, (ast.BoolOp, ast.Assert)) and _guards(node):
        return []
    if isinstance(node, (ast.With, ast.AsyncWith)) and any(
        _words(i.context_expr) & _EXPECTING for i in node.items
    ):
        return []
    # What is only said of types may be known to type checkers alone.
    spared = {id(part) for part in (getattr(node, "annotation", None), getattr(node, "returns", None))}
    return [child for child in ast.iter_child_nodes(node) if id(child) not in spared]


def _guards(node: ast.AST) -> bool:
    return any(_GUARD.search(word) for word in _words(node))


def _words(node: ast.AST) -> set[str]:
    return {
        part.id if isinstance(part, ast.Name) else part.attr
        for part in ast.walk(node)
        if isinstance(part, (ast.Name, ast.Attribute))
    }


def _split(node: ast.AST) -> tuple[ast.AST, tuple[str, ...]]:
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    return node, tuple(attributes[::-1])


def _chain(node: ast.AST) -> list[str]:
    root, attributes = _split(node)
    return [root.id, *attributes] if isinstance(root, ast.Name) else []


def _call(node: ast.Call) -> Call:
    starred = any(isinstance(argument, ast.Starred) for argument in node.args)
    unpacked = any(keyword.arg is None for keyword in node.keywords)
    return Call(
        len([argument for argument in node.args if not isinstance(argument, ast.Starred)]),
        tuple(keyword.arg for keyword in node.keywords if keyword.arg is not None),
        starred or unpacked,
    )


class Installed:
    """Looks at what is installed."""

    def __init__(self, environment: bool, local: set[str]) -> None:
        self.environment = environment
        self.local = local
        self.unchecked: set[str] = set()
        self._modules: dict[str, Any] = {}

    def problem(self, one: Reference) -> tuple[str, str, str | None] | None:
        """Return (code, message, what would be right), or None when it exists or cannot be told."""
        top = one.module.split(".")[0]
        private = any(part.startswith("_") for part in (*one.module.split("."), *one.path))
        if top in self.local or private:
            return None
        if not self.environment and top not in _STANDARD and top != "builtins":
            self.unchecked.add(top)
            return None
        thing = self._module(one.module)
        if thing is None:
            return None
        shown = one.module
        for index, name in enumerate(one.path):
            if index == one.instance:
                return self._instance_problem(thing, name, shown, one.call)
            if not isinstance(thing, (types.ModuleType, type)):
                return None
            found, value = self._attribute(thing, name, shown)
            if found is None:
                return None
            if not found:
                return "missing-attribute", _absent(thing, shown, name), _near(name, dir(thing))
            thing, shown = value, shown + "." + name
        return _misfit(thing, shown, one.call, bound=False) if one.call is not None else None

    def _module(self, name: str) -> Any:
        if name not in self._modules:
            try:
                self._modules[name] = importlib.import_module(name)
            except BaseException:
                self._modules[name] = None
        return self._modules[name]

    def _attribute(self, thing: Any, name: str, shown: str) -> tuple[bool | None, Any]:
        """Return whether an attribute is there (None: cannot be told), and what it is."""
        try:
            return True, getattr(thing, name)
        except AttributeError:
            pass
        except BaseException:
            return None, None
        if isinstance(thing, types.ModuleType):
            if shown.split(".")[0] in _PER_PLATFORM and _ELSEWHERE.fullmatch(name):
                return None, None
            try:
                if hasattr(thing, "__path__") and importlib.util.find_spec(shown + "." + name) is not None:
                    inner = self._module(shown + "." + name)
                    return (None, None) if inner is None else (True, inner)
            except BaseException:
                return None, None
            return (None, None) if _spoken_of(thing, name) else (False, None)
        plain = type(thing) in (type, _abc()) and name not in getattr(thing, "__annotations__", {})
        return (False, None) if plain else (None, None)

    def _instance_problem(
        self, thing: Any, name: str, shown: str, call: Call | None
    ) -> tuple[str, str, str | None] | None:
        if not _plain_class(thing):
            return None
        kinds = _with_subclasses(thing)
        if not any(_mentions(kind, name) for kind in kinds):
            known = [one for one in dir(thing) if not one.startswith("_")]
            return (
                "missing-attribute",
                f"{_called(thing, shown)} has no attribute '{name}'",
                _near(name, known),
            )
        static = inspect.getattr_static(thing, name, None)
        if call is None or not isinstance(static, (types.FunctionType, types.MethodDescriptorType)):
            return None
        return _misfit(static, shown + "." + name, call, bound=True)


def _spoken_of(module: types.ModuleType, name: str) -> bool:
    """Whether a module's source, or the types beside it, know a name that it has not at this moment."""
    file = getattr(module, "__file__", None) or ""
    for path in (file, os.path.splitext(file)[0] + ".pyi"):
        if path.endswith((".py", ".pyi")) and os.path.isfile(path):
            with open(path, encoding="utf-8", errors="replace") as source:
                if re.search(rf"\b{re.escape(name)}\b", source.read(2_000_000)):
                    return True
    return False


def _abc() -> type:
    import abc

    return abc.ABCMeta


def _called(thing: type, shown: str) -> str:
    return "'{}'".format(thing.__name__ if thing.__module__ == "builtins" else shown)


def _plain_class(thing: Any) -> bool:
    """Whether what instances have can be known from the class and its source."""
    if not isinstance(thing, type) or type(thing) not in (type, _abc()):
        return False
    if (
        inspect.getattr_static(thing, "__getattribute__") is not inspect.getattr_static(object, "__getattribute__")
        and thing.__module__ != "builtins"
    ):
        return False
    if any("__getattr__" in vars(kind) for kind in thing.__mro__):
        return False
    made = next((vars(kind)["__new__"] for kind in thing.__mro__ if "__new__" in vars(kind)), None)
    return isinstance(made, types.BuiltinFunctionType) or thing.__module__.split(".")[0] == "pathlib"


def _with_subclasses(thing: type) -> list[type]:
    found = [thing]
    if thing.__module__.split(".")[0] == "pathlib":
        for kind in found:
            found.extend(kind.__subclasses__())
    return found


def _mentions(thing: type, name: str) -> bool:
    """Whether a class has an attribute, or its source might give it to instances."""
    if hasattr(thing, name) or name in dir(thing):
        return True
    for kind in thing.__mro__:
        if name in getattr(kind, "__annotations__", {}):
            return True
        if not kind.__flags__ & (1 << 9):  # Py_TPFLAGS_HEAPTYPE: classes written in C have no source to read
            continue
        try:
            source = inspect.getsource(kind)
        except (OSError, TypeError):
            return True
        if re.search(rf"\b{re.escape(name)}\b", source) or re.search(r"setattr|__dict__", source):
            return True
    return False


def _absent(thing: Any, shown: str, name: str) -> str:
    if isinstance(thing, types.ModuleType):
        version = _version(shown.split(".")[0])
        return f"module '{shown}'{version} has no '{name}'"
    return f"class '{shown}' has no attribute '{name}'"


def _version(top: str) -> str:
    if top in _STANDARD:
        return " of Python {}.{}".format(*sys.version_info[:2])
    try:
        from importlib import metadata

        owners: Any = getattr(metadata, "packages_distributions", dict)()
        names = owners.get(top, [top])
        return f" ({names[0]} {metadata.version(names[0])})"
    except Exception:
        return ""


def _near(name: str, known: Any) -> str | None:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return near[0] if near else None


def _signature(thing: Any) -> inspect.Signature | None:
    """Return how something is called, or None where what it shows may not be what it takes."""
    if isinstance(thing, type):
        if type(thing).__call__ is not type.__call__ or hasattr(thing, "__signature__"):
            return None
        made = next((k for k in thing.__mro__ if "__new__" in vars(k) and k is not object), None)
        begun = next((k for k in thing.__mro__ if "__init__" in vars(k) and k is not object), None)
        if (made is not None and begun is not None) or (made is None and begun is None):
            return None
    elif isinstance(thing, types.FunctionType):
        if hasattr(thing, "__signature__"):
            return None
        if hasattr(thing, "__wrapped__") and thing.__code__.co_filename != _CONTEXTLIB:
            return None
    elif isinstance(thing, types.MethodType):
        if hasattr(thing.__func__, "__wrapped__") or hasattr(thing.__func__, "__signature__"):
            return None
    elif not isinstance(thing, (types.BuiltinFunctionType, types.MethodDescriptorType)):
        return None
    try:
        return inspect.signature(thing)
    except (ValueError, TypeError):
        return None
    except BaseException:
        return None


_CONTEXTLIB = importlib.import_module("contextlib").contextmanager.__code__.co_filename


def _misfit(thing: Any, shown: str, call: Call, *, bound: bool) -> tuple[str, str, str | None] | None:
    """Return how the arguments written out do not fit what is called."""
    signature = _signature(thing)
    if signature is None:
        return None
    parameters = list(signature.parameters.values())
    if bound:
        parameters = parameters[1:]
    kinds = {parameter.kind for parameter in parameters}
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        for keyword in call.keywords:
            if keyword not in {p.name for p in named}:
                message = f"{shown}() takes no argument '{keyword}'"
                return "unknown-argument", message, _near(keyword, [p.name for p in named])
    by_position = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if inspect.Parameter.VAR_POSITIONAL not in kinds and call.positional > len(by_position):
        message = f"{shown}() takes {len(by_position)} positional arguments, {call.positional} are given"
        return "too-many-arguments", message, None
    plain = isinstance(thing, (type, types.FunctionType, types.MethodType)) and thing.__module__ != "inspect"
    if call.open_ended or not plain:
        # What C code shows of its defaults is not always all of them; inspect's defaults are its mark for none.
        return None
    given = {p.name for p in by_position[: call.positional]} | set(call.keywords)
    lacking = [
        p.name
        for p in parameters
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name not in given
    ]
    if lacking:
        return "missing-argument", f"{shown}() lacks the argument '{lacking[0]}'", None
    return None


def _local_names() -> set[str]:
    """Return every name a module of the tree could go by."""
    found: set[str] = set()
    seen = 0
    for _, folders, files in os.walk(".", followlinks=False):
        folders[:] = [name for name in folders if name not in _SKIPPED]
        found.update(folders)
        found.update(
            name.split(".")[0] for name in files if name.split(".")[-1] in ("py", "pyi", "pyx", "so", "pyd")
        )
        seen += len(files)
        if seen > MOST_FILES:
            break
    return found


def _uses(content: str | None) -> list[Reference]:
    if content is None:
        return []
    try:
        return Uses(ast.parse(base64.b64decode(content))).found
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []


def judge(request: dict[str, Any]) -> dict[str, Any]:
    """Return every use of something that does not exist."""
    # Folders named like the standard library's modules (`types`, `code`) do not hide it from an absolute import.
    installed = Installed(request["environment"], _local_names() - set(_STANDARD))
    problems: list[dict[str, Any]] = []
    checked = 0
    for file in request["files"]:
        known = {one.key for one in _uses(file["before"])}
        for one in _uses(file["after"]):
            checked += 1
            problem = installed.problem(one)
            if problem is None:
                continue
            problems.append(
                {
                    "path": file["path"],
                    "code": problem[0],
                    "message": problem[1],
                    "suggestion": problem[2],
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
    """Answer one request. What imported code prints goes to stderr, so that the answer stands alone."""
    request = json.loads(sys.stdin.buffer.read())
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)
        json.dump(judge(request), out)
        out.flush()
        # Threads and hooks of what was imported have no say in how this ends.
        os._exit(0)


if __name__ == "__main__":
    main()
