"""Which files of a workspace a copy gets."""

import os
from collections.abc import Iterator
from pathlib import Path

from quantum_suite.services.process import ProcessError, run

VERSION_CONTROL = frozenset({".git", ".hg", ".svn", ".bzr", ".jj"})
"""Folders whose content is the history, not the work."""

LINKED = frozenset({"node_modules"})
"""Folders that tools need and nobody changes, as are virtual environments (told by their `pyvenv.cfg`)."""

_LEFTOVERS = frozenset(
    {"__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".tox", ".nox", ".hypothesis"}
)
"""What tools leave; left out where no version control says what is ignored."""

_GIT_SECONDS = 60.0
_GIT_OUTPUT_BYTES = 256 * 1024 * 1024
_MOST_NESTED = 8

_LIST = (
    "git",
    # A repository's own configuration may name programs to be run; none is.
    *("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"),
    *("-c", "safe.directory=*", "--no-optional-locks"),
    *("ls-files", "-z", "--cached", "--others", "--exclude-standard"),
)


async def list_files(root: Path) -> list[str]:
    """Return the paths of a workspace's files and links, relative to its root, sorted.

    In a git repository those under version control and the new ones that are not ignored, also of repositories
    inside it; elsewhere all but history and what tools leave behind.
    """
    listed = await _git_files(root, _MOST_NESTED)
    return sorted(listed if listed else _walked_files(root))


def is_environment(folder: Path) -> bool:
    """Whether a folder is linked into a copy rather than copied."""
    return folder.name in LINKED or (folder / "pyvenv.cfg").is_file()


async def _git_files(root: Path, depth: int) -> set[str]:
    """Return what git lists; nothing when it is not there, or knows no repository here."""
    try:
        completed = await run(
            _LIST,
            cwd=root,
            env={"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8"},
            timeout_seconds=_GIT_SECONDS,
            max_output_bytes=_GIT_OUTPUT_BYTES,
        )
    except ProcessError:
        return set()
    if completed.returncode != 0:
        return set()
    found: set[str] = set()
    for entry in completed.stdout.split(b"\0"):
        path = os.fsdecode(entry)
        below = root / path
        if not path:
            continue
        if path.endswith("/") or (below.is_dir() and not below.is_symlink()):
            # A repository inside this one: git names the folder alone.
            nested = path.rstrip("/")
            inside = (
                await _git_files(root / nested, depth - 1) if depth and (root / nested / ".git").exists() else ()
            )
            found.update(f"{nested}/{name}" for name in inside or _walked_files(root / nested))
        else:
            found.add(path)
    return found


def _walked_files(root: Path) -> Iterator[str]:
    open_ends = [""]
    while open_ends:
        folder = open_ends.pop()
        try:
            entries = list(os.scandir(root / folder))
        except OSError:
            continue
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if not entry.is_dir(follow_symlinks=False):
                yield path
            elif entry.name not in VERSION_CONTROL | _LEFTOVERS and not is_environment(Path(entry.path)):
                open_ends.append(path)
