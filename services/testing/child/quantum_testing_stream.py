"""Tells the suite what happens, one JSON record a line, on a channel that tests do not print to."""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from typing import Any

LONGEST_MESSAGE = 6_000


class Stream:
    """The process's first stdout. What the tests print goes to stderr from here on.

    Only the process that opened it writes: a test that forks and comes back tells nothing twice.
    """

    def __init__(self, token: str) -> None:
        sys.stdout.flush()
        self._descriptor = os.dup(1)
        os.set_inheritable(self._descriptor, False)
        os.dup2(2, 1)
        self._token = token
        self._owner = os.getpid()
        self._lock = threading.Lock()

    def tell(self, kind: str, **fields: Any) -> None:
        """Write one record whole."""
        if os.getpid() != self._owner:
            return
        # A newline first: what a test left on the line is not ours.
        line = f"{self._token}{json.dumps({'kind': kind, **fields})}\n".encode()
        with self._lock:
            while line:
                line = line[os.write(self._descriptor, line) :]


def shorten(text: str) -> str:
    """Return a text short enough to be told, its end kept: that is where the reason stands."""
    return text if len(text) <= LONGEST_MESSAGE else "[...]\n" + text[-LONGEST_MESSAGE:]


class Watch:
    """Ends the process when one test takes too long; the suite goes on with the others in a new one."""

    def __init__(self, stream: Stream, seconds: float, before_end: Any) -> None:
        self._stream = stream
        self._seconds = seconds
        self._before_end = before_end
        self._current: str | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="time limit of tests", daemon=True)
        self._watched = threading.get_ident()
        self._thread.start()

    def start(self, test: str | None) -> None:
        """Begin the time of a test; None ends it."""
        with self._changed:
            self._current = test
            self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while True:
                test = self._current
                if test is None:
                    self._changed.wait()
                    continue
                if self._changed.wait(self._seconds) or self._current != test:
                    continue
                self._end(test)

    def _end(self, test: str) -> None:
        frame = sys._current_frames().get(self._watched)
        where = "".join(traceback.format_stack(frame)[-12:]) if frame is not None else ""
        self._stream.tell("slow", id=test, where=shorten(where))
        try:
            self._before_end()
        finally:
            os._exit(71)
