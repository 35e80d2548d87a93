"""What is kept of what a command in a sandbox prints: head and tail; a flood is told of."""

from collections.abc import Callable

FLOOD_FACTOR = 64
"""How many times what is kept a stream may carry before its command is ended."""


class HeadAndTail:
    """Keeps the first and the last half of what may be kept of a stream, and counts the rest."""

    def __init__(self, max_bytes: int, on_flood: Callable[[], None]) -> None:
        self.size = 0
        self._max_bytes = max_bytes
        self._head_bytes = max_bytes - max_bytes // 2
        self._tail_bytes = max_bytes // 2
        self._head = bytearray()
        self._tail = bytearray()
        self._on_flood = on_flood

    def feed(self, data: bytes) -> None:
        """Take a piece; it is kept, or pushes out what came before it."""
        self.size += len(data)
        room = self._head_bytes - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if data:
            self._tail += data
            # Cut now and then, not at every piece: moving the bytes costs more than keeping some longer.
            if len(self._tail) > 2 * self._tail_bytes + 65_536:
                self._cut()
        if self.size > FLOOD_FACTOR * self._max_bytes:
            self._on_flood()

    def _cut(self) -> None:
        if len(self._tail) > self._tail_bytes:
            del self._tail[: len(self._tail) - self._tail_bytes]

    @property
    def truncated(self) -> bool:
        """Whether something in the middle was dropped."""
        return self.size > self._max_bytes

    def content(self) -> bytes:
        """Return what was kept; where something was dropped, a line between the halves says how much."""
        self._cut()
        if not self.truncated:
            return bytes(self._head + self._tail)
        dropped = self.size - len(self._head) - len(self._tail)
        return bytes(self._head) + b"\n[... %d bytes left out ...]\n" % dropped + bytes(self._tail)
