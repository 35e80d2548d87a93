"""Follows a command in a sandbox to its end: hands its lines on, and stops when there is a reason to end it."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

import anyio

from quantum_suite.services.process_group import ProcessGroup
from quantum_suite.services.sandbox.output import HeadAndTail
from quantum_suite.services.sandbox.watch import Verdict, Watch

LINE_BYTES = 1024 * 1024
"""The longest line that is handed on whole; of a longer one, its beginning."""

_PAUSE_LINES = 1_000

_SILENCE_SECONDS = 0.5
"""How long the output of a command that ended may be silent before it is taken to be over."""

OnLine = Callable[[bytes], Awaitable[None]]


class Listener:
    """Cuts a stream into lines for somebody who may be slower than the stream, which waits for him then."""

    def __init__(self, on_line: OnLine) -> None:
        self.failure: Exception | None = None
        """What the listener raised: told after everything is ended, and not in a group."""
        self._on_line = on_line
        self._news = asyncio.Event()
        self._lines: deque[bytes] = deque()
        self._partial = bytearray()
        self._over = False
        self._pause: Callable[[], None] = lambda: None

    @property
    def behind(self) -> bool:
        """Whether there are lines that were not handed on yet."""
        return bool(self._lines)

    def feed(self, data: bytes) -> None:
        """Take a piece of the stream."""
        first, *rest = data.split(b"\n")
        self._grow(first)
        for piece in rest:
            self._lines.append(bytes(self._partial))
            self._partial.clear()
            self._grow(piece)
        if self._lines:
            self._news.set()
        if len(self._lines) > _PAUSE_LINES:
            self._pause()

    def finish(self) -> None:
        """Take the end of the stream: what came after the last newline is a line as well."""
        if self._partial:
            self._lines.append(bytes(self._partial))
        self._over = True
        self._news.set()

    async def hand_on(self, process: ProcessGroup, stop: anyio.CancelScope) -> None:
        """Hand lines on, in order, until the end; cancels `stop` when the listener fails."""
        self._pause = process.stdout.pause_reading
        try:
            while not (self._over and not self._lines):
                while self._lines:
                    await self._on_line(self._lines.popleft())
                if not process.stdout_closed.is_set():
                    process.stdout.resume_reading()
                if not self._over:
                    self._news.clear()
                    await self._news.wait()
        except Exception as error:  # whatever it is, it is the listener's own
            self.failure = error
            stop.cancel()

    def _grow(self, data: bytes) -> None:
        self._partial += data[: LINE_BYTES - len(self._partial)]


async def follow(
    process: ProcessGroup, watch: Watch, verdict: Verdict, stdout: HeadAndTail, listener: Listener | None
) -> None:
    """Wait until the process has ended and its output is read, or there is a reason to end it. Raises what the
    listener raised."""

    async def stop_on_verdict() -> None:
        await verdict.spoken.wait()
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop_on_verdict)
        tasks.start_soon(watch.keep)
        async with anyio.create_task_group() as listening:
            if listener is not None:
                listening.start_soon(listener.hand_on, process, tasks.cancel_scope)
            await process.exited.wait()
            await _drained(process, stdout, listener)
            if listener is not None:
                listener.finish()
        tasks.cancel_scope.cancel()
    if listener is not None and listener.failure is not None:
        raise listener.failure


async def _drained(process: ProcessGroup, stdout: HeadAndTail, listener: Listener | None) -> None:
    """Wait until the output of a process that ended is read; somebody it left may hold the pipes open for ever."""
    size = -1
    while not process.pipes_closed.is_set() and (
        stdout.size != size or (listener is not None and listener.behind)
    ):
        size = stdout.size
        with anyio.move_on_after(_SILENCE_SECONDS):
            await process.pipes_closed.wait()
