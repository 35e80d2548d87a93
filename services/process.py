"""The single place that starts subprocesses.

Every process gets a session and process group of its own, and the group is ended whole: on timeout, on
cancellation, when it prints too much, and when its leader ends and leaves others behind. No shell sees a command.
The environment is `minimal_environment()` plus what the caller adds, so secrets of the suite's own environment
never reach an engine or a server.

A killed suite (`kill -9`) cannot clean up, so each process is paired with a guard: a `/bin/sh` of about 1 MB that
waits on a pipe only the suite holds. When the pipe closes without a word, the guard ends the process group. A
parent-death signal (`PR_SET_PDEATHSIG`) would reach the leader alone, not the `node` behind an `npx`, needs code
between fork and exec, and exists on Linux only; closed stdin is honoured by well-behaved servers, not by scanners.

Protocols of asyncio are used directly: a stream reader costs more than the rest of a call to a stdio server.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import anyio

from quantum_suite.core.errors import EngineError, EngineMissing, SuiteError
from quantum_suite.core.masking import MASK, is_secret_name, mask_text

ALLOWED_ENVIRONMENT = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TMPDIR",
    "TZ",
    "XDG_CACHE_HOME",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)
"""Variables of the suite's own environment that a child sees; all others are withheld."""

STDERR_LINE_BYTES = 2_000
"""The longest piece of a stderr line that is kept."""

_DRAIN_SECONDS = 0.5
_PAUSE_LINES = 1_000
_GUARD = 'if ! read -r _; then kill -s TERM -- "-$1"; sleep 2; kill -s KILL -- "-$1"; fi 2>/dev/null'


class ProcessError(SuiteError):
    """A subprocess did not do its part. `program` names it; `printed` is the masked tail of its stderr."""

    code = "process_error"

    def __init__(self, message: str, hint: str | None = None, *, program: str, printed: str = "") -> None:
        super().__init__(message, hint)
        self.program = program
        self.printed = printed

    def as_engine_error(self, engine: str) -> EngineError:
        """Return this as the error of the engine the process was started for."""
        return EngineError(f"{engine}: {self.message}", self.hint, engine=engine, printed=self.printed)


class ProcessNotStarted(ProcessError):
    """The program is missing, may not be run, or its working directory does not exist."""

    code = "process_not_started"

    def as_engine_error(self, engine: str) -> EngineError:
        """Return `EngineMissing`: for an engine, a program that cannot be started is one to install."""
        return EngineMissing(f"{engine}: {self.message}", self.hint, engine=engine)


class ProcessTimeout(ProcessError):
    """The process took longer than it may; its group was ended."""

    code = "process_timeout"


class ProcessOutputTooLarge(ProcessError):
    """The process wrote more to stdout than it may; its group was ended."""

    code = "process_output_too_large"


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


def minimal_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment a child gets: the allowed variables, overlaid by `extra`."""
    environment = {name: os.environ[name] for name in ALLOWED_ENVIRONMENT if name in os.environ}
    environment.setdefault("PATH", os.defpath)
    environment.update(extra or {})
    return environment


class _Tail:
    """The last lines of a stream, cut to a bounded length; masked when read, so that a secret that spans lines
    (a private key) is recognised. Values the caller passed under telling names are masked wherever they show."""

    def __init__(self, max_lines: int, secrets: Sequence[str] = ()) -> None:
        self._lines: deque[bytes] = deque(maxlen=max_lines)
        self._partial = b""
        self._secrets = secrets
        self.truncated = False

    def feed(self, data: bytes) -> None:
        *whole, self._partial = (self._partial + data).split(b"\n")
        self.truncated |= len(self._lines) + len(whole) > (self._lines.maxlen or 0)
        self._lines.extend(line[:STDERR_LINE_BYTES] for line in whole)
        if len(self._partial) > STDERR_LINE_BYTES:
            self._partial = self._partial[:STDERR_LINE_BYTES]
            self.truncated = True

    def lines(self) -> list[str]:
        kept = [*self._lines, self._partial] if self._partial else list(self._lines)
        text = b"\n".join(kept).decode("utf-8", "replace")
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return mask_text(text).splitlines()


def _secrets_in(extra: Mapping[str, str] | None) -> list[str]:
    return [value for name, value in (extra or {}).items() if len(value) >= 6 and is_secret_name(name)]


class _Pipes(asyncio.SubprocessProtocol):
    """Hands on what a process writes, and tells when it ended and when its pipes closed."""

    def __init__(self, on_stdout: Callable[[bytes], None], stderr: _Tail) -> None:
        self._on_stdout = on_stdout
        self._stderr = stderr
        self.exited = asyncio.Event()
        self.stdout_closed = asyncio.Event()
        self.pipes_closed = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()
        self._open = {1, 2}

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 1:
            self._on_stdout(data)
        else:
            self._stderr.feed(data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._open.discard(fd)
        if fd == 0:
            self.writable.set()
        if fd == 1:
            self.stdout_closed.set()
        if not self._open:
            self.pipes_closed.set()

    def process_exited(self) -> None:
        self.exited.set()
        self.writable.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()


class _Process:
    """A started process, its group, and its guard."""

    def __init__(self, transport: asyncio.SubprocessTransport, pipes: _Pipes, program: str) -> None:
        self.transport = transport
        self.pipes = pipes
        self.program = program
        self.pid = transport.get_pid()
        self._guard: asyncio.subprocess.Process | None = None

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        pipes: _Pipes,
        *,
        cwd: str | Path | None,
        env: Mapping[str, str] | None,
        stdin: int,
    ) -> Self:
        program = Path(command[0]).name if command else ""
        if not command:
            raise ProcessNotStarted("The command is empty.", "Name a program to start.", program=program)
        # A spawn cannot be undone half-way, and takes milliseconds.
        with anyio.CancelScope(shield=True):
            try:
                transport, _ = await asyncio.get_running_loop().subprocess_exec(
                    lambda: pipes,
                    *command,
                    stdin=stdin,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                    cwd=cwd,
                    env=minimal_environment(env),
                    start_new_session=True,
                )
            except (OSError, ValueError) as error:
                raise _not_started(command, cwd, error) from error
            process = cls(transport, pipes, program)
            await process._start_guard()
        return process

    async def _start_guard(self) -> None:
        with contextlib.suppress(OSError):
            self._guard = await asyncio.create_subprocess_exec(
                "/bin/sh",
                "-c",
                _GUARD,
                "guard",
                str(self.pid),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
                env={"PATH": os.defpath},
            )

    def signal_group(self, number: int) -> bool:
        """Send a signal to the whole group; returns whether anybody is left in it."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return False
        except PermissionError:
            # macOS says so of a group of zombies; elsewhere a member changed its user and is out of reach.
            return not self.pipes.exited.is_set()
        return True

    async def end(self, grace_seconds: float, *, patient: bool) -> None:
        """End the group whole; `patient` gives the leader `grace_seconds` before the first signal.

        Not cancellable, and takes at most some three times `grace_seconds`.
        """
        with anyio.CancelScope(shield=True):
            if patient:
                await self._wait_exit(grace_seconds)
            if self.signal_group(signal.SIGTERM) and not await self._group_gone(grace_seconds):
                self.signal_group(signal.SIGKILL)
                await self._group_gone(grace_seconds)
            await self._wait_exit(grace_seconds)
            # Its last words are in the pipes; only somebody who left the group could still hold them open.
            with anyio.move_on_after(_DRAIN_SECONDS):
                await self.pipes.pipes_closed.wait()
            self.transport.close()
            await self._dismiss_guard()

    async def _wait_exit(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await self.pipes.exited.wait()

    async def _group_gone(self, seconds: float) -> bool:
        """Wait until no member is left. Members other than the leader are not our children: there is no event."""
        deadline = time.monotonic() + seconds
        await self._wait_exit(seconds)
        pause = 0.002
        while self.signal_group(0) and _anybody_runs(self.pid):
            if time.monotonic() > deadline:
                return False
            await anyio.sleep(pause)
            pause = min(pause * 2, 0.05)
        return True

    async def _dismiss_guard(self) -> None:
        guard, self._guard = self._guard, None
        if guard is None or guard.stdin is None:
            return
        with contextlib.suppress(OSError):
            guard.stdin.write(b"\n")
            guard.stdin.close()
        with anyio.move_on_after(2) as scope:
            await guard.wait()
        if scope.cancelled_caught:
            with contextlib.suppress(ProcessLookupError):
                guard.kill()
            await guard.wait()


def _anybody_runs(group: int) -> bool:
    """Whether a process group has a member that is not a zombie.

    Orphans are reaped by process 1, which in many containers reaps nobody: they would seem to live for ever.
    """
    processes = Path("/proc")
    if not Path("/proc/self/stat").exists():
        return True  # No way to tell apart.
    for entry in processes.iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                # After the name, which is in parentheses and may hold anything: state, parent, group (proc(5)).
                state, _, member_of, *_ = (entry / "stat").read_bytes().rpartition(b")")[2].split()
                if int(member_of) == group and state not in b"ZX":
                    return True
    return False


def _not_started(command: Sequence[str], cwd: str | Path | None, error: Exception) -> ProcessNotStarted:
    program = Path(command[0]).name
    if cwd is not None and not Path(cwd).is_dir():
        message, hint = f"The working directory {cwd} does not exist.", "Name an existing directory."
    elif isinstance(error, FileNotFoundError):
        message, hint = f"{command[0]} was not found.", f"Install {program}, or give its full path."
    elif isinstance(error, PermissionError):
        message, hint = f"{command[0]} may not be run.", "Check that it is a program and is executable."
    else:
        message, hint = f"{command[0]} could not be started: {error}.", "Check the command and its arguments."
    return ProcessNotStarted(message, hint, program=program)


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
    stderr = _Tail(max_stderr_lines, _secrets_in(env))
    pipes = _Pipes(collector.feed, stderr)
    source = asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE
    process = await _Process.start(command, pipes, cwd=cwd, env=env, stdin=source)
    finished = False
    try:
        with anyio.move_on_after(timeout_seconds) as scope:
            if stdin is not None:
                writer = cast("asyncio.WriteTransport", process.transport.get_pipe_transport(0))
                writer.write(stdin)
                writer.close()
            finished = await _follow(process, collector, on_stdout_line)
    finally:
        # After a regular end nobody is waited for: whoever the leader left behind is not wanted.
        await process.end(0.0 if finished else grace_seconds, patient=False)
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
        returncode=cast("int", process.transport.get_returncode()),
        stdout=b"".join(collector.chunks),
        stderr_tail=printed,
        truncated=stderr.truncated,
        duration_seconds=time.monotonic() - started,
    )


async def _follow(
    process: _Process, collector: _Collector, on_line: Callable[[bytes], Awaitable[None]] | None
) -> bool:
    """Wait until the process has ended and its output is read; False when it wrote too much."""
    pipes = process.pipes
    reader = cast("asyncio.ReadTransport", process.transport.get_pipe_transport(1))
    collector.pause = reader.pause_reading

    async def ended() -> None:
        await pipes.exited.wait()
        # What the leader wrote is in the pipe; somebody it left behind may hold the pipe open for ever.
        with anyio.move_on_after(_DRAIN_SECONDS):
            await pipes.pipes_closed.wait()
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
            if not pipes.stdout_closed.is_set():
                reader.resume_reading()
            collector.news.clear()
            await collector.news.wait()
        tasks.cancel_scope.cancel()
    return not collector.overflow


class ChildGone(ProcessError):
    """The child ended or closed its input; nothing can be written to it."""

    code = "child_gone"


class Child:
    """A long-lived process that speaks in lines; made by `open_child`."""

    def __init__(self, process: _Process, stderr: _Tail, grace_seconds: float) -> None:
        self._process = process
        self._stderr = stderr
        self._grace_seconds = grace_seconds
        self._closing = False
        self._closed = anyio.Event()
        self._stdin = cast("asyncio.WriteTransport", process.transport.get_pipe_transport(0))

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its process group."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit status; None while it runs."""
        return self._process.transport.get_returncode()

    @property
    def stderr_tail(self) -> list[str]:
        """The last lines the child wrote to stderr, secrets masked."""
        return self._stderr.lines()

    @property
    def backed_up(self) -> bool:
        """Whether the child reads more slowly than it is written to; see `drain`."""
        return not self._process.pipes.writable.is_set()

    def write(self, data: bytes) -> None:
        """Hand `data` to the child's stdin without waiting; raises ChildGone."""
        if self._closing or self._process.pipes.exited.is_set() or self._stdin.is_closing():
            raise ChildGone(
                f"{self._process.program} has ended.", "Start it again.", program=self._process.program
            )
        self._stdin.write(data)

    async def drain(self) -> None:
        """Wait until the child has read enough for more to be written, or ended."""
        await self._process.pipes.writable.wait()

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
            self._stdin.close()
            await self._process.end(self._grace_seconds, patient=True)
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


class _ChildPipes(_Pipes):
    """Tells once when a child can say nothing more, and why."""

    def __init__(self, lines: _Lines, stderr: _Tail, on_end: Callable[[str], None]) -> None:
        super().__init__(self._stdout, stderr)
        self._lines = lines
        self._on_end = on_end
        self._told = False
        self.transport: asyncio.SubprocessTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.SubprocessTransport", transport)

    def _stdout(self, data: bytes) -> None:
        self._lines.feed(data)
        if self._lines.too_long and self.transport is not None:
            # Not read any further, it stands still until it is closed, instead of keeping this process busy.
            cast("asyncio.ReadTransport", self.transport.get_pipe_transport(1)).pause_reading()
            self._tell("It wrote a line longer than it may.")

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        super().pipe_connection_lost(fd, exc)
        if fd == 1:
            # The exit status, if there is one, arrives a moment later and says more.
            asyncio.get_running_loop().call_later(0.05, self._tell, "It closed its output.")

    def process_exited(self) -> None:
        super().process_exited()
        code = self.transport.get_returncode() if self.transport is not None else None
        reason = f"It ended with exit status {code}." if (code or 0) >= 0 else f"Signal {-(code or 0)} ended it."
        if self.stdout_closed.is_set():
            self._tell(reason)
        else:
            asyncio.get_running_loop().call_later(_DRAIN_SECONDS, self._tell, reason)

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
    stderr = _Tail(max_stderr_lines, _secrets_in(env))
    pipes = _ChildPipes(_Lines(on_line, max_line_bytes), stderr, on_end)
    process = await _Process.start(command, pipes, cwd=cwd, env=env, stdin=asyncio.subprocess.PIPE)
    return Child(process, stderr, grace_seconds)
