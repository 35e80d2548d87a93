"""What a process and everything it started hold: read from /proc, where there is one."""

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
AVAILABLE = Path("/proc/self/stat").exists()
"""Whether processes can be looked at: on Linux."""


@dataclass(frozen=True, slots=True)
class ProcessState:
    """One process at the moment of looking."""

    pid: int
    parent: int
    group: int
    threads: int
    resident_bytes: int
    started: int
    """Clock ticks since boot: with the pid, a name that is not used twice."""
    zombie: bool


def look(pid: int) -> ProcessState | None:
    """Return what is known of a process; None when there is none."""
    try:
        content = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    # After the name, which is in parentheses and may hold anything (proc_pid_stat(5)).
    fields = content.rpartition(b")")[2].split()
    return ProcessState(
        pid=pid,
        parent=int(fields[1]),
        group=int(fields[2]),
        threads=int(fields[17]),
        resident_bytes=int(fields[21]) * _PAGE_BYTES,
        started=int(fields[19]),
        zombie=fields[0] in (b"Z", b"X"),
    )


def everybody() -> list[ProcessState]:
    """Return every process that is visible from here."""
    pids = (int(entry) for entry in os.listdir(_PROC) if entry.isdecimal())  # noqa: PTH208 - half the time
    return [state for pid in pids if (state := look(pid)) is not None]


def descendants(root: int, processes: Iterable[ProcessState]) -> list[ProcessState]:
    """Return the living processes that `root` started, directly or not; without `root`, and without zombies."""
    children: dict[int, list[ProcessState]] = {}
    for process in processes:
        children.setdefault(process.parent, []).append(process)
    found: list[ProcessState] = []
    open_ends = [root]
    seen = {root}
    while open_ends:
        for child in children.get(open_ends.pop(), ()):
            if child.pid not in seen:
                seen.add(child.pid)
                open_ends.append(child.pid)
                found.append(child)
    return [process for process in found if not process.zombie]


def proportional_bytes(pid: int) -> int:
    """Return the memory a process holds, each shared page divided among those who share it; 0 if unknown."""
    with contextlib.suppress(OSError, ValueError):
        for line in (_PROC / str(pid) / "smaps_rollup").read_bytes().splitlines():
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def marked(variable: bytes) -> list[ProcessState]:
    """Return the living processes that were started with `NAME=value` in their environment."""
    found = []
    for process in everybody():
        with contextlib.suppress(OSError):
            if not process.zombie and variable in (_PROC / str(process.pid) / "environ").read_bytes().split(b"\0"):
                found.append(process)
    return found


def unlinked_bytes(pids: Iterable[int]) -> int:
    """Return the size of the files that processes hold open though no folder lists them any more."""
    files: dict[tuple[int, int], int] = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            for entry in (_PROC / str(pid) / "fd").iterdir():
                with contextlib.suppress(OSError):
                    status = entry.stat()
                    if status.st_nlink == 0:
                        files[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(files.values())
