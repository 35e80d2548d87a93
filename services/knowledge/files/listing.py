"""Which files of a workspace are indexed: what Git knows and does not ignore, else what a walk finds.

Links are never followed. Everything left out is named with its reason, a kind of file in one line.
"""

import os
import stat
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import anyio.to_thread

from quantum_suite.core.errors import CallerError
from quantum_suite.services.knowledge.files.git import GitFiles, git_files
from quantum_suite.services.knowledge.files.stamps import Seen, stamp_of
from quantum_suite.services.knowledge.interface import NotIndexed
from quantum_suite.services.knowledge.parsing.decoding import MAX_FILE_BYTES
from quantum_suite.services.knowledge.parsing.languages import language_of

MAX_FILES = 200_000
_MADE_BY_TOOLS = (
    ".git .hg .svn .jj node_modules bower_components site-packages .venv .tox .nox .eggs .terraform __pycache__ "
    ".mypy_cache .ruff_cache .pytest_cache .hypothesis .gradle .next .parcel-cache"
)
_SKIPPED_DIRECTORIES = frozenset(_MADE_BY_TOOLS.split())
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file to index."""

    path: str
    language: str
    seen: Seen


@dataclass(slots=True)
class Listing:
    """A workspace's files at one moment."""

    files: dict[str, ListedFile] = field(default_factory=dict)
    left_out: list[NotIndexed] = field(default_factory=list)
    watched: dict[str, Seen] = field(default_factory=dict)
    """Directories, and files that say what is ignored: while they stay the same, the list does."""
    commit: str | None = None


async def list_files(root: Path) -> Listing:
    """Return the files of a workspace. Raises CallerError (argument `path`) when it cannot be read."""
    known = await git_files(root)
    return await anyio.to_thread.run_sync(_list, root, known)


def _list(root: Path, known: GitFiles | None) -> Listing:
    if not root.is_dir():
        raise CallerError(f"'{root}' is not a directory.", "Name the directory to index.", argument="path")
    lister = _Lister(root)
    if known is None:
        lister.walk()
    else:
        lister.take(known)
    return lister.finished()


class _Lister:
    def __init__(self, root: Path) -> None:
        self._root = root
        self._listing = Listing()
        self._kinds: Counter[str] = Counter()
        self._links = 0
        self._full = False

    def take(self, known: GitFiles) -> None:
        """Take the files Git names."""
        self._listing.commit = known.commit
        self._watch("")
        for path in known.paths:
            try:
                facts = (self._root / path).lstat()
            except (OSError, ValueError):
                continue  # Deleted, but not yet from Git's index.
            if stat.S_ISDIR(facts.st_mode):
                # A repository inside this one: Git names it and does not look into it.
                self.walk(path.rstrip("/"))
                continue
            self._file(path, facts)
            for parent in PurePosixPath(path).parents:
                if str(parent) in self._listing.watched:
                    break
                self._watch("" if str(parent) == "." else str(parent))
        self._listing.left_out += [NotIndexed(path, "ignored by Git") for path in known.ignored]

    def walk(self, below: str = "") -> None:
        """Take the files below a directory, but for what tools put there."""
        pending = [below]
        while pending and not self._full:
            current = pending.pop()
            self._watch(current)
            try:
                with os.scandir(self._root / current) as entries:
                    listed = sorted(entries, key=lambda entry: os.fsencode(entry.name))
            except OSError as error:
                if not current:
                    raise CallerError(
                        f"'{self._root}' cannot be read: {error.strerror}.",
                        "Let this user read it.",
                        argument="path",
                    ) from error
                self._leave(current, f"cannot be read: {error.strerror}")
                continue
            if current and any(entry.name == "pyvenv.cfg" for entry in listed):
                self._leave(f"{current}/", "an installed environment")
                continue
            for entry in listed:
                path = f"{current}/{entry.name}" if current else entry.name
                if entry.is_dir(follow_symlinks=False):
                    if entry.name in _SKIPPED_DIRECTORIES:
                        self._leave(f"{path}/", "made by tools: dependencies, caches or history")
                    else:
                        pending.append(path)
                    continue
                try:
                    self._file(path, entry.stat(follow_symlinks=False))
                except OSError as error:
                    self._leave(path, f"cannot be read: {error.strerror}")

    def _watch(self, directory: str) -> None:
        now = time.time_ns()
        try:
            facts = (self._root / directory).lstat()
        except (OSError, ValueError):
            return
        self._listing.watched[directory] = Seen(stamp_of(facts), now)

    def _file(self, path: str, facts: os.stat_result) -> None:
        if stat.S_ISLNK(facts.st_mode):
            self._links += 1
            return
        if path.rsplit("/", 1)[-1] == ".gitignore":
            self._listing.watched[path] = Seen(stamp_of(facts), time.time_ns())
        language = language_of(path)
        if language is None:
            self._kinds[PurePosixPath(path).suffix.lower() or "no suffix"] += 1
        elif not stat.S_ISREG(facts.st_mode):
            self._leave(path, "not a regular file")
        elif facts.st_size > MAX_FILE_BYTES:
            self._leave(
                path, f"{facts.st_size / _MIB:.1f} MiB; files over {MAX_FILE_BYTES // _MIB} MiB are left out"
            )
        elif not _is_utf8(path):
            self._leave(path, "its name is no UTF-8")
        elif len(self._listing.files) >= MAX_FILES:
            self._full = True
        else:
            self._listing.files[path] = ListedFile(path, language, Seen(stamp_of(facts), time.time_ns()))

    def _leave(self, path: str, reason: str) -> None:
        shown = os.fsencode(path).decode("utf-8", "backslashreplace")
        self._listing.left_out.append(NotIndexed(shown, reason))

    def finished(self) -> Listing:
        left_out = self._listing.left_out
        if self._full:
            left_out.insert(0, NotIndexed("(rest)", f"beyond the {MAX_FILES:,} files of one index"))
        if self._links:
            left_out.append(NotIndexed(f"({self._links} links)", "links are not followed"))
        for suffix, number in sorted(self._kinds.items(), key=lambda item: (-item[1], item[0])):
            shown = f"*{suffix}" if suffix.startswith(".") else f"({suffix})"
            files = "1 file" if number == 1 else f"{number:,} files"
            left_out.append(NotIndexed(shown, f"{files} of a kind that is not indexed"))
        return self._listing


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
