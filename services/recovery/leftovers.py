"""Drills' folders and processes that outlived whoever held them: found by the lock and ended by the folder.

PostgreSQL's processes leave the process group of their postmaster, and one that was frozen notices nothing of its
end. All of them work in their data folder: whoever does so below a drill's folder is that drill's.
"""

import contextlib
import fcntl
import os
import signal
import stat
import time
from pathlib import Path

from quantum_suite.services.held_folder import remove_tree

PREFIX = "drill-"
_SHELLS = frozenset({"sh", "dash", "bash", "busybox"})
_GONE_SECONDS = 10.0


def sweep_drills(scratch: Path) -> int:
    """End what is left of drills whose holders are dead, and remove their folders; returns how many there were."""
    removed = 0
    if not is_private(scratch):
        return 0
    for folder in scratch.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if os.fstat(descriptor).st_uid == os.geteuid():
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    end_processes(folder)
                    remove_tree(folder)
                    removed += 1
            finally:
                os.close(descriptor)
    return removed


def is_private(scratch: Path) -> bool:
    """Whether a folder is this user's own: no link, and nobody else may put something into it."""
    try:
        found = scratch.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022


def end_processes(folder: Path) -> int:
    """Kill the servers and their shells that work below a folder, and wait for their end; returns how many."""
    ended: set[int] = set()
    deadline = time.monotonic() + _GONE_SECONDS
    while (pids := processes_in(folder)) and time.monotonic() < deadline:
        for pid in pids:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        ended.update(pids)
        time.sleep(0.005)  # in a thread; they are not our children, so that there is nothing to wait on
    return len(ended)


def processes_in(folder: Path) -> list[int]:
    """Return the ids of the servers and their shells that work below a folder. Zombies are none."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            place = Path(os.readlink(entry / "cwd"))  # noqa: PTH115 - a link to what may be gone is not resolved
            name = (entry / "comm").read_text().strip()
            if place.is_relative_to(folder) and (name.startswith("postgres") or _is_ours(entry, name, folder)):
                found.append(int(entry.name))
    return found


def _is_ours(entry: Path, name: str, folder: Path) -> bool:
    """Whether a shell or program runs for a drill: its command names the folder. A person's shell does not."""
    named = str(folder).encode() in (entry / "cmdline").read_bytes()
    return named and (name in _SHELLS or name.startswith(("pg_", "initdb", "python")))
