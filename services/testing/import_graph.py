"""Which files of a project import which, from what is written in them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from quantum_suite.services.testing.code_blocks import FileCode


class ImportGraph:
    """Who imports a file, directly or through others. Errs on the side of more."""

    def __init__(self, files: Mapping[str, FileCode]) -> None:
        self._packages = {path.rpartition("/")[0] for path in files if path.rpartition("/")[2] == "__init__.py"}
        self._by_name: dict[str, set[str]] = defaultdict(set)
        for path in files:
            for name in self.names(path):
                self._by_name[name].add(path)
        self._importers: dict[str, set[str]] = defaultdict(set)
        for path, code in files.items():
            for level, name in code.imports:
                for imported in self._resolve(path, level, name):
                    self._importers[imported].add(path)

    def names(self, path: str) -> list[str]:
        """Return the dotted names under which a file can be imported: from any folder that is no package."""
        parts = path.removesuffix(".py").split("/")
        if parts[-1] == "__init__":
            parts.pop()
        found = []
        for start in range(len(parts)):
            if "/".join(parts[:start]) not in self._packages or start == 0:
                found.append(".".join(parts[start:]))
        return [name for name in found if name]

    def importers(self, paths: Iterable[str]) -> set[str]:
        """Return `paths` and every file that imports one of them, through any number of others."""
        found: set[str] = set()
        waiting = list(paths)
        while waiting:
            path = waiting.pop()
            if path not in found:
                found.add(path)
                waiting += self._importers.get(path, ())
        return found

    def _resolve(self, path: str, level: int, name: str) -> set[str]:
        if level:
            folder = path.split("/")[:-level]
            names = [".".join([*folder, *(name.split(".") if name else [])])]
        else:
            names = [name]
        found: set[str] = set()
        for full in names:
            parts = full.split(".")
            # Importing a module runs the packages above it.
            for end in range(1, len(parts) + 1):
                found |= self._by_name.get(".".join(parts[:end]), set())
        return found
