"""Reads an event stream (WHATWG HTML, 9.2.6) that may be cut, garbled or endless."""

from dataclasses import dataclass

MAX_EVENT_BYTES = 4 * 1024 * 1024
"""A tool call with a whole file in it is one event; what is longer is no answer."""

_BOM = b"\xef\xbb\xbf"


class EventTooLong(ValueError):
    """A line or an event passes the bound."""


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event as dispatched."""

    name: str
    data: bytes
    """Its `data` lines, joined by newlines."""


class EventStreamDecoder:
    """Turns chunks into events, wherever the chunks are split. An event that the end cuts short is dropped, as the
    specification says; no more than the bound is ever held."""

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._first = True
        self._after_return = False
        self._name = ""
        self._data: list[bytes] = []
        self._event_bytes = 0

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Return the events a chunk completes. Raises EventTooLong."""
        if self._is_one_event(chunk):
            self._first = self._after_return = False
            return [ServerSentEvent("message", chunk[6:-2])]
        found = []
        for line in self._lines(chunk):
            if not line:
                if self._data:
                    found.append(ServerSentEvent(self._name or "message", b"\n".join(self._data)))
                self._name, self._data, self._event_bytes = "", [], 0
                continue
            self._event_bytes += len(line)
            if self._event_bytes > self._max_event_bytes:
                raise EventTooLong(f"an event of more than {self._max_event_bytes} bytes")
            field, _, value = line.partition(b":")
            if field == b"data":
                self._data.append(value.removeprefix(b" "))
            elif field == b"event":
                self._name = value.removeprefix(b" ").decode(errors="replace")
        return found

    def _is_one_event(self, chunk: bytes) -> bool:
        """Whether a chunk is what most are: an event of one line, whole, after whole events."""
        return (
            chunk.startswith(b"data: ")
            and chunk.endswith(b"\n\n")
            and chunk.count(b"\n") == 2
            and b"\r" not in chunk
            and not (self._held_bytes or self._data or self._name)
            and len(chunk) <= self._max_event_bytes
        )

    def _lines(self, chunk: bytes) -> list[bytes]:
        """Return the lines a chunk ends, without their ends: LF, CRLF or CR."""
        if not chunk:
            return []
        if self._after_return and chunk.startswith(b"\n"):
            chunk = chunk[1:]
        self._after_return = chunk.endswith(b"\r")
        if b"\r" in chunk:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        # Each byte is looked at once: a line that comes in many pieces is put together at its end.
        *ended, rest = chunk.split(b"\n")
        if ended:
            ended[0] = b"".join((*self._held, ended[0]))
            if self._first:
                ended[0], self._first = ended[0].removeprefix(_BOM), False
            self._held, self._held_bytes = [], 0
        self._held.append(rest)
        self._held_bytes += len(rest)
        if self._held_bytes > self._max_event_bytes:
            raise EventTooLong(f"a line of more than {self._max_event_bytes} bytes")
        return ended
