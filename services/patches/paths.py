"""Which paths a patch may name, and reading and writing them without following a link."""

import contextlib
import os
import secrets
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from quantum_suite.services.patches.interface import PatchRefused

MAX_FILE_BYTES = 64 * 1024 * 1024
"""The largest file that a patch may touch."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_HISTORY = frozenset({".git", "git~1"})


@dataclass(frozen=True, slots=True)
class FileState:
    """A file as it is."""

    content: bytes
    executable: bool


def checked_path(path: str) -> str:
    """Return a path that stays below a root by its looks; raises PatchRefused."""
    reason = _what_is_wrong(path)
    if reason:
        raise PatchRefused(
            f"The patch names '{path}', {reason}.", "Name files below the workspace's root.", argument="patch"
        )
    return path


def _what_is_wrong(path: str) -> str | None:
    if not path or "\0" in path:
        return "which is no path"
    if path.startswith("/"):
        return "an absolute path"
    parts = path.split("/")
    if ".." in parts:
        return "which leads upwards"
    if "" in parts or "." in parts:
        return "which is not written plainly"
    if any(_plain(part) in _HISTORY for part in parts):
        return "which belongs to the history that git keeps"
    return None


def _plain(part: str) -> str:
    """Return a name as a file system that ignores case, trailing dots or invisible characters sees it."""
    visible = (character for character in part if unicodedata.category(character) != "Cf")
    return unicodedata.normalize("NFKC", "".join(visible)).rstrip(". ").lower()


class TreeFiles:
    """Files below a root. Every step of a path is opened by itself, so a link anywhere on it is refused, also one
    that is put there at the last moment."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, path: str) -> FileState | None:
        """Return a file; None when there is none. Raises PatchRefused for what is no plain file."""
        with self._parent(path) as (folder, name):
            if folder is None:
                return None
            try:
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                return None
            self._check_plain(path, status)
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            with os.fdopen(descriptor, "rb") as file:
                content = file.read(MAX_FILE_BYTES + 1)
            if len(content) > MAX_FILE_BYTES:
                raise _too_large(path)
            return FileState(content, bool(status.st_mode & stat.S_IXUSR))

    def write(self, path: str, content: bytes, *, executable: bool | None, temporary: str | None = None) -> None:
        """Put a file in place in one step; its mode stays, but for `executable`. Folders are made as needed.

        It is on the disk when this returns. `temporary` is its name until then, beside it.
        """
        temporary = temporary or f".{secrets.token_hex(8)}.patch"
        with self._parent(path, make=True) as (folder, name):
            if folder is None:
                raise PatchRefused(f"The folder of '{path}' went away.", "Try again.", argument="patch")
            mode = _new_mode(self._mode(folder, name), executable)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(temporary, flags, mode, dir_fd=folder)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fchmod(file.fileno(), mode)
                    os.fsync(file.fileno())
                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=folder)
                raise
            os.fsync(folder)

    def remove(self, path: str) -> None:
        """Remove a file, and the folders that are empty then."""
        with self._parent(path) as (folder, name):
            if folder is None:
                return
            os.unlink(name, dir_fd=folder)
            os.fsync(folder)
        self._remove_empty(path.rpartition("/")[0])

    def remove_temporary(self, path: str, temporary: str) -> None:
        """Remove what an interrupted `write` to `path` left."""
        with contextlib.suppress(PatchRefused, FileNotFoundError), self._parent(path) as (folder, _):
            if folder is not None:
                os.unlink(temporary, dir_fd=folder)

    def _remove_empty(self, folder: str) -> None:
        while folder:
            with contextlib.suppress(PatchRefused), self._parent(folder) as (parent, name):
                try:
                    if parent is not None:
                        os.rmdir(name, dir_fd=parent)
                except OSError:
                    return
            folder = folder.rpartition("/")[0]

    def _mode(self, folder: int, name: str) -> int | None:
        try:
            return stat.S_IMODE(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            return None

    @contextmanager
    def _parent(self, path: str, *, make: bool = False) -> Iterator[tuple[int | None, str]]:
        """Open the folder a path is in, step by step; None when it does not exist."""
        *folders, name = checked_path(path).split("/")
        descriptor: int | None = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for folder in folders:
                if descriptor is None:
                    break
                inner = self._step(descriptor, folder, path, make=make)
                os.close(descriptor)
                descriptor = inner
            yield descriptor, name
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _step(self, descriptor: int, folder: str, path: str, *, make: bool) -> int | None:
        if make:
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder, dir_fd=descriptor)
        try:
            return os.open(folder, _FOLDER, dir_fd=descriptor)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise PatchRefused(
                f"'{path}' cannot be reached: '{folder}' is a link or no folder.",
                "Name the file by its real path.",
                argument="patch",
            ) from error

    def _check_plain(self, path: str, status: os.stat_result) -> None:
        if stat.S_ISLNK(status.st_mode):
            raise PatchRefused(f"'{path}' is a link.", "Name the file by its real path.", argument="patch")
        if not stat.S_ISREG(status.st_mode):
            raise PatchRefused(f"'{path}' is no plain file.", "Name a file.", argument="patch")
        if status.st_size > MAX_FILE_BYTES:
            raise _too_large(path)


def _new_mode(mode: int | None, executable: bool | None) -> int:
    """Return the mode of a file that replaces one of `mode`; who may read it may run it, as git has it."""
    new = 0o644 if mode is None else mode & 0o777
    if executable is True:
        new |= (new & 0o444) >> 2
    if executable is False:
        new &= ~0o111
    return new


def _too_large(path: str) -> PatchRefused:
    return PatchRefused(
        f"'{path}' has more than {MAX_FILE_BYTES} bytes, too many for a patch.",
        "Change it in another way.",
        argument="patch",
    )
