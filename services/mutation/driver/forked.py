"""Servers that were forked: hearing what they say, and telling them what to do."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from typing import Any


class Forked:
    """A server that was forked. It is told one line at a time what it waits for."""

    def __init__(self, pid: int, reading: int, telling: int) -> None:
        self.pid = pid
        self._reading = reading
        self._telling: int | None = telling

    def tell(self, what: Any) -> None:
        """Tell it something; it may be dead by now."""
        assert self._telling is not None
        data = memoryview(json.dumps(what).encode() + b"\n")
        with contextlib.suppress(BrokenPipeError):
            while data:
                data = data[os.write(self._telling, data) :]

    def say_no_more(self) -> None:
        """Let it know that it has been told everything."""
        if self._telling is not None:
            os.close(self._telling)
            self._telling = None

    def heard(self) -> Iterator[dict[str, Any]]:
        """Hear it until it ends."""
        self.say_no_more()
        rest = b""
        try:
            while data := os.read(self._reading, 1 << 16):
                *lines, rest = (rest + data).split(b"\n")
                yield from map(json.loads, lines)
        finally:
            os.close(self._reading)
            os.waitpid(self.pid, 0)

    def end(self) -> None:
        """End it: there is nothing to do for it."""
        self.say_no_more()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.close(self._reading)
        os.waitpid(self.pid, 0)

    @property
    def descriptors(self) -> list[int]:
        """Those that nobody else must have: who holds the end of a pipe keeps it open."""
        return [self._reading, *([] if self._telling is None else [self._telling])]


class Told:
    """What a server is told, in that server."""

    def __init__(self, descriptor: int) -> None:
        self._file = os.fdopen(descriptor, "rb")

    def next(self) -> Any | None:
        """Wait for the next line; None when there is none."""
        line = self._file.readline()
        return json.loads(line) if line.endswith(b"\n") else None

    def close(self) -> None:
        """Listen no more: children are to have nobody's descriptors."""
        self._file.close()
