"""Frames on their way to one reader: in order, bounded, and not waited for longer than told."""

from collections.abc import Callable

import anyio

BUFFER_BYTES = 1024 * 1024
"""What waits for one slow reader at most, beyond the operating system's own buffers."""


class Outbox:
    """A bounded queue of bytes with one writer at its end.

    A producer waits while the queue is full, `stall_seconds` at most; then `on_stall` is called once and the queue
    closes. Frames put after closing are dropped.
    """

    def __init__(
        self,
        max_bytes: int = BUFFER_BYTES,
        *,
        stall_seconds: float | None = None,
        on_stall: Callable[[], None] | None = None,
    ) -> None:
        self._max_bytes = max_bytes
        self._stall_seconds = stall_seconds
        self._on_stall = on_stall
        self._frames: list[bytes] = []
        self._size = 0
        self._closed = False
        self._filled = anyio.Event()
        self._emptied = anyio.Event()
        self._turn = anyio.Lock()

    @property
    def closed(self) -> bool:
        """Whether nothing more is taken in."""
        return self._closed

    async def put(self, frame: bytes) -> None:
        """Queue a frame as soon as there is room; those who wait keep their order."""
        if (self._size < self._max_bytes and not self._turn.locked()) or self._closed:
            self.put_now(frame)
            return
        async with self._turn:
            with anyio.move_on_after(self._stall_seconds):
                while self._size >= self._max_bytes and not self._closed:
                    await self._emptied.wait()
            if self._size >= self._max_bytes and not self._closed:
                self.stall()
            self.put_now(frame)

    def offer(self, frame: bytes) -> None:
        """Queue a frame, or give the reader up when the queue is full: for producers that serve others, too."""
        if self._size >= self._max_bytes:
            self.stall()
        self.put_now(frame)

    def put_now(self, frame: bytes) -> None:
        """Queue a frame even where the queue is full: for the few that end a conversation."""
        if not self._closed:
            self._frames.append(frame)
            self._size += len(frame)
            self._filled.set()

    def stall(self) -> None:
        """Give the reader up."""
        if not self._closed:
            self._frames.clear()
            self.close()
            if self._on_stall is not None:
                self._on_stall()

    def close(self) -> None:
        """Take nothing more; what is queued is still taken out."""
        self._closed = True
        self._filled.set()
        self._emptied.set()

    async def take(self, wait_seconds: float | None = None) -> bytes | None:
        """Return everything queued, joined; None at the end. `b""` says that nothing came in `wait_seconds`."""
        if not self._frames and not self._closed:
            self._filled = anyio.Event()
            with anyio.move_on_after(wait_seconds):
                await self._filled.wait()
        if not self._frames:
            return None if self._closed else b""
        data = self._frames[0] if len(self._frames) == 1 else b"".join(self._frames)
        self._frames.clear()
        self._size = 0
        emptied, self._emptied = self._emptied, anyio.Event()
        if self._closed:
            self._emptied.set()
        emptied.set()
        return data
