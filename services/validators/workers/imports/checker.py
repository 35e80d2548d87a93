"""Judges where imports lead, in the tree and in what is installed."""

from __future__ import annotations

from quantum_suite.services.validators.workers.changed_files import STANDARD, names_in
from quantum_suite.services.validators.workers.imports.installed import installed
from quantum_suite.services.validators.workers.imports.reading import Import, bound_names
from quantum_suite.services.validators.workers.imports.tree import Tree


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
        if not self.environment and top not in self.tree.stems and top not in STANDARD:
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
        return tree is None or bool(names_in(tree) & {"__path__", "sys", "extend_path"})

    def _there(self, module: str) -> bool | None:
        if module not in self._installed:
            self._installed[module] = installed(module)
        return self._installed[module]
