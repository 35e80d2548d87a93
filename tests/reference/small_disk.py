"""A directory of processes of a test's own that can be made full, and be given room again."""

import os
import resource
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

_MOUNT = 'mount -t tmpfs -o mode=0700,size="$1" tmpfs "$2" && shift 2 && exec "$@"'
_PIECE = b"x" * 65536


class SmallDisk(Protocol):
    """Room for what the processes behind `prefix` keep in a directory."""

    prefix: Sequence[str]
    """What to put before the command of the process that all others come from."""

    def root(self, pid: int) -> Path:
        """Return where such a process's `/` is for everybody else."""
        ...

    def fill(self, pids: Sequence[int]) -> None:
        """Leave no room."""
        ...

    def limit(self, pids: Sequence[int]) -> None:
        """Leave no room to processes that have started since."""
        ...

    def free(self, pids: Sequence[int]) -> None:
        """Give room again."""
        ...


def small_disk(directory: Path, mebibytes: int) -> SmallDisk:
    """Return a file system of that size where the kernel lets us mount one, else a limit on how long files get."""
    mounted = Mounted(directory, mebibytes)
    return mounted if mounted.works() else Limited()


class Mounted:
    """A file system in memory, in a mount namespace of the processes' own: a full disk as it is."""

    def __init__(self, directory: Path, mebibytes: int) -> None:
        directory.mkdir(mode=0o700)
        as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
        self.prefix = ("unshare", "--mount", *as_root, "sh", "-c", _MOUNT, "sh", f"{mebibytes}m", str(directory))
        self._directory = directory

    def works(self) -> bool:
        """Whether it can be had here."""
        try:
            return subprocess.run([*self.prefix, "true"], capture_output=True, check=False).returncode == 0
        except FileNotFoundError:
            return False

    def root(self, pid: int) -> Path:
        return Path(f"/proc/{pid}/root")

    def fill(self, pids: Sequence[int]) -> None:
        with self._ballast(pids).open("ab", buffering=0) as ballast, suppress(OSError):
            while True:
                # To the last byte: a write that finds room for a part of it takes that.
                ballast.write(_PIECE)

    def limit(self, pids: Sequence[int]) -> None:
        return None  # it is as full for them

    def free(self, pids: Sequence[int]) -> None:
        self._ballast(pids).unlink()

    def _ballast(self, pids: Sequence[int]) -> Path:
        return self.root(pids[0]) / (self._directory / "ballast").relative_to("/")


class Limited:
    """Files that must not get longer than they are: what the kernel says then is another word for a full disk."""

    prefix: Sequence[str] = ()

    def root(self, pid: int) -> Path:
        return Path("/")

    def fill(self, pids: Sequence[int]) -> None:
        self._limit(pids, 0)

    def limit(self, pids: Sequence[int]) -> None:
        self.fill(pids)

    def free(self, pids: Sequence[int]) -> None:
        self._limit(pids, resource.RLIM_INFINITY)

    def _limit(self, pids: Sequence[int], most: int) -> None:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)  # raises for one that has ended
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
