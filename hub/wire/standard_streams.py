"""The process's stdin and stdout, taken for the wire alone.

While taken, descriptor 0 reads nothing and descriptor 1 leads to stderr, so that neither a stray print nor a child
process can put a byte between two messages, or eat one.
"""

import fcntl
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream

_CHUNK = 65536


class DescriptorReceiveStream(ByteReceiveStream):
    """Reads a descriptor without blocking the event loop. The descriptor stays its owner's."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._pollable = True

    async def receive(self, max_bytes: int = _CHUNK) -> bytes:
        """Return what there is, at most `max_bytes`; raises `EndOfStream` at the end."""
        while True:
            if self._pollable:
                try:
                    await anyio.wait_readable(self._descriptor)
                except OSError:
                    self._pollable = False  # a regular file or /dev/null: reads of those never wait
            else:
                await anyio.lowlevel.checkpoint()
            with suppress(BlockingIOError):
                data = os.read(self._descriptor, max_bytes)
                if not data:
                    raise anyio.EndOfStream
                return data

    async def aclose(self) -> None:
        """Nothing to do: the descriptor is its owner's."""


class DescriptorSendStream(ByteSendStream):
    """Writes a non-blocking descriptor. The descriptor stays its owner's."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    async def send(self, item: bytes) -> None:
        """Write all of `item`; raises `BrokenResourceError` when nobody reads any more."""
        rest = memoryview(item)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                await anyio.wait_writable(self._descriptor)
            except OSError as error:
                raise anyio.BrokenResourceError from error

    async def aclose(self) -> None:
        """Nothing to do: the descriptor is its owner's."""


def _waits(descriptor: int) -> bool:
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


@contextmanager
def standard_streams() -> Iterator[tuple[ByteReceiveStream, ByteSendStream]]:
    """Take stdin and stdout for the wire, and give them back afterwards as they were."""
    wire_in = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 3)
    wire_out = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 3)
    blocking = {descriptor: os.get_blocking(descriptor) for descriptor in (wire_in, wire_out)}
    nothing = os.open(os.devnull, os.O_RDWR)
    try:
        os.dup2(nothing, 0)
        try:
            os.dup2(2, 1)
        except OSError:  # the process has no stderr
            os.dup2(nothing, 1)
        sys.stdout.flush()  # what was printed before goes to stderr, too
        if _waits(wire_out):
            os.set_blocking(wire_out, False)
        yield DescriptorReceiveStream(wire_in), DescriptorSendStream(wire_out)
    finally:
        sys.stdout.flush()
        os.dup2(wire_in, 0)
        os.dup2(wire_out, 1)
        for descriptor, was in blocking.items():
            os.set_blocking(descriptor, was)
        for descriptor in (wire_in, wire_out, nothing):
            os.close(descriptor)
