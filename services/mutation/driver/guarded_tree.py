"""Noticing that a mutant changed the project's files, and putting them back."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from dataclasses import dataclass

_SKIPPED = frozenset({".git", ".hg", "__pycache__", ".pytest_cache", ".venv", "venv", "node_modules", ".tox"})
_MOST_FILES = 20_000
_MOST_BYTES = 256 * 1024 * 1024
_LOOKS = 400


@dataclass(frozen=True)
class _State:
    size: int
    changed: int
    mode: int


class GuardedTree:
    """The project's files as they were. Files that are added are left alone."""

    def __init__(self, root: str) -> None:
        self._states: dict[str, _State] = {}
        self._contents: dict[str, bytes] = {}
        total = 0
        for folder, folders, names in os.walk(root):
            folders[:] = [name for name in folders if name not in _SKIPPED]
            for name in names:
                path = os.path.join(folder, name)  # noqa: PTH118 - thousands of files
                state = _look(path)
                total += state.size if state else 0
                if (
                    state is None
                    or not stat.S_ISREG(state.mode)
                    or len(self._states) >= _MOST_FILES
                    or total > _MOST_BYTES
                ):
                    continue
                with contextlib.suppress(OSError), open(path, "rb") as file:  # noqa: PTH123 - the same
                    self._contents[path] = file.read()
                    self._states[path] = state
        self.root = root
        self.every = 1 + len(self._states) // _LOOKS
        """After how many mutants it is worth looking."""

    def forget(self, paths: list[str]) -> None:
        """Guard some files no longer: the tests themselves change them."""
        for path in paths:
            self._states.pop(path, None)

    def restore(self) -> list[str]:
        """Put back what changed; returns the paths."""
        changed = [path for path, state in self._states.items() if _look(path) != state]
        for path in changed:
            if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114 - as above
                shutil.rmtree(path, ignore_errors=True)
            with contextlib.suppress(OSError):
                os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120 - as above
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)  # noqa: PTH108 - as above
                with open(path, "wb") as file:  # noqa: PTH123 - as above
                    file.write(self._contents[path])
                before = self._states[path]
                os.chmod(path, before.mode & 0o7777)  # noqa: PTH101 - as above
                os.utime(path, ns=(before.changed, before.changed))
        return changed


def _look(path: str) -> _State | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return _State(found.st_size, found.st_mtime_ns, found.st_mode)
