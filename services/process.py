"""Commands that run to their end. How processes are started and ended: see `process_group`."""

import asyncio
import subprocess
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import anyio

from quantum_suite.services.process_group import (
    DRAIN_SECONDS,
    ProcessError,
    ProcessGroup,
    ProcessNotStarted,
    ProcessOutputTooLarge,
    ProcessTimeout,
    Tail,
    minimal_environment,
    secrets_in,
)

__all__ = [
    "Completed",
    "ProcessError",
    "ProcessNotStarted",
    "ProcessOutputTooLarge",
    "ProcessTimeout",
    "minimal_environment",
    "run",
]

_PAUSE_LINES = 1_000


@dataclass(frozen=True, slots=True)
class Completed:
    """What a process that ended by itself left."""

    returncode: int
    """The exit status; negative is the number of the signal that ended it."""
    stdout: bytes
    """Everything it wrote; never cut (see `ProcessOutputTooLarge`)."""
    stderr_tail: str
    """The last lines of stderr, secrets masked."""
    truncated: bool
    """Whether stderr was longer than its tail."""
    duration_seconds: float


class _Collector:
    """Gathers a process's stdout up to a bound, and whole lines of it where somebody listens."""

    def __init__(self, max_bytes: int, keep_lines: bool) -> None:
        self.max_bytes = max_bytes
        self.chunks: list[bytes] = []
        self.size = 0
        self.overflow = False
        self.news = asyncio.Event()
        self.lines: deque[bytes] | None = deque() if keep_lines else None
        self._partial = b""
        self.pause: Callable[[], None] = lambda: None

    def feed(self, data: bytes) -> None:
        self.size += len(data)
        if self.size > self.max_bytes:
            self.overflow = True
            self.news.set()
            return
        self.chunks.append(data)
        if self.lines is not None:
            *whole, self._partial = (self._partial + data).split(b"\n")
            self.lines.extend(whole)
            self.news.set()
            if len(self.lines) > _PAUSE_LINES:
                self.pause()

    def finish(self) -> None:
        if self.lines is not None and self._partial:
            self.lines.append(self._partial)
            self._partial = b""


async def run(
    command: Sequence[str],
    *,
    cwd: str | Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    timeout_seconds: float,
    max_output_bytes: int,
    on_stdout_line: Callable[[bytes], Awaitable[None]] | None = None,
    max_stderr_lines: int = 50,
    grace_seconds: float = 2.0,
) -> Completed:
    """Run a command to its end and return what it printed. Any exit status counts as an end.

    `env` is added to `minimal_environment()`. Lines of stdout go to `on_stdout_line` in order as they come,
    without their newline; a slow listener slows the process down. When this returns or raises, no process of the
    group is left: its members get SIGTERM and, `grace_seconds` later, SIGKILL.

    Raises ProcessNotStarted, ProcessTimeout and ProcessOutputTooLarge.
    """
    started = time.monotonic()
    collector = _Collector(max_output_bytes, on_stdout_line is not None)
    stderr = Tail(max_stderr_lines, secrets_in(env))
    process = await ProcessGroup.start(
        command,
        collector.feed,
        stderr,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        grace_seconds=grace_seconds,
    )
    finished = False
    try:
        with anyio.move_on_after(timeout_seconds) as scope:
            if stdin is not None and process.stdin is not None:
                process.stdin.write(stdin)
                process.stdin.close()
            finished = await _follow(process, collector, on_stdout_line)
    finally:
        # After a regular end nobody is waited for: whoever the leader left behind is not wanted.
        await process.end(patient=False, gentle=not finished)
    printed = "\n".join(stderr.lines())
    if collector.overflow:
        raise ProcessOutputTooLarge(
            f"{process.program} wrote more than {max_output_bytes} bytes and was stopped.",
            "Ask it for less: fewer files, or a narrower question.",
            program=process.program,
            printed=printed,
        )
    if scope.cancelled_caught:
        raise ProcessTimeout(
            f"{process.program} did not finish within {timeout_seconds:g} seconds and was stopped.",
            "Give it more time, or less to do.",
            program=process.program,
            printed=printed,
        )
    return Completed(
        returncode=cast("int", process.popen.returncode),
        stdout=b"".join(collector.chunks),
        stderr_tail=printed,
        truncated=stderr.truncated,
        duration_seconds=time.monotonic() - started,
    )


async def _follow(
    process: ProcessGroup, collector: _Collector, on_line: Callable[[bytes], Awaitable[None]] | None
) -> bool:
    """Wait until the process has ended and its output is read; False when it wrote too much."""
    collector.pause = process.stdout.pause_reading

    async def ended() -> None:
        await process.exited.wait()
        # What the leader wrote is in the pipe; somebody it left behind may hold the pipe open for ever.
        with anyio.move_on_after(DRAIN_SECONDS):
            await process.pipes_closed.wait()
        collector.finish()
        done.set()
        collector.news.set()

    done = asyncio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ended)
        while not collector.overflow:
            if on_line is not None and collector.lines:
                await on_line(collector.lines.popleft())
                continue
            if done.is_set():
                break
            if not process.stdout_closed.is_set():
                process.stdout.resume_reading()
            collector.news.clear()
            await collector.news.wait()
        tasks.cancel_scope.cancel()
    return not collector.overflow
