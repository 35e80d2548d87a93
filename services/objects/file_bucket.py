"""A bucket in a local directory.

The engine writes local files whole, but neither syncs them nor compares versions, and leaves their mode to the
umask: that is done here.
"""

import fcntl
import hashlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import anyio.to_thread
import obstore
from obstore.store import LocalStore

from quantum_suite.core.errors import Unavailable
from quantum_suite.services.objects.bucket import Bucket, Version

T = TypeVar("T")

_LOCK_SECONDS = 10.0
_LOCK_PAUSE_SECONDS = 0.005


class FileBucket(Bucket):
    """Keeps files in `directory`, for any number of processes: files 0600, folders 0700.

    What was written survives a loss of power once the method returns.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        super().__init__(LocalStore(directory), str(directory))
        self._directory = directory

    async def read_record(self, path: str) -> tuple[bytes, Version] | None:
        found = await super().read_record(path)
        return None if found is None else (found[0], _version(found[0]))

    async def swap_record(self, path: str, record: bytes, expected: Version | None) -> bool:
        def swap() -> bool:
            with self._locked():
                if self._version_now(path) != expected:
                    return False
                self._write_now(path, record)
                return True

        return await self._in_thread(swap)

    async def discard_record(self, path: str, expected: Version) -> None:
        def discard() -> None:
            with self._locked():
                if self._version_now(path) == expected:
                    (self._directory / path).unlink()

        await self._in_thread(discard)

    async def write(self, path: str, content: bytes) -> None:
        await self._in_thread(lambda: self._write_now(path, content))

    @asynccontextmanager
    async def receiving(self, path: str) -> AsyncIterator[Callable[[bytes], Awaitable[None]]]:
        await self._in_thread(lambda: self._prepare(path))
        async with super().receiving(path) as write:
            yield write
        await self._in_thread(lambda: self._settle(path))

    async def copy(self, source: str, target: str, size: int) -> None:
        await self._in_thread(lambda: self._prepare(target))
        await super().copy(source, target, size)
        await self._in_thread(lambda: self._settle(target))

    async def sweep(self, before: datetime) -> None:
        await super().sweep(before)
        await self._in_thread(lambda: self._sweep_parts(before.timestamp()))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        # Not bounded in time: a thread cannot be stopped, and a local disk that hangs holds up more than this.
        async with self._asked():
            return await anyio.to_thread.run_sync(work)

    def _write_now(self, path: str, content: bytes) -> None:
        self._prepare(path)
        obstore.put(self._store, path, content, use_multipart=False)
        self._settle(path)

    def _prepare(self, path: str) -> None:
        """Make the folders of a path, so that they are found again after a loss of power."""
        missing = []
        folder = (self._directory / path).parent
        while not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for folder in reversed(missing):
            folder.mkdir(mode=0o700, exist_ok=True)
            _sync(folder.parent)

    def _settle(self, path: str) -> None:
        """Sync a file that was written, and its name."""
        file = self._directory / path
        file.chmod(0o600)
        _sync(file)
        _sync(file.parent)

    def _version_now(self, path: str) -> Version | None:
        try:
            return _version((self._directory / path).read_bytes())
        except FileNotFoundError:
            return None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Be the only one, of all processes, that changes records."""
        descriptor = os.open(self._directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            deadline = time.monotonic() + _LOCK_SECONDS
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise Unavailable(f"Somebody holds the lock of {self.shown}.", "Try again.") from None
                    time.sleep(_LOCK_PAUSE_SECONDS)  # a lock with a bound on the wait has to be asked for again
            yield
        finally:
            os.close(descriptor)

    def _sweep_parts(self, before: float) -> None:
        """Delete what the engine was writing when its process died: `<name>#<number>`, which it does not list."""
        for folder, _, files in os.walk(self._directory):
            for name in files:
                file = Path(folder, name)
                with suppress(FileNotFoundError):
                    if "#" in name and file.stat().st_mtime < before:
                        file.unlink()


def _version(record: bytes) -> Version:
    return Version(hashlib.sha256(record).hexdigest())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
