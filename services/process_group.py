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
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, Self

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

DRAIN_SECONDS = 0.5
"""How long the pipes of a process that ended are read, where somebody else holds them open."""

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


def minimal_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment a child gets: the allowed variables, overlaid by `extra`."""
    environment = {name: os.environ[name] for name in ALLOWED_ENVIRONMENT if name in os.environ}
    environment.setdefault("PATH", os.defpath)
    environment.update(extra or {})
    return environment


class TakesBytes(Protocol):
    """Whatever a stream is fed into, piece by piece. It runs on the event loop and must be quick."""

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        ...


class Tail:
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


def secrets_in(extra: Mapping[str, str] | None) -> list[str]:
    """Return the values of variables whose names tell of a secret, to be masked wherever a child prints them."""
    return [value for name, value in (extra or {}).items() if len(value) >= 6 and is_secret_name(name)]


class _Output(asyncio.Protocol):
    """Hands on what comes out of a pipe, and tells when it closed."""

    def __init__(self, on_data: Callable[[bytes], None], on_closed: Callable[[], None]) -> None:
        self._on_data = on_data
        self._on_closed = on_closed

    def data_received(self, data: bytes) -> None:
        self._on_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_closed()


class _Input(asyncio.BaseProtocol):
    """Knows whether a pipe takes more."""

    def __init__(self) -> None:
        self.writable = asyncio.Event()
        self.writable.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.writable.set()


class ProcessGroup:
    """A started process, its pipes, its group, and its guard.

    Started by `subprocess.Popen` rather than by the event loop, so that a child has pipes under any loop (uvloop
    hands out sockets, which `/dev/stdout` cannot open), and no copies of its own ends.
    """

    def __init__(self, popen: "subprocess.Popen[bytes]", program: str, grace_seconds: float) -> None:
        self.popen = popen
        self.program = program
        self.pid = popen.pid
        self.grace_seconds = grace_seconds
        self.exited = asyncio.Event()
        self.stdout_closed = asyncio.Event()
        self.pipes_closed = asyncio.Event()
        self.input = _Input()
        self.stdin: asyncio.WriteTransport | None = None
        self.stdout: asyncio.ReadTransport
        self._open_pipes = 2
        self.on_change: Callable[[], None] = lambda: None
        """Called when the process ended, and when its stdout closed."""
        self._stderr: asyncio.ReadTransport
        self._guard: _Guard | None = None

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        on_stdout: Callable[[bytes], None],
        stderr: TakesBytes,
        *,
        cwd: str | Path | None,
        env: Mapping[str, str] | None,
        stdin: int,
        grace_seconds: float,
        whole_env: bool = False,
        pass_fds: Sequence[int] = (),
    ) -> Self:
        """Start a command. `env` is added to `minimal_environment()`, or is all of it with `whole_env`; `pass_fds`
        stay open in the child under their numbers, and are the caller's to close here."""
        if not command:
            raise ProcessNotStarted("The command is empty.", "Name a program to start.", program="")
        environment = dict(env or {}) if whole_env else minimal_environment(env)
        popen = _spawn(command, stdin=stdin, cwd=cwd, env=environment, pass_fds=pass_fds)
        process = cls(popen, Path(command[0]).name, grace_seconds)
        # What is started is owned from here on: connecting its pipes takes no time worth interrupting.
        with anyio.CancelScope(shield=True):
            _watch_exit(popen, process._ended)
            process._guard = _Guard.over(popen.pid)
            try:
                await process._connect(on_stdout, stderr)
            except OSError as error:
                process.signal_group(signal.SIGKILL)
                if process._guard is not None:
                    await process._guard.dismiss()
                raise _not_started(command, cwd, error) from error
        return process

    async def _connect(self, on_stdout: Callable[[bytes], None], stderr: TakesBytes) -> None:
        loop = asyncio.get_running_loop()
        self.stdout, _ = await loop.connect_read_pipe(
            lambda: _Output(on_stdout, self._stdout_ended), self.popen.stdout
        )
        self._stderr, _ = await loop.connect_read_pipe(
            lambda: _Output(stderr.feed, self._pipe_ended), self.popen.stderr
        )
        if self.popen.stdin is not None:
            self.stdin, _ = await loop.connect_write_pipe(lambda: self.input, self.popen.stdin)

    def _stdout_ended(self) -> None:
        self.stdout_closed.set()
        self._pipe_ended()
        self.on_change()

    def _pipe_ended(self) -> None:
        self._open_pipes -= 1
        if not self._open_pipes:
            self.pipes_closed.set()

    def _ended(self) -> None:
        self.exited.set()
        self.input.writable.set()
        self.on_change()

    def signal_group(self, number: int) -> bool:
        """Send a signal to the whole group; returns whether anybody is left in it."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return False
        except PermissionError:
            # macOS says so of a group of zombies; elsewhere a member changed its user and is out of reach.
            return not self.exited.is_set()
        return True

    async def end(self, *, patient: bool, gentle: bool = True) -> None:
        """End the group whole. `patient` gives the leader time before the first signal, `gentle` the group time
        before it is killed: `grace_seconds` each.

        Not cancellable, and takes at most some three times `grace_seconds`.
        """
        grace = self.grace_seconds if gentle else 0.0
        with anyio.CancelScope(shield=True):
            if patient:
                await self._wait_exit(grace)
            if self.signal_group(signal.SIGTERM) and not await self._group_gone(grace):
                self.signal_group(signal.SIGKILL)
                await self._group_gone(grace)
            await self._wait_exit(self.grace_seconds)
            # Its last words are in the pipes; only somebody who left the group could still hold them open.
            with anyio.move_on_after(DRAIN_SECONDS):
                await self.pipes_closed.wait()
            for pipe in (self.stdin, self.stdout, self._stderr):
                if pipe is not None:
                    pipe.close()
            if self._guard is not None:
                await self._guard.dismiss()

    async def _wait_exit(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await self.exited.wait()

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


def _spawn(
    command: Sequence[str],
    *,
    stdin: int,
    cwd: str | Path | None,
    env: Mapping[str, str],
    pass_fds: Sequence[int] = (),
) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(  # noqa: S603 - no shell; what is run is the caller's to decide
            command,
            bufsize=0,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env=env,
            start_new_session=True,
            pass_fds=pass_fds,
        )
    except (OSError, ValueError) as error:
        raise _not_started(command, cwd, error) from error


def _watch_exit(popen: "subprocess.Popen[bytes]", on_exit: Callable[[], None]) -> None:
    """Reap a process when it ends and call `on_exit` then: by a pidfd where there are any, else by a thread."""
    loop = asyncio.get_running_loop()
    try:
        descriptor = os.pidfd_open(popen.pid)
    except (AttributeError, OSError):

        def wait() -> None:
            popen.wait()
            with contextlib.suppress(RuntimeError):  # The loop is closed, and nobody left to tell.
                loop.call_soon_threadsafe(on_exit)

        threading.Thread(target=wait, name=f"wait for {popen.pid}", daemon=True).start()
        return

    def ended() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        popen.wait()
        on_exit()

    loop.add_reader(descriptor, ended)


class _Guard:
    """Ends a process group when this process is gone without having dismissed it."""

    def __init__(self, popen: "subprocess.Popen[bytes]") -> None:
        self._popen = popen
        self._exited = asyncio.Event()
        _watch_exit(popen, self._exited.set)

    @classmethod
    def over(cls, group: int) -> "_Guard | None":
        """Start a guard; None where there is no shell to be one."""
        try:
            popen = subprocess.Popen(  # noqa: S603 - a fixed program; the group is a number
                ["/bin/sh", "-c", _GUARD, "guard", str(group)],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"PATH": os.defpath},
                start_new_session=True,
            )
        except OSError:
            return None
        return cls(popen)

    async def dismiss(self) -> None:
        """Tell the guard that all went well, and wait for its end."""
        with contextlib.suppress(OSError):
            if self._popen.stdin is not None:
                self._popen.stdin.write(b"\n")
                self._popen.stdin.close()
        with anyio.move_on_after(2) as scope:
            await self._exited.wait()
        if scope.cancelled_caught:
            self._popen.kill()


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
