"""Where objects lie: named blobs, and small records that change hands by comparing versions."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import NewType

import anyio
import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import LocalStore, MemoryStore, S3Store

from quantum_suite.core.errors import ConfigurationError, Unavailable

PIECE_BYTES = 8 * 1024 * 1024
"""What is read or sent at once, and so held in memory."""

Version = NewType("Version", str)
"""Which writing of a record is meant. Opaque."""

INCOMING = "incoming"
"""Where content lies while it is being received."""

_PARTS_AT_ONCE = 4
_COPIED_FASTER = 32
"""How many times faster a server is thought to copy than to receive."""


PATIENCE_SECONDS = 15.0
"""How long a request may take, and on top of it each piece that it moves."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A name in the bucket, and when it was last written by the bucket's own clock."""

    path: str
    modified_at: datetime


class Bucket:
    """A place that writes a name whole or not at all, and compares versions itself: S3, or memory.

    Methods raise Unavailable when it is away, full, or too slow, in bounded time; ConfigurationError when it
    refuses the credentials or does not exist.
    """

    def __init__(
        self, store: S3Store | MemoryStore | LocalStore, shown: str, *, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        self.shown = shown
        self._store = store
        self._patience_seconds = patience_seconds

    async def read_record(self, path: str) -> tuple[bytes, Version] | None:
        """Return a record and its version."""
        async with self._asked():
            try:
                found = await obstore.get_async(self._store, path)
            except FileNotFoundError:
                return None
            return bytes(await found.bytes_async()), Version(found.meta["e_tag"] or "")

    async def swap_record(self, path: str, record: bytes, expected: Version | None) -> bool:
        """Write a record if it still stands at `expected` (None: is not there); says whether it was."""
        async with self._asked():
            try:
                if expected is None:
                    await obstore.put_async(self._store, path, record, mode="create")
                else:
                    await obstore.put_async(self._store, path, record, mode={"e_tag": expected})
            except (AlreadyExistsError, PreconditionError):
                return False
            return True

    async def discard_record(self, path: str, expected: Version) -> None:
        """Delete a record if it still stands at `expected`.

        S3 cannot compare and delete in one step: a record that is replaced in the instant between is lost.
        """
        found = await self.read_record(path)
        if found is not None and found[1] == expected:
            await self.delete(path)

    async def write(self, path: str, content: bytes) -> None:
        """Write a blob, in place of what was there."""
        async with self._asked(len(content)):
            await obstore.put_async(self._store, path, content)

    @asynccontextmanager
    async def receiving(self, path: str) -> AsyncIterator[Callable[[bytes], Awaitable[None]]]:
        """Lend what writes the next piece of a blob; there is none unless the block ends without an error."""
        writer = obstore.open_writer_async(
            self._store, path, buffer_size=PIECE_BYTES, max_concurrency=_PARTS_AT_ONCE
        )

        async def write(piece: bytes) -> None:
            async with self._asked(len(piece) + PIECE_BYTES):
                await writer.write(piece)

        yield write
        async with self._asked(_PARTS_AT_ONCE * PIECE_BYTES):
            await writer.close()

    async def copy(self, source: str, target: str, size: int) -> None:
        """Copy a blob of `size` bytes within the bucket."""
        async with self._asked(size // _COPIED_FASTER):
            await obstore.copy_async(self._store, source, target)

    async def size(self, path: str) -> int | None:
        """Return how long a blob is; None when it is not there."""
        async with self._asked():
            try:
                return (await obstore.head_async(self._store, path))["size"]
            except FileNotFoundError:
                return None

    async def read(self, path: str, start: int, end: int) -> bytes | None:
        """Return part of a blob; None when it is not there. Raises Unavailable for a `start` beyond its end."""
        async with self._asked(end - start):
            try:
                return bytes(await obstore.get_range_async(self._store, path, start=start, end=end))
            except FileNotFoundError:
                return None

    async def delete(self, path: str) -> None:
        """Delete a blob or record, whether it is there or not."""
        async with self._asked():
            try:
                await obstore.delete_async(self._store, path)
            except FileNotFoundError:
                return

    async def folders(self, path: str) -> list[str]:
        """Return the paths of the folders right below `path`."""
        async with self._asked():
            return list((await obstore.list_with_delimiter_async(self._store, path))["common_prefixes"])

    async def list(self, folder: str) -> list[Blob]:
        """Return what lies in a folder."""
        blobs: list[Blob] = []
        async with self._asked():
            pages = obstore.list(self._store, folder, chunk_size=1000).__aiter__()
        while True:
            async with self._asked():
                try:
                    page = await pages.__anext__()
                except StopAsyncIteration:
                    return blobs
            blobs += [Blob(each["path"], each["last_modified"]) for each in page]

    async def sweep(self, before: datetime) -> None:
        """Delete what was being received when whoever received it died, if it was written last before then."""
        for blob in await self.list(INCOMING):
            if blob.modified_at < before:
                await self.delete(blob.path)

    @asynccontextmanager
    async def _asked(self, size: int = 0) -> AsyncIterator[None]:
        """Bound one request that moves `size` bytes, and name what goes wrong with it."""
        seconds = self._patience_seconds * (1 + size / PIECE_BYTES)
        try:
            with anyio.fail_after(seconds):
                yield
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise ConfigurationError(
                f"{self.shown} refuses access: {first_line(error)}", "Check the credentials and their rights."
            ) from error
        except TimeoutError as error:
            raise Unavailable(f"{self.shown} did not answer within {seconds:.0f} seconds.") from error
        except FileNotFoundError as error:
            raise ConfigurationError(f"{self.shown} does not exist.", "Create it, or name another.") from error
        except (BaseError, OSError) as error:
            raise Unavailable(f"{self.shown} cannot be used now: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """Return what an engine's error says, without the engine's insides."""
    return str(error).partition("\n")[0][:300]
