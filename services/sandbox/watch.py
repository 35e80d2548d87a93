"""Watches what a command and everything it started use, and says when that is too much."""

import asyncio
import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

import anyio

from quantum_suite.services.sandbox import process_tree
from quantum_suite.services.sandbox.disk_use import DiskUse, FoldersTooDeep
from quantum_suite.services.sandbox.interface import EndedBy, Limits
from quantum_suite.services.sandbox.process_tree import ProcessState

TOTAL_MEMORY_FACTOR = 4
"""How many times the memory of one process all of them together may hold."""

_SCARCE_SHARE = 20
"""A machine is short of memory when less than a twentieth of it is available."""

_SHORTEST_PAUSE = 0.1
_LOOK_SHARE = 20
"""Processes are looked at for at most a twentieth of the time."""


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a command is ended."""

    by: EndedBy
    reason: str


class Verdict:
    """Told once why a command is to be ended; later reasons are consequences of the first."""

    def __init__(self) -> None:
        self.ending: Ending | None = None
        self.spoken = asyncio.Event()

    def end(self, by: EndedBy, reason: str) -> None:
        """Ask for the end."""
        if self.ending is None:
            self.ending = Ending(by, reason)
            self.spoken.set()


class Watch:
    """Looks at the processes below `root` and at the folders of a command, several times a second."""

    def __init__(self, root: int, limits: Limits, disk: DiskUse, verdict: Verdict) -> None:
        self._root = root
        self._limits = limits
        self._disk = disk
        self._verdict = verdict
        self._memory_total = _memory("MemTotal")
        self.seen: dict[int, ProcessState] = {}
        """Every process that was ever seen below the root, by its id."""

    async def keep(self) -> None:
        """Look until cancelled, or until there is a reason to end the command."""
        while self._verdict.ending is None:
            started = time.monotonic()
            ending = await anyio.to_thread.run_sync(self._look)
            if ending is not None:
                self._verdict.end(ending.by, ending.reason)
            await anyio.sleep(max(_SHORTEST_PAUSE, _LOOK_SHARE * (time.monotonic() - started)))

    def _look(self) -> Ending | None:
        try:
            added = self._disk.added()
        except FoldersTooDeep:
            return Ending("disk", "it nested folders more deeply than can be looked into")
        if added is not None and added > self._limits.file_bytes:
            return Ending("disk", f"it added {size_in_words(added)} to its folders, and may add {self._may_write}")
        if not process_tree.AVAILABLE:
            return None
        below = process_tree.descendants(self._root, process_tree.everybody())
        self.seen.update((process.pid, process) for process in below)
        return self._too_many(below) or self._too_much_memory(below) or self._too_much_unlinked(below)

    def _too_many(self, below: list[ProcessState]) -> Ending | None:
        running = sum(process.threads for process in below)
        if running > self._limits.processes:
            return Ending("processes", too_many_processes(running, self._limits.processes))
        return None

    def _too_much_unlinked(self, below: list[ProcessState]) -> Ending | None:
        unlinked = process_tree.unlinked_bytes(process.pid for process in below)
        if unlinked > self._limits.file_bytes:
            held = size_in_words(unlinked)
            return Ending("disk", f"it held {held} in files without a name, and may write {self._may_write}")
        return None

    def _too_much_memory(self, below: list[ProcessState]) -> Ending | None:
        limit = self._limits.memory_bytes
        largest = max((process.resident_bytes for process in below), default=0)
        if largest > limit:
            held = size_in_words(largest)
            return Ending("memory", f"a process of it held {held}, and may hold {size_in_words(limit)}")
        resident = sum(process.resident_bytes for process in below)
        if resident > TOTAL_MEMORY_FACTOR * limit:
            # What forked processes share was counted for each of them; only now it is worth asking exactly.
            together = sum(process_tree.proportional_bytes(process.pid) for process in below)
            if together > TOTAL_MEMORY_FACTOR * limit:
                held, most = size_in_words(together), size_in_words(TOTAL_MEMORY_FACTOR * limit)
                return Ending("memory", f"its processes held {held} together, and may hold {most}")
        available = _memory("MemAvailable")
        if available * _SCARCE_SHARE < self._memory_total and resident > available:
            return Ending("memory", f"the machine had only {size_in_words(available)} of memory left")
        return None

    @property
    def _may_write(self) -> str:
        return size_in_words(self._limits.file_bytes)


def too_many_processes(count: int, most: int) -> str:
    """Return why a command with too many processes is ended."""
    return f"it ran {count} processes and threads at once, and may run {most}"


def size_in_words(size: int) -> str:
    """Return a number of bytes in words."""
    return f"{size / 1024**2:.0f} MiB" if size >= 1024**2 else f"{size} bytes"


def _memory(name: str) -> int:
    """Return a figure of the machine's memory in bytes; 0 where it is not told."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 0
