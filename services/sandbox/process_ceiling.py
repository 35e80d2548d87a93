"""A ceiling on how many processes a command may be, held by the kernel: whoever forks as fast as he can outruns a
watch, and leaves the machine no process to watch with.

Sources: Linux kernel documentation, Documentation/admin-guide/cgroup-v1/pids.rst and cgroup-v2.rst.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from secrets import token_hex

_HEADROOM = 64
"""Above the limit: for the programs that make the sandbox, and for the watch to see that it was exceeded."""

_PREFIX = "quantum-sandbox-"
_OLD_SECONDS = 3600.0
"""An empty group this old was left by a suite that was killed; a younger one may be about to be entered."""

_END_SECONDS = 5.0
_ENTER = 'echo $$ 2>/dev/null > "$1"; shift; exec "$@"'


class ProcessCeiling:
    """The ceiling of one command: a control group (`pids`), where one can be made: mostly by root, whom the
    supervisor's RLIMIT_NPROC does not bind. Elsewhere nothing is held here."""

    def __init__(self, group: Path | None) -> None:
        self._group = group

    def wrapped(self, command: Sequence[str]) -> list[str]:
        """Return a command that enters the group before it becomes `command`, under the same process id."""
        if self._group is None:
            return list(command)
        return ["/bin/sh", "-c", _ENTER, "enter", str(self._group / "cgroup.procs"), *command]

    def was_met(self) -> bool:
        """Whether a process was refused for it; where no group counts, nobody knows, and this is false."""
        if self._group is None:
            return False
        try:
            events = (self._group / "pids.events").read_text().split()
        except OSError:
            return False
        return "max" in events and events[events.index("max") + 1] != "0"


@contextlib.contextmanager
def process_ceiling(processes: int) -> Iterator[ProcessCeiling]:
    """Make the ceiling of a command of so many processes; who is left in its group is killed in the end."""
    group = _new_group(processes + _HEADROOM)
    try:
        yield ProcessCeiling(group)
    finally:
        if group is not None:
            _remove(group)


def _new_group(most: int) -> Path | None:
    for parent in _parents():
        _sweep(parent)
        group = parent / f"{_PREFIX}{token_hex(8)}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / "pids.max").write_text(str(most))
        except OSError:
            group.rmdir()
            continue
        return group
    return None


def _parents() -> Iterator[Path]:
    """Return the groups below which one that counts processes may be made, nearest first."""
    try:
        mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        own = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    except OSError:
        return
    for mount in mounts:
        kind, options = mount[mount.index("-") + 1], mount[-1].split(",")
        unified = kind == "cgroup2"
        if not unified and (kind != "cgroup" or "pids" not in options):
            continue
        top = Path(mount[4])
        for _, controllers, path in own:
            if (controllers == "") if unified else ("pids" in controllers.split(",")):
                yield from _counting(top, top / path.lstrip("/"), unified)


def _counting(top: Path, nearest: Path, unified: bool) -> Iterator[Path]:
    for group in (nearest, *nearest.parents):
        with contextlib.suppress(OSError):
            if not unified or "pids" in (group / "cgroup.subtree_control").read_text().split():
                yield group
        if group == top:
            return


def _sweep(parent: Path) -> None:
    """Remove what killed suites left; the kernel keeps groups with processes in them."""
    for group in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - group.stat().st_mtime > _OLD_SECONDS:
                group.rmdir()


def _remove(group: Path) -> None:
    """Kill who is left and remove the group; the kernel frees a group a moment after its last process."""
    deadline = time.monotonic() + _END_SECONDS
    while True:
        try:
            group.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > deadline:
                return
            _kill(group)
            time.sleep(0.002)
        else:
            return


def _kill(group: Path) -> None:
    with contextlib.suppress(OSError):
        for pid in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                os.kill(int(pid), signal.SIGKILL)
