"""Newline-delimited messages from a byte stream, bounded."""

import anyio
from anyio.abc import ByteReceiveStream


class LineTooLong(Exception):
    """A line was longer than allowed; it was skipped up to its end."""


class LineReader:
    """Reads lines of at most `max_bytes`. A longer one costs its sender that line, and nobody else anything."""

    def __init__(self, stream: ByteReceiveStream, max_bytes: int) -> None:
        self._stream = stream
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._searched = 0
        self._skipping = False

    async def read(self) -> bytes | None:
        """Return the next line without its end, None at the end of the stream; raises `LineTooLong`.

        What follows the last newline is a line, too.
        """
        while True:
            end = self._buffer.find(b"\n", self._searched)
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                self._searched = 0
                if self._skipping:
                    self._skipping = False
                    continue
                if end > self._max_bytes:
                    raise LineTooLong
                return line
            self._searched = len(self._buffer)
            if self._searched > self._max_bytes:
                self._buffer.clear()
                self._searched = 0
                if not self._skipping:
                    self._skipping = True
                    raise LineTooLong
            try:
                self._buffer += await self._stream.receive()
            except (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
                return self._last()

    def _last(self) -> bytes | None:
        line = bytes(self._buffer)
        self._buffer.clear()
        self._searched = 0
        return line if line and not self._skipping else None
