"""Forked children that answer once, run under limits, and are killed with all they started."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import resource
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

_LOOK_SECONDS = 0.25
_TICK_SECONDS = 0.02
_FORKS_BETWEEN_LOOKS = 8
_EXHAUSTED = frozenset({signal.SIGPROF, signal.SIGXCPU})


class Note:
    """Memory shared with a child: which step it is at, until when that may take, and how often it forked."""

    def __init__(self) -> None:
        # Each is written in one piece: who reads meanwhile must not see half a deadline.
        memory = memoryview(mmap.mmap(-1, 32))
        self._deadline, self._step = memory[:8].cast("d"), memory[8:16].cast("q")
        self._forks, self._crowded = memory[16:24].cast("q"), memory[24:].cast("q")

    def write(self, step: int, seconds: float) -> None:
        """Say, in the child, that a step begins and how long it may take."""
        self._deadline[0] = time.monotonic() + seconds
        self._step[0] = step

    def read(self) -> tuple[float, int]:
        """Return deadline and step."""
        return self._deadline[0], self._step[0]

    @property
    def crowded(self) -> bool:
        """Whether a session ended itself because it had become too many processes."""
        return bool(self._crowded[0])

    def bound(self, session: int, most: int) -> None:
        """Have `session` end itself, in whichever of its processes, when it forks itself into more than `most`.

        Who doubles with every fork is hundreds before anybody who looks from time to time has looked twice.
        """

        def before_fork() -> None:
            self._forks[0] += 1
            if self._forks[0] % _FORKS_BETWEEN_LOOKS == 0 and _session_size(session) > most:
                self._crowded[0] = 1
                os.killpg(session, signal.SIGKILL)

        os.register_at_fork(before=before_fork)


@dataclass(eq=False)
class Child:
    """A child that runs."""

    pid: int
    pipe: int
    note: Note
    folder: str
    subject: Any
    started: float
    looked: float
    data: bytearray = field(default_factory=bytearray)
    closed: bool = False
    used: int = -1
    """Ticks of processor time when it was looked at."""
    waits: bool = False
    """It had used none since the look before, and started nobody who could have."""


@dataclass(frozen=True)
class Ending:
    """How a child ended. `answer` is None when it did not get to give one."""

    subject: Any
    answer: Any
    how: str
    """answered, timeout, processes or died"""
    step: int
    signal: int
    seconds: float


def passed(ending: Ending) -> bool:
    """Whether a child answered that no test failed."""
    return ending.answer is not None and ending.answer.get("failed", "error") is None


class Reply:
    """What a child answers with."""

    def __init__(self, note: Note, pipe: int) -> None:
        self._note = note
        self._pipe = pipe

    def give(self, work: Callable[[Note], Any]) -> NoReturn:
        """Answer what `work` returns, and end."""
        try:
            _write_all(self._pipe, json.dumps(_answer(work, self._note)).encode() + b"\n")
        finally:
            os._exit(0)


class Children:
    """As many children as there are places; each in a session and a temporary folder of its own."""

    def __init__(
        self, places: int, memory_bytes: int, processes: int, folder: str, private: Sequence[int]
    ) -> None:
        self.places = places
        self._memory_bytes = memory_bytes
        self._processes = processes
        self._folder = folder
        self._private = private
        """Descriptors that children must not have."""
        self.running: list[Child] = []
        self.cpu_seconds = 0.0
        """What the children used that have ended."""
        self._last_pid = 0
        self._started = 0

    @property
    def has_place(self) -> bool:
        """Whether another may be started. Who only waits, for a lock that nobody gives back, lends its place."""
        lent = sum(child.waits for child in self.running) if self.places > 1 else 0
        return len(self.running) - min(lent, self.places) < self.places

    def start(self, subject: Any, work: Callable[[Note], Any], seconds: float) -> None:
        """Fork a child that answers what `work` returns. `seconds` is its first deadline; it notes more."""
        reply = self.fork(subject, seconds)
        if reply is not None:
            reply.give(work)

    def fork(self, subject: Any, seconds: float) -> Reply | None:
        """Fork a child that goes on from here; it gets what it answers with, and the parent None."""
        folder = tempfile.mkdtemp(prefix="child-", dir=self._folder)
        note = Note()
        note.write(-1, seconds)
        reading, writing = os.pipe()
        pid = os.fork()
        self._started += 1
        if not pid:
            try:
                os.close(reading)
                self._become(folder)
                note.bound(os.getpid(), self._processes)
                return Reply(note, writing)
            except BaseException:  # a child must never go on as its parent
                os._exit(0)
        os.close(writing)
        os.set_blocking(reading, False)
        now = time.monotonic()
        self.running.append(Child(pid, reading, note, folder, subject, now, now))
        return None

    def _become(self, folder: str) -> None:
        """Turn into a child: own session, own temporary files, nobody's descriptors, limits."""
        os.setsid()
        for descriptor in (*self._private, *(child.pipe for child in self.running)):
            os.close(descriptor)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.close(null)
        os.environ["TMPDIR"] = folder
        tempfile.tempdir = folder
        for number in (signal.SIGPROF, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        wanted = self._memory_bytes if hard == resource.RLIM_INFINITY else min(hard, self._memory_bytes)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def wait(self, seconds: float = _TICK_SECONDS) -> Iterator[Ending]:
        """Wait a moment, no longer than until somebody says something, and yield who has ended."""
        poll = select.poll()
        by_pipe = {child.pipe: child for child in self.running if not child.closed}
        for pipe in by_pipe:
            poll.register(pipe, select.POLLIN | select.POLLHUP)
        for pipe, _ in poll.poll(seconds * 1000):
            _drain(by_pipe[pipe])
        now = time.monotonic()
        breeding = self._many_were_started()
        for child in list(self.running):
            if child.data.endswith(b"\n"):
                yield self._ended(child, "answered")
            elif _has_ended(child):
                # What it wrote last may have come after the look above.
                _drain(child)
                yield self._ended(child, "answered" if child.data.endswith(b"\n") else "died")
            elif now > child.note.read()[0]:
                yield self._ended(child, "timeout")
            elif breeding or now - child.looked > _LOOK_SECONDS:
                size = _session_size(child.pid)
                if size > self._processes:
                    yield self._ended(child, "processes")
                elif now - child.looked > _LOOK_SECONDS:
                    child.looked, used = now, _ticks_used(child.pid)
                    child.waits, child.used = size == 1 and used == child.used, used

    def _many_were_started(self) -> bool:
        """Whether others started so many processes since this was last true that one should look who they are."""
        last = _last_pid()
        if 0 <= last - self._last_pid < self._started + _FORKS_BETWEEN_LOOKS:
            return False
        self._last_pid, self._started = last, 0
        return True

    def _ended(self, child: Child, how: str) -> Ending:
        self.running.remove(child)
        _, step = child.note.read()
        # The group first: its leader, not yet reaped, keeps the number from being given to anybody else.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
        _, status, usage = os.wait4(child.pid, 0)
        self.cpu_seconds += usage.ru_utime + usage.ru_stime
        os.close(child.pipe)
        shutil.rmtree(child.folder, ignore_errors=True)
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        answer = None
        if how == "answered":
            try:
                answer = json.loads(bytes(child.data))
            except ValueError:
                how = "died"
        if how == "died" and number in _EXHAUSTED:
            how = "timeout"
        if how == "died" and child.note.crowded:
            how = "processes"
        return Ending(child.subject, answer, how, step, number, time.monotonic() - child.started)

    def end(self) -> None:
        """Kill whoever runs."""
        for child in list(self.running):
            self._ended(child, "died")


def _answer(work: Callable[[Note], Any], note: Note) -> Any:
    """Return what `work` returns. Failing tests are answers: what it raises is a fault of ours, or of pytest."""
    try:
        return work(note)
    except BaseException as error:  # told apart from a child that a mutant ended
        return {"error": f"{type(error).__name__}: {error}"}


def _drain(child: Child) -> None:
    with contextlib.suppress(BlockingIOError):
        while data := os.read(child.pipe, 1 << 20):
            child.data += data
        child.closed = True


def _has_ended(child: Child) -> bool:
    """Whether the child itself has ended; whom it started may hold its pipe open."""
    return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _last_pid() -> int:
    """Return the number that the latest process of this namespace was given; 0 where the system does not tell."""
    with contextlib.suppress(OSError, ValueError):
        descriptor = os.open("/proc/loadavg", os.O_RDONLY)
        try:
            return int(os.read(descriptor, 128).split()[-1])  # proc(5)
        finally:
            os.close(descriptor)
    return 0


def _session_size(session: int) -> int:
    """Count the processes of a session; 0 where the system does not tell."""
    count = 0
    with contextlib.suppress(OSError), os.scandir("/proc") as entries:
        for entry in entries:
            if entry.name.isdecimal():
                with contextlib.suppress(OSError, IndexError, ValueError):
                    count += _session_of(entry.path) == session
    return count


def _session_of(folder: str) -> int:
    return int(_stat(folder)[3])


def _ticks_used(pid: int) -> int:
    """Return the processor time that a process has used; 0 where the system does not tell."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        return sum(map(int, _stat(f"/proc/{pid}")[11:13]))
    return 0


def _stat(folder: str) -> list[bytes]:
    """Return what the system tells of a process, after its name, which is in parentheses: state, parent, group,
    session, ..., processor time of its own and the system's (proc(5))."""
    descriptor = os.open(f"{folder}/stat", os.O_RDONLY)
    try:
        return os.read(descriptor, 1024).rpartition(b")")[2].split()
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
