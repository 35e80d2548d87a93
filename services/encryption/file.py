"""Keys in a file that its owner alone may read: the embedded default."""

import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio.to_thread

from quantum_suite.core.errors import ConfigurationError, Unavailable
from quantum_suite.services.encryption.documents import DocumentKeyProvider, KeyDocument, load_document

_ABSENT = ""


class FileKeyProvider(DocumentKeyProvider):
    """Keeps the keys in a JSON file, mode 0600, in a directory made with 0700.

    Several processes may use one file: it is replaced atomically, and changes are serialised by a lock file beside
    it. A file that its group or others may read or write is refused, as is one of another user, and a directory in
    which others could put another file in its place.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path

    async def _read(self) -> tuple[KeyDocument | None, int | str]:
        return await anyio.to_thread.run_sync(self._read_now)

    async def _replace(self, document: KeyDocument, token: int | str) -> bool:
        return await anyio.to_thread.run_sync(self._replace_now, document, token)

    def _read_now(self) -> tuple[KeyDocument | None, int | str]:
        with _file_errors(self._path):
            try:
                descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                return None, _ABSENT
            with os.fdopen(descriptor, "rb") as file:
                require_private(os.fstat(descriptor), self._path)
                require_unwritable(self._path.parent)
                content = file.read()
        return load_document(content, self.where), hashlib.sha256(content).hexdigest()

    def _replace_now(self, document: KeyDocument, token: int | str) -> bool:
        with _file_errors(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            require_unwritable(self._path.parent)
            with exclusive(self._path.with_name(f"{self._path.name}.lock")):
                if self._read_now()[1] != token:
                    return False
                replace_file(self._path, document.dump().encode())
                return True


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, which is made where it is missing; the kernel lets go of it with the process."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def replace_file(path: Path, content: bytes) -> None:
    """Put `content` in the place of `path`, mode 0600, whole or not at all, on the disk when this returns.

    One caller at a time: hold a lock.
    """
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def require_private(found: os.stat_result, path: Path) -> None:
    """Raise ConfigurationError unless the file is this user's and nobody else's to read or write."""
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise ConfigurationError(
            f"{path} may be read or written by others (mode {stat.S_IMODE(found.st_mode):04o}).",
            f"chmod 600 {path}; where others have read it, make new keys with `quantum data rotate-keys`.",
        )
    if found.st_uid not in (os.geteuid(), 0):
        raise ConfigurationError(f"{path} belongs to another user.", f"chown {os.geteuid()} {path}")


def require_unwritable(directory: Path) -> None:
    """Raise ConfigurationError when others could put files into `directory`."""
    mode = stat.S_IMODE(directory.stat().st_mode)
    if mode & 0o022:
        raise ConfigurationError(
            f"{directory}, which holds keys, may be written by others (mode {mode:04o}).", f"chmod 700 {directory}"
        )


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise ConfigurationError(
            f"{path} cannot be used: {error.strerror}.", "Give its user access, or name another file."
        ) from error
    except OSError as error:
        raise Unavailable(
            f"{path} cannot be used: {error.strerror}.", "Mend the directory or the disk."
        ) from error
