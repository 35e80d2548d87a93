"""Children that stay and speak in lines. How processes are started and ended: see `process_group`."""

import asyncio
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio

from quantum_suite.services.process_group import (
    DRAIN_SECONDS,
    ProcessError,
    ProcessGroup,
    Tail,
    secrets_in,
)


class ChildGone(ProcessError):
    """The child ended or closed its input; nothing can be written to it."""

    code = "child_gone"


class Child:
    """A long-lived process that speaks in lines; made by `open_child`."""

    def __init__(self, process: ProcessGroup, stderr: Tail) -> None:
        self._process = process
        self._stderr = stderr
        self._closing = False
        self._closed = anyio.Event()

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its process group."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit status; None while it runs."""
        return self._process.popen.returncode

    @property
    def stderr_tail(self) -> list[str]:
        """The last lines the child wrote to stderr, secrets masked."""
        return self._stderr.lines()

    @property
    def backed_up(self) -> bool:
        """Whether the child reads more slowly than it is written to; see `drain`."""
        return not self._process.input.writable.is_set()

    def write(self, data: bytes) -> None:
        """Hand `data` to the child's stdin without waiting; raises ChildGone."""
        stdin = self._process.stdin
        if self._closing or self._process.exited.is_set() or stdin is None or stdin.is_closing():
            raise ChildGone(
                f"{self._process.program} has ended.", "Start it again.", program=self._process.program
            )
        stdin.write(data)

    async def drain(self) -> None:
        """Wait until the child has read enough for more to be written, or ended."""
        await self._process.input.writable.wait()

    async def send(self, data: bytes) -> None:
        """Write, and wait while the child is behind; raises ChildGone."""
        self.write(data)
        if self.backed_up:
            await self.drain()

    async def aclose(self) -> None:
        """Close stdin, give the child time to end, then end its whole group. Idempotent, not cancellable."""
        if self._closing:
            with anyio.CancelScope(shield=True):
                await self._closed.wait()
            return
        self._closing = True
        try:
            if self._process.stdin is not None:
                self._process.stdin.close()
            await self._process.end(patient=True)
        finally:
            self._closed.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class _Lines:
    """Cuts a stream into lines of bounded length."""

    def __init__(self, on_line: Callable[[bytes], None], max_bytes: int) -> None:
        self._on_line = on_line
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []
        self._size = 0
        self.too_long = False

    def feed(self, data: bytes) -> None:
        if self.too_long:
            return
        first, *rest = data.split(b"\n")
        self._size += len(first)
        if self._size > self._max_bytes:
            self.too_long = True
            self._parts.clear()
            return
        self._parts.append(first)
        if not rest:
            return
        line = b"".join(self._parts) if len(self._parts) > 1 else first
        *whole, last = rest
        self._parts, self._size = ([last], len(last)) if last else ([], 0)
        self._on_line(line)
        for line in whole:
            self._on_line(line)
        self.too_long = self._size > self._max_bytes


class _Ending:
    """Tells once when a child can say nothing more, and why."""

    def __init__(self, lines: _Lines, on_end: Callable[[str], None]) -> None:
        self._lines = lines
        self._on_end = on_end
        self._told = False
        self.process: ProcessGroup | None = None

    def feed(self, data: bytes) -> None:
        """Take a piece of stdout."""
        self._lines.feed(data)
        if self._lines.too_long and self.process is not None:
            # Not read any further, it stands still until it is closed, instead of keeping this process busy.
            self.process.stdout.pause_reading()
            self._tell("It wrote a line longer than it may.")

    def changed(self) -> None:
        """Look whether the process ended, or closed its stdout."""
        if self.process is None:
            return
        later = asyncio.get_running_loop().call_later
        if not self.process.exited.is_set():
            # The exit status, if there is one, arrives a moment later and says more.
            later(0.05, self._tell, "It closed its output.")
            return
        code = self.process.popen.returncode or 0
        reason = f"It ended with exit status {code}." if code >= 0 else f"Signal {-code} ended it."
        if self.process.stdout_closed.is_set():
            self._tell(reason)
        else:
            later(DRAIN_SECONDS, self._tell, reason)

    def _tell(self, reason: str) -> None:
        if not self._told:
            self._told = True
            self._on_end(reason)


async def open_child(
    command: Sequence[str],
    *,
    on_line: Callable[[bytes], None],
    on_end: Callable[[str], None],
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    max_line_bytes: int = 16 * 1024 * 1024,
    max_stderr_lines: int = 200,
    grace_seconds: float = 2.0,
) -> Child:
    """Start a long-lived child; use as `async with await open_child(...)`, or call `aclose` yourself.

    `on_line` gets each line of stdout, without its newline, in order; it runs on the event loop and must be quick.
    `on_end` is called once, when the child can say nothing more, with a sentence saying why: it ended, closed its
    output, or wrote a line over `max_line_bytes` (it is not read any further). Neither may raise. The child still
    has to be closed then. `env` is added to `minimal_environment()`.

    Raises ProcessNotStarted.
    """
    stderr = Tail(max_stderr_lines, secrets_in(env))
    ending = _Ending(_Lines(on_line, max_line_bytes), on_end)
    process = await ProcessGroup.start(
        command,
        ending.feed,
        stderr,
        cwd=cwd,
        env=env,
        stdin=subprocess.PIPE,
        grace_seconds=grace_seconds,
    )
    ending.process = process
    process.on_change = ending.changed
    if process.exited.is_set() or process.stdout_closed.is_set():
        ending.changed()
    return Child(process, stderr)
