"""Copies the files of a workspace, following no link on the way."""

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from quantum_suite.core.errors import CallerError
from quantum_suite.services.scratch.interface import Omitted
from quantum_suite.services.scratch.listing import VERSION_CONTROL, is_environment
from quantum_suite.services.scratch.tree_hash import TreeEntry

_PIECE_BYTES = 1024 * 1024
_TRIES = 5
_CLONE = 0x40049409
"""FICLONE (ioctl_ficlone(2)): share the blocks until one of the two is written to."""


@dataclass(slots=True)
class Copied:
    """What was copied, what was linked, and what was left out."""

    entries: list[TreeEntry] = field(default_factory=list)
    omitted: list[Omitted] = field(default_factory=list)
    linked: set[str] = field(default_factory=set)
    """Folders that are linked instead, relative to the root."""
    size: int = 0


class CopyStopped(Exception):
    """The copy is no longer wanted."""


class TreeCopier:
    """Copies from one folder to another, file by file."""

    def __init__(
        self, origin: Path, target: Path, *, max_bytes: int, max_file_bytes: int, stopped: Callable[[], bool]
    ) -> None:
        self._origin = origin
        self._target = target
        self._max_bytes = max_bytes
        self._max_file_bytes = max_file_bytes
        self._stopped = stopped
        self._environments: dict[str, str | None] = {"": None}
        self.copied = Copied()

    def copy(self, paths: Iterable[str]) -> Copied:
        """Copy the files and links at `paths`; raises CallerError when they are more than may be, CopyStopped."""
        folder, descriptor = "", os.open(self._origin, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for path in paths:
                if self._stopped():
                    raise CopyStopped
                parent, _, name = path.rpartition("/")
                if VERSION_CONTROL & set(path.split("/")):
                    continue
                environment = self._environment_of(parent)
                if environment is not None:
                    self.copied.linked.add(environment)
                    continue
                if parent != folder:
                    os.close(descriptor)
                    descriptor = -1
                    descriptor = self._open_folder(parent)
                    folder = parent
                self._copy_one(descriptor, name, path)
        except _LinkOnTheWay as error:
            raise CallerError(
                f"{error.args[0]} became a link while the workspace was copied.", "Try again.", argument="path"
            ) from error
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        return self.copied

    def _environment_of(self, folder: str) -> str | None:
        """Return the outermost virtual environment or node_modules that a folder is or lies in."""
        if folder not in self._environments:
            outer = self._environment_of(folder.rpartition("/")[0])
            is_one = outer is None and is_environment(self._origin / folder)
            self._environments[folder] = folder if is_one else outer
        return self._environments[folder]

    def _open_folder(self, folder: str) -> int:
        """Open a folder below the origin, link by link refused, and make its counterpart."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._origin, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in folder.split("/") if folder else ():
                inner = os.open(part, flags, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = inner
        except OSError as error:
            os.close(descriptor)
            raise _LinkOnTheWay(folder) from error
        (self._target / folder).mkdir(parents=True, exist_ok=True)
        return descriptor

    def _copy_one(self, folder: int, name: str, path: str) -> None:
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                self._copy_link(os.readlink(name, dir_fd=folder), path)
            elif not stat.S_ISREG(status.st_mode):
                self._omit(path, f"It is {_kind(status.st_mode)}.")
            elif status.st_size > self._max_file_bytes:
                self._omit(path, f"It has {status.st_size} bytes; a file may have {self._max_file_bytes}.")
            else:
                self._copy_file(folder, name, path)
        except FileNotFoundError:
            return  # Removed since it was listed, or never checked out.
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                raise
            self._omit(path, f"It cannot be read: {error.strerror}.")

    def _copy_link(self, target: str, path: str) -> None:
        """Make a link again that stays inside; an absolute one is made relative, to lead into the copy."""
        place = self._origin / path
        leads_to = Path(os.path.realpath(place.parent / target))
        if not leads_to.is_relative_to(self._origin):
            self._omit(path, f"It is a link that leads outside, to {target}.")
            return
        if Path(target).is_absolute():
            target = os.path.relpath(leads_to, place.parent)
        (self._target / path).symlink_to(target)
        digest = hashlib.sha256(os.fsencode(target)).hexdigest()
        self.copied.entries.append(TreeEntry(path, digest, "link"))

    def _copy_file(self, folder: int, name: str, path: str) -> None:
        target = self._target / path
        for _ in range(_TRIES):
            # Not waiting for a writer, should a FIFO have taken the file's place.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            source = os.open(name, flags, dir_fd=folder)
            try:
                before = os.fstat(source)
                if not stat.S_ISREG(before.st_mode):
                    self._omit(path, f"It is {_kind(before.st_mode)}.")
                    return
                digest, size = self._copy_content(source, target, before)
                after = os.fstat(source)
            finally:
                os.close(source)
            if (before.st_mtime_ns, before.st_size) == (
                after.st_mtime_ns,
                after.st_size,
            ) and size == after.st_size:
                self.copied.size += size
                executable = before.st_mode & stat.S_IXUSR
                self.copied.entries.append(TreeEntry(path, digest, "executable" if executable else "file"))
                return
        target.unlink()
        self._omit(path, "It was written to all the time.")

    def _copy_content(self, source: int, target: Path, status: os.stat_result) -> tuple[str, int]:
        mode = 0o755 if status.st_mode & stat.S_IXUSR else 0o644
        digest = hashlib.sha256()
        size = 0
        copy = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        try:
            os.fchmod(copy, mode)
            cloned = _clone(source, copy)
            # Not further than it was long: somebody who goes on writing is not run after.
            while size <= status.st_size and (piece := os.read(source, _PIECE_BYTES)):
                digest.update(piece)
                size += len(piece)
                self._check_size(self.copied.size + size)
                if not cloned:
                    _write_all(copy, piece)
            os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))
        finally:
            os.close(copy)
        return digest.hexdigest(), size

    def _check_size(self, size: int) -> None:
        if self._stopped():
            raise CopyStopped
        if size > self._max_bytes:
            raise CallerError(
                f"The workspace has more than {self._max_bytes} bytes to be copied.",
                "Have version control ignore large data, or name a part of it.",
                argument="path",
            )

    def _omit(self, path: str, reason: str) -> None:
        self.copied.omitted.append(Omitted(path, reason))


class _LinkOnTheWay(Exception):
    """A folder on the way to a file is a link, or gone."""


def _clone(source: int, target: int) -> bool:
    with contextlib.suppress(OSError):
        fcntl.ioctl(target, _CLONE, source)
        return True
    return False


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _kind(mode: int) -> str:
    for is_kind, name in (
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
        (stat.S_ISDIR, "a folder"),
    ):
        if is_kind(mode):
            return name
    return "no regular file"
