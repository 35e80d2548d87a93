"""Files encrypted in frames: AES-256-GCM (the house's XAES frame), each bound to backup, name, position and end.

    magic "QBK1" | for each frame: length (4 bytes, big-endian) | sealed value

A frame opens only in its own file, at its own place; the last one says that it is the last. So a file that was
cut, extended, put together from others or put in another's place does not open. Which files belong
together says the backup's manifest.
"""

import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from quantum_suite.core.errors import Damaged
from quantum_suite.services.encryption.cipher import OVERHEAD_BYTES, Opener, Sealer
from quantum_suite.services.encryption.interface import DataKey

FRAME_BYTES = 1024 * 1024
_MAGIC = b"QBK1"
_LENGTH = 4


class SealedWriter:
    """Writes one sealed file. It takes its name when it is whole and on the disk; a broken-off one leaves none."""

    def __init__(self, path: Path, key: DataKey, backup: str) -> None:
        self._path = path
        self._staged = path.with_name(f"{path.name}.part")
        self._sealer = Sealer(key)
        self._context = f"{backup}/{path.name}"
        self._index = 0
        self._buffer = bytearray()
        self._plain_hash = hashlib.sha256()
        self.plain_bytes = 0
        self._file = os.fdopen(
            os.open(self._staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb"
        )
        self._file.write(_MAGIC)

    def feed(self, data: bytes) -> None:
        """Take the next piece of plain text."""
        self._plain_hash.update(data)
        self.plain_bytes += len(data)
        self._buffer += data
        while len(self._buffer) > FRAME_BYTES:
            self._frame(bytes(self._buffer[:FRAME_BYTES]), last=False)
            del self._buffer[:FRAME_BYTES]

    def finish(self) -> str:
        """Write the last frame, have all of it on the disk under its name; returns the plain text's SHA-256."""
        self._frame(bytes(self._buffer), last=True)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._staged.replace(self._path)
        return self._plain_hash.hexdigest()

    def _frame(self, plain: bytes, *, last: bool) -> None:
        sealed = self._sealer.seal(plain, _frame_context(self._context, self._index, last=last))
        self._file.write(len(sealed).to_bytes(_LENGTH, "big") + sealed)
        self._index += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._file.closed:
            self._file.close()
            self._staged.unlink(missing_ok=True)


class SealedReader(io.RawIOBase):
    """Reads the plain text of a sealed file; raises Damaged at the first frame that is not what was written."""

    _file: IO[bytes] | None = None

    def __init__(self, path: Path, key: DataKey, backup: str) -> None:
        super().__init__()
        self._file = path.open("rb")
        self._frames = open_frames(self._file, path.name, key, backup)
        self._left = b""

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]  # the writable kinds in use
        """Fill a buffer; 0 at the end."""
        while not self._left:
            frame = next(self._frames, None)
            if frame is None:
                return 0
            self._left = frame
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size

    def close(self) -> None:
        """Close the file. Called at the end of one that could not be opened, too."""
        if self._file is not None:
            self._file.close()
        super().close()


def open_frames(file: IO[bytes], name: str, key: DataKey, backup: str) -> Iterator[bytes]:
    """Yield the plain text of each frame; raises Damaged for anything but the whole file, as it was written."""
    if file.read(len(_MAGIC)) != _MAGIC:
        raise _damaged(name, "it is no sealed file")
    opener, context, index = Opener(key), f"{backup}/{name}", 0
    following = _read_frame(file, name)
    if following is None:
        raise _damaged(name, "it is cut short")
    while following is not None:
        sealed, following = following, _read_frame(file, name)
        try:
            yield opener.open(sealed, _frame_context(context, index, last=following is None))
        except Damaged as error:
            raise _damaged(
                name, f"frame {index} is altered, cut off, from elsewhere or under another key"
            ) from error
        index += 1


def _read_frame(file: IO[bytes], name: str) -> bytes | None:
    prefix = file.read(_LENGTH)
    if not prefix:
        return None
    size = int.from_bytes(prefix, "big")
    if len(prefix) < _LENGTH or not OVERHEAD_BYTES <= size <= FRAME_BYTES + OVERHEAD_BYTES:
        raise _damaged(name, "it is cut short or altered")
    sealed = file.read(size)
    if len(sealed) < size:
        raise _damaged(name, "it is cut short")
    return sealed


def _frame_context(context: str, index: int, *, last: bool) -> bytes:
    return f"{context}#{index}{'.' if last else ''}".encode()


def _damaged(name: str, why: str) -> Damaged:
    return Damaged(
        f"The backup's file {name} does not open: {why}.",
        "Restore from another backup, and find out who or what changed this one.",
    )
