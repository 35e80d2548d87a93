"""The process between the suite and a command in a sandbox; started as a script, by any Python.

It is the reaper of everything below it, so that who leaves the command's group, session and parents still belongs
to it (prctl(2), PR_SET_CHILD_SUBREAPER). It counts the processes and threads below some forty times a second, or
ten where the system holds a ceiling besides. When they are too many, when the command ends, or when SIGTERM asks
for the end, it kills what is left until nothing is, then ends as the command did.

Whoever forks as fast as he can leaves little time to others: so it runs ahead of them where it may
(sched(7), SCHED_FIFO: root), and else the system itself refuses them (RLIMIT_NPROC, which does not bind root).

It imports nothing of the suite's, to start quickly, and to be read by itself.
"""

import contextlib
import ctypes
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Iterator

_PR_SET_CHILD_SUBREAPER = 36
_SHORTEST_PAUSE = 0.02
_PAUSE_BELOW_CEILING = 0.1
_LOOK_SHARE = 20
"""It looks for at most a twentieth of the time."""

_SPARE_PROCESSES = 64
"""Room for the user's other processes, which count for RLIMIT_NPROC as well."""

_HAS_PROC = os.path.exists("/proc/self/stat")  # noqa: PTH110 - pathlib costs more than the rest of this program
_LISTS_CHILDREN = os.path.exists(f"/proc/self/task/{os.getpid()}/children")  # noqa: PTH110 - as above


def _stat(pid: int) -> list[bytes]:
    """Return the fields of a process after its name (proc_pid_stat(5)): state, parent, group ..."""
    with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - as above
        return file.read().rpartition(b")")[2].split()


def _everybody() -> Iterator[tuple[int, list[bytes]]]:
    for entry in os.listdir("/proc"):  # noqa: PTH208 - as above
        if entry.isdecimal():
            with contextlib.suppress(OSError):
                yield int(entry), _stat(int(entry))


def _below() -> dict[int, list[bytes]]:
    """Return every process below this one."""
    stats = dict(_everybody()) if _HAS_PROC else {}
    found = {os.getpid()}
    while more := {pid for pid, fields in stats.items() if int(fields[1]) in found and pid not in found}:
        found |= more
    return {pid: stats[pid] for pid in found if pid in stats and pid != os.getpid()}


def _threads_below(most: int) -> int:
    """Return how many processes and threads there are below, or the first number found that is above `most`."""
    if not _LISTS_CHILDREN:
        return sum(int(fields[17]) for fields in _below().values() if fields[0] != b"Z")
    count = 0
    open_ends = [os.getpid()]
    while open_ends and count <= most:
        pid = open_ends.pop()
        with contextlib.suppress(OSError):
            fields = _stat(pid)
            if pid != os.getpid() and fields[0] != b"Z":
                count += int(fields[17])
            for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - as above
                with open(f"/proc/{pid}/task/{task}/children", "rb") as file:  # noqa: PTH123 - as above
                    open_ends += map(int, file.read().split())
    return count


def _kill_all() -> None:
    """Kill everything below, again and again: somebody may fork between looking and killing."""
    while True:
        below = _below()
        # Whole groups: a member that forks at this moment does not get away. The group of this process is its own.
        for group in {int(fields[2]) for fields in below.values()} - {os.getpgrp()}:
            with contextlib.suppress(OSError):
                os.killpg(group, signal.SIGKILL)
        for pid in below:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        except ChildProcessError:
            return
        time.sleep(0.001)


def _set_limits(processes: int, file_bytes: int, memory_bytes: int) -> None:
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: file_bytes,
        resource.RLIMIT_DATA: memory_bytes,
    }
    if os.geteuid() != 0 and _HAS_PROC:
        limits[resource.RLIMIT_NPROC] = _threads_of_user() + processes + _SPARE_PROCESSES
    for limit, value in limits.items():
        hard = resource.getrlimit(limit)[1]
        new = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (new, new))


def _threads_of_user() -> int:
    count = 0
    for pid, fields in _everybody():
        with contextlib.suppress(OSError):
            if os.stat(f"/proc/{pid}").st_uid == os.geteuid():  # noqa: PTH116 - as above
                count += int(fields[17])
    return count


def _become(command: list[str], limits: tuple[int, int, int], report: int) -> None:
    """Turn the forked child into the command; what hinders it goes to the suite."""
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        _set_limits(*limits)
        os.execvp(command[0], command)  # noqa: S606 - no shell is wanted
    except (OSError, ValueError) as error:
        os.write(report, b"hindrance " + str(error).encode())
    finally:
        os._exit(127)


class _Signals:
    """Wakes the loop when a child ends or the end is asked for."""

    def __init__(self) -> None:
        self.asked_to_end = False
        self._read, write = os.pipe()
        os.set_blocking(write, False)
        os.set_blocking(self._read, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._end)

    def _end(self, *_: object) -> None:
        self.asked_to_end = True

    def wait(self, seconds: float) -> None:
        select.select([self._read], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 4_096)


def _reap(child: int) -> int | None:
    """Reap whoever ended; returns the status of the command as waitpid gives it, once it ended."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == child:
                return status
            if pid == 0:
                break
    return None


def _supervise(child: int, processes: int, report: int, signals: _Signals) -> int | None:
    """Return the status of the command when it ends; None when it was or is to be ended."""
    shortest = _PAUSE_BELOW_CEILING if _held_by_the_system() else _SHORTEST_PAUSE
    while True:
        status = _reap(child)
        if status is not None:
            return status
        if signals.asked_to_end:
            return None
        began = time.monotonic()
        count = _threads_below(processes) if _HAS_PROC else 0
        if count > processes:
            _kill_all()
            os.write(report, b"processes %d" % count)
            return None
        signals.wait(max(shortest, _LOOK_SHARE * (time.monotonic() - began)))


def _held_by_the_system() -> bool:
    """Whether the system refuses more processes: RLIMIT_NPROC all but root, a control group of the suite's all."""
    if os.geteuid() != 0:
        return _HAS_PROC
    with contextlib.suppress(OSError), open("/proc/self/cgroup", "rb") as file:  # noqa: PTH123 - as above
        return b"/quantum-sandbox-" in file.read()
    return False


def _run_ahead() -> None:
    with contextlib.suppress(OSError, AttributeError):  # Not root, or no such thing here.
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))


def main() -> None:
    """Run `supervisor.py PROCESSES FILE_BYTES MEMORY_BYTES REPORT_FD COMMAND...`."""
    processes, file_bytes, memory_bytes, report = (int(value) for value in sys.argv[1:5])
    os.set_inheritable(report, False)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        _run_ahead()
    signals = _Signals()
    child = os.fork()
    if child == 0:
        _become(sys.argv[5:], (processes, file_bytes, memory_bytes), report)
    # Held by the command alone from here on, or a reader would wait for its end.
    for descriptor in (0, 1, 2):
        with contextlib.suppress(OSError):
            os.close(descriptor)
    status = _supervise(child, processes, report, signals)
    _kill_all()
    if status is None:
        os._exit(128 + signal.SIGKILL)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        os._exit(128 + number)
    os._exit(os.WEXITSTATUS(status))


if __name__ == "__main__":
    main()
