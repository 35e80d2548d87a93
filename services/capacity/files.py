"""Places for the heavy work of all processes that share a data directory."""

import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from quantum_suite.core.errors import Unavailable
from quantum_suite.services.capacity.interface import Waiting
from quantum_suite.services.capacity.waiting import told

_PAUSE_SECONDS = 0.1
_LONGEST_NOTE = 100


class FileCapacity:
    """Locked files, one a place: the system frees the lock of a process that dies, however it does.

    Within a process places are given in the order of asking; between processes in no order, but a place is offered
    anew ten times a second.
    """

    def __init__(self, directory: Path, places: int) -> None:
        self.places = places
        self._directory = directory
        self._turn = anyio.Lock()

    @asynccontextmanager
    async def place(self, what: str, waiting: Waiting | None = None) -> AsyncIterator[None]:
        """Hold a place while the context lasts. Raises Unavailable when the files cannot be used."""
        descriptor: int | None = None
        try:
            async with told(self._held, self.places, waiting) as tell:
                descriptor = await self._take(tell)
                self._note(descriptor, what)
            yield
        finally:
            if descriptor is not None:
                self._note(descriptor, "")
                os.close(descriptor)

    async def _take(self, tell: Callable[[], Awaitable[None]]) -> int:
        if self._turn.locked():
            await tell()
            tell = _nothing
        async with self._turn:
            while (descriptor := self._free()) is None:
                await tell()
                tell = _nothing
                await anyio.sleep(_PAUSE_SECONDS)
            return descriptor

    def _free(self) -> int | None:
        """Lock a free place and return its descriptor; None when there is none."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            for number in range(self.places):
                # Not inherited by children: a lock belongs to the open file, and would outlive its holder.
                descriptor = os.open(self._path(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(descriptor)
                else:
                    return descriptor
        except OSError as error:
            raise Unavailable(
                f"The places for heavy work cannot be kept in {self._directory}: {error.strerror}.",
                "Make room, or let this user write there.",
            ) from error
        return None

    def _held(self) -> list[str]:
        notes = (self._path(number) for number in range(self.places))
        return [text for path in notes if path.exists() and (text := path.read_text("utf-8", "replace"))]

    def _note(self, descriptor: int, what: str) -> None:
        """Write who holds a place, for those who wait; a full disk costs them the answer, nobody the place."""
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, what.encode()[:_LONGEST_NOTE], 0)

    def _path(self, number: int) -> Path:
        return self._directory / f"place-{number}"


async def _nothing() -> None:
    """Say nothing: it was said."""
