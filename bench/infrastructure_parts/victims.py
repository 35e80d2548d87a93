"""The processes of a run, and the end of one of them."""

import os
import random
import signal
from contextlib import suppress
from pathlib import Path

MARKS = {"engine": "embedded.worker", "provider": "pulumi.dynamic", "program": "run_program.py"}
"""What each of them has in its command line."""

_WEIGHTS = {"engine": 2, "provider": 3, "program": 3}
"""The engine is there all the time, the others for a part of it."""


def kill_one(chance: random.Random) -> str | None:
    """Send SIGKILL to one of this process's descendants that are engine, provider or program.

    Returns which; None where none of them lives.
    """
    living = _living()
    if not living:
        return None
    name = chance.choices(list(living), [_WEIGHTS[name] for name in living])[0]
    try:
        os.kill(living[name], signal.SIGKILL)
    except ProcessLookupError:
        return None
    return name


def _living() -> dict[str, int]:
    """Return the newest process of each kind. One that has ended has no command line any more."""
    parents: dict[int, int] = {}
    found: dict[str, list[int]] = {name: [] for name in MARKS}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                _, parent, *_ = (entry / "stat").read_bytes().rpartition(b")")[2].split()
                parents[int(entry.name)] = int(parent)
                line = (entry / "cmdline").read_bytes().decode("utf-8", "replace")
                # The sandbox's own processes carry the command as well, after a `--`.
                if "\0--\0" not in line and "supervisor" not in line:
                    for name, mark in MARKS.items():
                        if mark in line:
                            found[name].append(int(entry.name))
    ours = {name: [pid for pid in pids if _descends(pid, parents)] for name, pids in found.items()}
    return {name: max(pids) for name, pids in ours.items() if pids}


def _descends(pid: int, parents: dict[int, int]) -> bool:
    while pid in parents:
        pid = parents[pid]
        if pid == os.getpid():
            return True
    return False
