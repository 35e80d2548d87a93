"""The files of the changed tree, and where imports lead among them."""

from __future__ import annotations

import ast
import os

from quantum_suite.services.validators.workers.changed_files import MOST_FILES, parse, walk_tree
from quantum_suite.services.validators.workers.imports.reading import Import

MOST_PARSED = 3000
MOST_BYTES = 2_000_000
_SKIPPED = frozenset({".mypy_cache"})


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
        for folder, names, files in walk_tree(skipped=_SKIPPED):
            here = os.path.relpath(folder, ".").replace(os.sep, "/")
            here = "" if here == "." else here + "/"
            for file in files:
                self.files.add(here + file)
                self.stems.add(file.split(".")[0])
            self.folders.update(here + name for name in names)
            self.stems.update(names)
        self.complete = len(self.files) <= MOST_FILES
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

    def target(self, one: Import, importer: str) -> str | None:
        """Return where an import leads in the tree."""
        if one.level:
            return self.relative(one.module, one.level, importer)
        return self.resolve(one.module, importer)

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
