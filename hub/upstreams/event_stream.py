"""Server-sent events, read as the bytes arrive (WHATWG HTML, section 9.2)."""

from collections.abc import Callable
from typing import NamedTuple

_BOM = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """One event. `id` and `retry_ms` are None where the event carried none."""

    data: bytes
    id: str | None
    retry_ms: int | None


class EventTooLarge(ValueError):
    """An event is larger than it may be."""


class EventStream:
    """Cuts a byte stream into events; comments and unknown fields are skipped.

    An event without data is reported too, when it carries an id or a retry time: resumable streams begin with one.
    """

    def __init__(self, on_event: Callable[[Event], None], max_event_bytes: int) -> None:
        self._on_event = on_event
        self._max_event_bytes = max_event_bytes
        self._partial: list[bytes] = []
        self._after_cr = False
        self._begun = False
        self._data: list[bytes] = []
        self._data_size = 0
        self._partial_size = 0
        self._id: str | None = None
        self._retry_ms: int | None = None

    def feed(self, chunk: bytes) -> None:
        """Take more bytes; raises EventTooLarge."""
        if not self._begun:
            chunk = chunk.removeprefix(_BOM)
            self._begun = True
        if self._after_cr:
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = not chunk
        if not chunk:
            return
        self._after_cr = chunk.endswith(b"\r")
        if b"\r" in chunk:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        first, *rest = chunk.split(b"\n")
        self._partial.append(first)
        self._partial_size += len(first)
        self._check_size()
        if not rest:
            return
        *lines, last = [b"".join(self._partial), *rest]
        self._partial, self._partial_size = ([last], len(last)) if last else ([], 0)
        for line in lines:
            if line:
                self._field(line)
            else:
                self._dispatch()

    def _check_size(self) -> None:
        if self._partial_size + self._data_size > self._max_event_bytes:
            raise EventTooLarge(f"an event larger than {self._max_event_bytes} bytes")

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._data_size += len(value) + 1
            self._check_size()
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit() and len(value) < 10:
            self._retry_ms = int(value)

    def _dispatch(self) -> None:
        if self._data or self._id is not None or self._retry_ms is not None:
            event = Event(b"\n".join(self._data), self._id, self._retry_ms)
            self._data, self._data_size, self._id, self._retry_ms = [], 0, None, None
            self._on_event(event)
