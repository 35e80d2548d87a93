"""Which files of a workspace a scan looks at.

The walk is the suite's own, so that what was left out can be counted and named, and is the same for every engine.
Links are never followed. `.gitignore` is not honoured: a key in an ignored file is still a key on this machine.
"""

import os
import re
import stat
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import anyio.from_thread

from quantum_suite.core.errors import CallerError
from quantum_suite.core.scans import FileStamp, NotAssessed
from quantum_suite.services.scans.interface import EXAMPLES

_DEPENDENCIES = "Installed dependencies"
_HISTORY = "Version-control stores"
_CACHES = "Caches"
EXCLUDED_DIRECTORIES = {
    ".git": _HISTORY,
    ".hg": _HISTORY,
    ".svn": _HISTORY,
    ".jj": _HISTORY,
    "node_modules": _DEPENDENCIES,
    "bower_components": _DEPENDENCIES,
    "site-packages": _DEPENDENCIES,
    ".venv": _DEPENDENCIES,
    ".tox": _DEPENDENCIES,
    ".nox": _DEPENDENCIES,
    ".eggs": _DEPENDENCIES,
    ".terraform": _DEPENDENCIES,
    "__pycache__": _CACHES,
    ".mypy_cache": _CACHES,
    ".ruff_cache": _CACHES,
    ".pytest_cache": _CACHES,
    ".hypothesis": _CACHES,
    ".gradle": _CACHES,
    ".next": _CACHES,
    ".parcel-cache": _CACHES,
}
"""Directories that are not walked, by name, and what they hold. One with a `pyvenv.cfg` is an environment too."""

_CONFIGURATION_SUFFIXES = (
    ".tf",
    ".tfvars",
    ".tf.json",
    ".tofu",
    ".yaml",
    ".yml",
    ".json",
    ".tpl",
    ".template",
    ".tfplan",
    ".bicep",
    ".cfg",
    ".ini",
    ".j2",
)
_CONFIGURATION_NAMES = re.compile(r"(?i)(?:^|\.)(?:docker|container)file(?:$|[.\-])|^Chart\.lock$|^\.helmignore$")
_CANCEL_EVERY = 500
_LEFT_OUT = "left out; name one in paths to scan it"
_LINKS = "links are not followed; what they point to is read where it is"


@dataclass(frozen=True, slots=True)
class ScanLimits:
    """Bounds on one scan. What lies beyond them is named, never dropped silently."""

    max_files: int = 100_000
    max_total_bytes: int = 4 * 1024**3
    max_file_bytes: int = 10 * 1024**2
    part_files: int = 500
    part_bytes: int = 32 * 1024**2
    engine_timeout_seconds: float = 300
    """For one engine on one part."""
    engine_output_bytes: int = 64 * 1024**2
    engine_extra_runs: int = 128
    """For one engine in one scan, on the pieces of parts it failed on."""
    engine_extra_seconds: float = 900
    """For those runs together."""


@dataclass(frozen=True, slots=True)
class SelectedFile:
    """A file to look at."""

    relative: str
    """Path below the root for the operating system (surrogates stand for bytes that are no UTF-8)."""
    stamp: FileStamp

    @property
    def is_configuration(self) -> bool:
        """Whether a check on infrastructure settings may read it."""
        name = PurePosixPath(self.relative).name
        return name.lower().endswith(_CONFIGURATION_SUFFIXES) or bool(_CONFIGURATION_NAMES.search(name))


@dataclass(slots=True)
class Selection:
    """The files to look at, and what is left out."""

    base: Path
    """The directory that paths are relative to."""
    files: list[SelectedFile] = field(default_factory=list)
    left_out: list[NotAssessed] = field(default_factory=list)


def select_files(root: Path, paths: Sequence[str], limits: ScanLimits) -> Selection:
    """Walk `root`, a directory or one file, alphabetically, a directory's own files before those below it.

    Blocks: call it in a worker thread.

    Raises CallerError (argument `paths`) for a pattern that leaves the root or matches nothing, and (argument
    `path`) for a root that cannot be read.
    """
    wanted = [_Pattern(text) for text in paths]
    walk = _Walk(root if root.is_dir() else root.parent, wanted, limits)
    if root.is_dir():
        walk.directory("", is_root=True)
    else:
        walk.file(root.name, root.lstat())
    for pattern in wanted:
        if not pattern.used:
            raise CallerError(
                f"'{pattern.text}' matches no file below {root}.",
                "Give paths below the scanned directory, or globs such as src/**/*.py.",
                argument="paths",
            )
    return Selection(walk.base, walk.files, list(walk.notes()))


def shown_path(relative: str) -> str:
    """Return a path as text: bytes that are no UTF-8 appear as \\xNN."""
    return os.fsencode(relative).decode("utf-8", "backslashreplace")


class _Walk:
    def __init__(self, base: Path, wanted: list["_Pattern"], limits: ScanLimits) -> None:
        self.base = base
        self.files: list[SelectedFile] = []
        self._wanted = wanted
        self._limits = limits
        self._bytes = 0
        self._seen = 0
        self._full = False
        self._left: dict[tuple[str, str], list[str]] = defaultdict(list)

    def directory(self, relative: str, *, is_root: bool = False) -> None:
        # A stack of its own: directories may nest deeper than Python recurses.
        pending = [relative]
        while pending and not self._full:
            current = pending.pop()
            try:
                with os.scandir(self.base / current) as entries:
                    listed = sorted(entries, key=lambda entry: os.fsencode(entry.name))
            except OSError as error:
                if is_root and not current:
                    raise _unreadable_root(self.base, error) from error
                self._leave("Unreadable directories", error.strerror or "cannot be read", current)
                continue
            if current and any(entry.name == "pyvenv.cfg" for entry in listed) and not self._is_named(current):
                self._leave(_DEPENDENCIES, _LEFT_OUT, current)
                continue
            below = [path for entry in listed if (path := self._entry(current, entry)) is not None]
            pending.extend(reversed(below))

    def _entry(self, parent: str, entry: "os.DirEntry[str]") -> str | None:
        """Take one entry; returns its path if it is a directory to walk."""
        self._seen += 1
        if self._seen % _CANCEL_EVERY == 0:
            anyio.from_thread.check_cancelled()
        relative = f"{parent}/{entry.name}" if parent else entry.name
        try:
            if entry.is_symlink():
                if self._is_wanted(relative):
                    self._leave("Symbolic links", _LINKS, relative)
            elif entry.is_dir(follow_symlinks=False):
                return relative if self._enters(relative, entry) else None
            elif entry.is_file(follow_symlinks=False):
                if self._is_wanted(relative):
                    self.file(relative, entry.stat(follow_symlinks=False))
            else:
                self._leave("Special files", "sockets, pipes and devices hold no source", relative)
        except OSError as error:
            self._leave("Unreadable files", error.strerror or "cannot be read", relative)
        return None

    def _enters(self, relative: str, entry: "os.DirEntry[str]") -> bool:
        if self._wanted and not any(pattern.may_match_below(relative) for pattern in self._wanted):
            return False
        if self._is_named(relative):
            return True
        kind = EXCLUDED_DIRECTORIES.get(entry.name)
        if kind is not None:
            self._leave(kind, _LEFT_OUT, relative)
        return kind is None

    def _is_named(self, relative: str) -> bool:
        return any(pattern.names(relative) for pattern in self._wanted)

    def file(self, relative: str, facts: os.stat_result) -> None:
        if not self._is_wanted(relative) or self._full:
            return
        if facts.st_size > self._limits.max_file_bytes:
            self._leave("Large files", f"over {self._limits.max_file_bytes // 1024**2} MiB each", relative)
            return
        if not stat.S_ISREG(facts.st_mode):
            return
        if len(self.files) >= self._limits.max_files or self._bytes + facts.st_size > self._limits.max_total_bytes:
            self._full = True
            return
        self._bytes += facts.st_size
        stamp = FileStamp(path=shown_path(relative), size=facts.st_size, modified_ns=facts.st_mtime_ns)
        self.files.append(SelectedFile(relative, stamp))

    def _is_wanted(self, relative: str) -> bool:
        # Every pattern is asked, so that each knows whether it was of use.
        asked = [pattern.matches(relative) for pattern in self._wanted]
        return not asked or any(asked)

    def _leave(self, what: str, reason: str, relative: str) -> None:
        self._left[what, reason].append(shown_path(relative))

    def notes(self) -> Iterator[NotAssessed]:
        for (what, reason), paths in sorted(self._left.items()):
            yield NotAssessed(what=what, reason=reason, count=len(paths), examples=tuple(paths[:EXAMPLES]))
        if self._full:
            last = self.files[-1].stamp.path if self.files else ""
            yield NotAssessed(
                what="Files beyond the bound of one scan",
                reason=f"one scan takes at most {self._limits.max_files} files and "
                f"{self._limits.max_total_bytes // 1024**2} MiB; "
                f"it stopped after '{last}'. Scan the rest by itself with paths",
            )


class _Pattern:
    """One entry of `paths`: a sub-path with everything below it, or a glob (`**` crosses slashes, `*` does not).

    A glob without a slash is matched against the name alone, so `*.py` means every Python file.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.used = False
        plain = text.removeprefix("./").rstrip("/")
        if not plain or plain.startswith("/") or "\0" in plain or ".." in plain.split("/"):
            raise CallerError(
                f"'{text}' is not a path below the scanned directory.",
                "Give relative paths or globs such as src or src/**/*.py, without '..'.",
                argument="paths",
            )
        self._is_everything = plain == "."
        self._is_glob = any(character in plain for character in "*?[")
        self._plain = plain
        self._regex = _translate(plain)
        self._by_name = self._is_glob and "/" not in plain
        self._fixed = plain[: re.search(r"[*?\[]|$", plain).start()] if self._is_glob else plain  # type: ignore[union-attr]  # $ always matches

    def matches(self, relative: str) -> bool:
        """Whether this file is asked for."""
        if self._is_everything:
            found = True
        elif self._by_name:
            found = self._regex.fullmatch(relative.rsplit("/", 1)[-1]) is not None
        elif self._is_glob:
            found = self._regex.fullmatch(relative) is not None
        else:
            found = relative == self._plain or relative.startswith(f"{self._plain}/")
        self.used |= found
        return found

    def may_match_below(self, directory: str) -> bool:
        """Whether a file below `directory` might be asked for."""
        if self._is_everything or self._by_name:
            return True
        below = f"{directory}/"
        return self._fixed.startswith(below) or below.startswith(self._fixed) or self._fixed == directory

    def names(self, directory: str) -> bool:
        """Whether this entry spells the directory out, or something below it."""
        return not self._is_everything and (self._fixed == directory or self._fixed.startswith(f"{directory}/"))


def _translate(glob: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[!?\]?[^\]]*\])", glob)
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    out = []
    for part in parts:
        if part in known:
            out.append(known[part])
        elif len(part) > 2 and part[0] == "[" and part[-1] == "]":
            negated = part[1] == "!"
            inside = part[2 if negated else 1 : -1].replace("\\", "\\\\").replace("[", "\\[").replace("^", "\\^")
            out.append(f"[{'^' if negated else ''}{inside}]")
        else:
            out.append(re.escape(part))
    try:
        return re.compile("".join(out), re.DOTALL)
    except re.error as error:
        raise CallerError(
            f"'{glob}' is not a glob: {error}.", "Use * ** ? and [a-z] only.", argument="paths"
        ) from error


def _unreadable_root(root: Path, error: OSError) -> CallerError:
    return CallerError(
        f"'{root}' cannot be read: {error.strerror}.",
        "Give the suite's user the right to list and read it.",
        argument="path",
    )
