"""Says which imports of changed Python files lead nowhere, and which close a circle.

Run in the top folder of the changed tree by the project's interpreter, isolated (`-I`), so that only what is
installed is found beside the tree. In: one JSON object `{"files": [{"path", "after", "before"}], "environment"}`,
contents in base64 or null; `environment` says whether this interpreter is the project's own. Out: one JSON object.

Sure or silent: an import in a `try`, under a test of platform or version, or of a name that something in the tree
might provide in a way that cannot be read from its files, is not spoken of.
"""

from __future__ import annotations

import ast
import base64
import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

MOST_FILES = 20000
MOST_PARSED = 3000
MOST_BYTES = 2_000_000
_SKIPPED = {".git", "node_modules", "__pycache__", ".venv", "venv", ".tox", ".nox", ".mypy_cache"}
_GUARDS = {"TYPE_CHECKING", "version_info", "platform", "implementation", "name", "PY2", "PY3", "version"}
_FORGIVING = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}
_STANDARD = frozenset(sys.builtin_module_names) | frozenset(getattr(sys, "stdlib_module_names", ()))
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


def parse(content: bytes) -> ast.Module | None:
    """Return the syntax tree, or None: bad syntax is another gate's."""
    try:
        return ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


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
        return [(node.body + node.orelse, bool(_names(node.test) & _GUARDS))]
    if isinstance(node, (ast.With, ast.AsyncWith)):
        return [(node.body, any(_names(item.context_expr) & _FORGIVING for item in node.items))]
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
    return any(handler.type is None or _names(handler.type) & _FORGIVING for handler in node.handlers)


def _names(node: ast.AST) -> set[str]:
    found: set[str] = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            found.add(part.id)
        elif isinstance(part, ast.Attribute):
            found.add(part.attr)
    return found


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
    if "__getattr__" in found or _names(tree) & _DYNAMIC:
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


def _folders_above(path: str) -> list[str]:
    """Return the folders a file is in, nearest first, without the top."""
    above = path.split("/")[:-1]
    return ["/".join(above[:count]) for count in range(len(above), 0, -1)]


class Tree:
    """The files of the changed tree, by path."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.folders: set[str] = set()
        self.stems: set[str] = set()
        self.complete = True
        for folder, names, files in os.walk(".", followlinks=False):
            names[:] = [name for name in names if name not in _SKIPPED]
            here = os.path.relpath(folder, ".").replace(os.sep, "/")
            here = "" if here == "." else here + "/"
            for file in files:
                self.files.add(here + file)
                self.stems.add(file.split(".")[0])
            self.folders.update(here + name for name in names)
            self.stems.update(names)
            if len(self.files) > MOST_FILES:
                self.complete = False
                break
        self._parsed: dict[str, ast.Module | None] = {}

    def module_file(self, base: str, dotted: str) -> str | None:
        """Return the file of a module below a folder: `x.py`, `x/__init__.py`, or `x/` for a bare folder."""
        path = "/".join(part for part in [base.rstrip("/"), *dotted.split(".")] if part)
        for candidate in (path + "/__init__.py", path + ".py", path + ".pyi"):
            if candidate in self.files:
                return candidate
        return path + "/" if path in self.folders else None

    def resolve(self, module: str, importer: str) -> str | None:
        """Return where an absolute import leads in the tree, looking where runners of tests and scripts do too."""
        above = [folder for folder in _folders_above(importer) if not self.is_package(folder)]
        for base in ["", "src", "lib", *above]:
            found = self.module_file(base, module)
            if found is not None:
                return found
        return None

    def beside(self, module: str, importer: str) -> bool:
        """Return whether only a script in its package's own folder, run as such, would find a module."""
        packages = [folder for folder in _folders_above(importer) if self.is_package(folder)]
        return any(self.module_file(folder, module) is not None for folder in packages)

    def is_package(self, folder: str) -> bool:
        """Return whether a folder is a package: nothing puts it on the path but a script of its own."""
        return folder + "/__init__.py" in self.files

    def relative(self, module: str, level: int, importer: str) -> str | None:
        """Return where a relative import leads; None when it leads nowhere."""
        above = importer.split("/")[:-1]
        if level - 1 > len(above):
            return None
        base = "/".join(above[: len(above) - level + 1])
        if module:
            return self.module_file(base, module)
        return base + "/__init__.py" if base + "/__init__.py" in self.files else base + "/"

    def parsed(self, path: str) -> ast.Module | None:
        """Return a file's syntax tree, once; None for what is too large or too many."""
        if path not in self._parsed:
            tree = None
            if len(self._parsed) < MOST_PARSED and path.endswith((".py", ".pyi")):
                try:
                    if os.path.getsize(path) <= MOST_BYTES and not os.path.islink(path):
                        with open(path, "rb") as file:
                            tree = parse(file.read())
                except OSError:
                    tree = None
            self._parsed[path] = tree
        return self._parsed[path]

    def has_stem(self, folder: str, name: str) -> bool:
        """Return whether anything in a folder is named so: a compiled module, say."""
        prefix = folder + name + "."
        return folder + name in self.folders or any(file.startswith(prefix) for file in self.files)


def installed(module: str) -> bool | None:
    """Return whether a module is there for this interpreter; None when that cannot be told.

    Parents are looked at without being run; only where that finds nothing is an import tried.
    """
    top = module.split(".")[0]
    # Also those of other platforms.
    if module in _STANDARD:
        return True
    try:
        spec = importlib.util.find_spec(top)
        for end in range(2, module.count(".") + 2):
            if spec is None or spec.submodule_search_locations is None:
                spec = None
                break
            name = ".".join(module.split(".")[:end])
            where = list(spec.submodule_search_locations)
            spec = next((s for s in (_found(f, name, where) for f in sys.meta_path) if s is not None), None)
    except Exception:
        return None
    if spec is not None:
        return True
    if "." not in module:
        return False
    return _imported(module)


def _found(finder: Any, name: str, where: list[str]) -> Any:
    find = getattr(finder, "find_spec", None)
    return find(name, where) if find is not None else None


def _imported(module: str) -> bool | None:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        absent = error.name is not None and (module == error.name or module.startswith(error.name + "."))
        return False if absent else None
    except BaseException:
        return None
    return True


class Checker:
    """Judges the imports of one tree."""

    def __init__(self, environment: bool) -> None:
        self.tree = Tree()
        self.environment = environment
        self.unchecked: set[str] = set()
        self._installed: dict[str, bool | None] = {}

    def problem(self, one: Import, path: str) -> tuple[str, str] | None:
        """Return (code, message) for an import that leads nowhere."""
        if one.guarded:
            return None
        if one.level:
            return self._relative_problem(one, path)
        target = self.tree.resolve(one.module, path)
        if target is not None:
            return self._name_problem(one, target, one.module)
        if self.tree.beside(one.module, path):
            return None
        top = one.module.split(".")[0]
        if not self.environment and top not in self.tree.stems and top not in _STANDARD:
            self.unchecked.add(top)
            return None
        if self._there(one.module):
            return None
        if top in self.tree.stems or not self.tree.complete:
            return self._inner_problem(one, path, top)
        if self._there(one.module) is None:
            return None
        if self._there(top) is True:
            return "missing-module", f"module '{one.module}' has no submodule of that name"
        return "missing-module", f"no module '{top}' in the project's environment, nor in the project"

    def _inner_problem(self, one: Import, path: str, top: str) -> tuple[str, str] | None:
        # A package that is plainly there, without the module asked of it.
        parent, _, last = one.module.rpartition(".")
        home = self.tree.resolve(parent, path) if parent else None
        if home is None or not home.endswith("/__init__.py") or self._there(top):
            return None
        if self.tree.has_stem(home[: -len("__init__.py")], last) or self._reshapes(home):
            return None
        return "missing-module", f"package '{parent}' has no module '{last}'"

    def _relative_problem(self, one: Import, path: str) -> tuple[str, str] | None:
        shown = "." * one.level + one.module
        target = self.tree.relative(one.module, one.level, path)
        if target is not None:
            return self._name_problem(one, target, shown)
        above = path.split("/")[:-1]
        if one.level - 1 > len(above):
            return "missing-module", f"'{shown}' leads above the top of the project"
        folder = "/".join(above[: len(above) - one.level + 1] + one.module.split(".")[:-1])
        if self.tree.has_stem(folder + "/" if folder else "", one.module.split(".")[-1]):
            return None
        return "missing-module", f"there is no module '{shown}' here"

    def _name_problem(self, one: Import, target: str, shown: str) -> tuple[str, str] | None:
        if one.name is None or one.name == "*" or not target.endswith(".py"):
            return None
        folder = target[: -len("__init__.py")] if target.endswith("/__init__.py") else None
        if target == "__init__.py":
            folder = ""
        if folder is not None and self.tree.has_stem(folder, one.name):
            return None
        tree = self.tree.parsed(target)
        names = bound_names(tree) if tree is not None else None
        if names is None or one.name in names:
            return None
        return "missing-name", f"'{shown}' ({target}) has no '{one.name}'"

    def _reshapes(self, init: str) -> bool:
        tree = self.tree.parsed(init)
        return tree is None or bool(_names(tree) & {"__path__", "sys", "extend_path"})

    def _there(self, module: str) -> bool | None:
        if module not in self._installed:
            self._installed[module] = installed(module)
        return self._installed[module]

    def edges(self, path: str, tree: ast.Module) -> dict[str, Import]:
        """Return the files of the tree that are imported when a file is, each with the import that does it."""
        found: dict[str, Import] = {}
        for one in imports_of(tree):
            if one.guarded or not one.at_top:
                continue
            target = (
                self.tree.relative(one.module, one.level, path)
                if one.level
                else self.tree.resolve(one.module, path)
            )
            if target is None:
                continue
            inner = None
            if one.name is not None and target.endswith("__init__.py"):
                inner = self.tree.module_file(target[: -len("__init__.py")], one.name)
            for file in (inner, target):
                if file is not None and file.endswith(".py") and file != path:
                    found.setdefault(file, one)
        return found

    def circle(self, start: str, path: str) -> list[str] | None:
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
            tree = self.tree.parsed(here)
            for target in self.edges(here, tree) if tree is not None else ():
                if target not in came:
                    came[target] = here
                    waiting.append(target)
        return None


def broken_importers(checker: Checker, gone: dict[str, set[str]], changed: set[str]) -> list[dict[str, Any]]:
    """Return imports, in files that did not change, of names that changed files no longer have."""
    found: list[dict[str, Any]] = []
    words = {name.encode() for names in gone.values() for name in names}
    for path in sorted(checker.tree.files):
        if path in changed or not path.endswith(".py") or not words:
            continue
        try:
            with open(path, "rb") as file:
                content = file.read(MOST_BYTES)
        except OSError:
            continue
        if not any(word in content for word in words):
            continue
        tree = checker.tree.parsed(path)
        for one in imports_of(tree) if tree is not None else ():
            target = (
                checker.tree.relative(one.module, one.level, path)
                if one.level
                else checker.tree.resolve(one.module, path)
            )
            if target in gone and one.name in gone[target] and not one.guarded:
                problem = checker.problem(one, path)
                if problem is not None:
                    found.append(_told(path, one, problem))
    return found


def _told(path: str, one: Import, problem: tuple[str, str]) -> dict[str, Any]:
    return {
        "path": path,
        "code": problem[0],
        "message": problem[1],
        "line": one.line,
        "column": one.column,
        "end_column": one.end_column,
    }


def _key(one: Import) -> tuple[str, int, str | None]:
    return one.module, one.level, one.name


def _judge_file(checker: Checker, path: str, after: ast.Module, before: ast.Module | None) -> dict[str, Any]:
    known = {_key(one) for one in imports_of(before) if not one.guarded} if before is not None else set()
    problems = []
    for one in imports_of(after):
        problem = checker.problem(one, path)
        if problem is not None:
            problems.append({**_told(path, one, problem), "known": _key(one) in known})
    old = set(checker.edges(path, before)) if before is not None else set()
    circles = []
    for target, one in checker.edges(path, after).items():
        way = checker.circle(target, path) if target not in old else None
        if way is not None:
            circles.append({"path": path, "way": [path, *way], "line": one.line, "column": one.column})
    return {"problems": problems, "circles": circles}


def judge(request: dict[str, Any]) -> dict[str, Any]:
    """Return every problem of the changed files, and of files that lean on what they took away."""
    checker = Checker(request["environment"])
    problems: list[dict[str, Any]] = []
    circles: list[dict[str, Any]] = []
    gone: dict[str, set[str]] = {}
    for file in request["files"]:
        after = parse(base64.b64decode(file["after"])) if file["after"] is not None else None
        before = parse(base64.b64decode(file["before"])) if file["before"] is not None else None
        if after is not None:
            found = _judge_file(checker, file["path"], after, before)
            problems += found["problems"]
            circles += found["circles"]
        if before is not None and after is not None:
            had, has = bound_names(before), bound_names(after)
            if had is not None and has is not None and had - has:
                gone[file["path"]] = had - has
    problems += broken_importers(checker, gone, {file["path"] for file in request["files"]})
    return {"problems": problems, "circles": circles, "unchecked": sorted(checker.unchecked)}


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
