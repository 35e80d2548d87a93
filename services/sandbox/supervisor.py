"""The process between the suite and a command that runs under limits alone; started as a script, by any Python.

It is the reaper of everything below it, so that who leaves the command's group, session and parents still belongs
to it (prctl(2), PR_SET_CHILD_SUBREAPER). When the command ends, or SIGTERM asks for its end, it kills what is
left until nothing is, then ends as the command did. It imports nothing of the suite's, to start quickly.
"""

import contextlib
import ctypes
import os
import resource
import signal
import sys
import time

_PR_SET_CHILD_SUBREAPER = 36


def _below(root: int) -> dict[int, int]:
    """Return every process below `root`, with the group it is in."""
    parents: dict[int, int] = {}
    groups: dict[int, int] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208 - pathlib costs more than the rest of this program
        if entry.isdecimal():
            with contextlib.suppress(OSError), open(f"/proc/{entry}/stat", "rb") as file:  # noqa: PTH123 - as above
                _, parent, group, *_ = file.read().rpartition(b")")[2].split()
                parents[int(entry)], groups[int(entry)] = int(parent), int(group)
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found and pid not in found}:
        found |= more
    return {pid: groups[pid] for pid in found - {root}}


def _kill_all() -> None:
    """Kill everything below, again and again: somebody may fork between looking and killing."""
    while True:
        below = _below(os.getpid()) if os.path.exists("/proc/self/stat") else {}  # noqa: PTH110 - as above
        # Whole groups: a member that forks at this moment does not get away. The group of this process is its own.
        for group in set(below.values()) - {os.getpgrp()}:
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
        time.sleep(0.002)


def _set_limits(file_bytes: int, memory_bytes: int) -> None:
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_DATA, memory_bytes),
    ):
        hard = resource.getrlimit(limit)[1]
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        resource.setrlimit(limit, (value, value))


def _become(command: list[str], file_bytes: int, memory_bytes: int, report: int) -> None:
    """Turn the forked child into the command; what hinders it goes to the suite."""
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        _set_limits(file_bytes, memory_bytes)
        os.execvp(command[0], command)  # noqa: S606 - no shell is wanted
    except OSError as error:
        os.write(report, (error.strerror or str(error)).encode())
    finally:
        os._exit(127)


def _wait_for(child: int) -> int:
    """Reap whoever ends until the command has; returns its status as waitpid gives it."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            return status


def main() -> None:
    """Run `supervisor.py FILE_BYTES MEMORY_BYTES REPORT_FD COMMAND...`."""
    file_bytes, memory_bytes, report = (int(value) for value in sys.argv[1:4])
    os.set_inheritable(report, False)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def end(*_: object) -> None:
        _kill_all()
        os._exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    child = os.fork()
    if child == 0:
        _become(sys.argv[4:], file_bytes, memory_bytes, report)
    # Held by the command alone from here on, or a reader would wait for its end.
    for descriptor in (0, 1, 2):
        with contextlib.suppress(OSError):
            os.close(descriptor)
    os.close(report)
    status = _wait_for(child)
    _kill_all()
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        os._exit(128 + number)
    os._exit(os.WEXITSTATUS(status))


if __name__ == "__main__":
    main()
