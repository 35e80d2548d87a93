"""How much a command has added to the folders it may write to."""

import contextlib
import errno
import os
import time
from collections.abc import Sequence
from pathlib import Path

_WALK_SHARE = 20
"""Folders are walked at most a twentieth of the time, unless the disk fills."""


class FoldersTooDeep(Exception):
    """Folders are nested more deeply than they can be named: nobody knows what is in them."""


def used_bytes(folders: Sequence[Path]) -> int:
    """Return what the files below folders take on disk; each file once, links not followed. Raises
    FoldersTooDeep."""
    total = 0
    seen: set[tuple[int, int]] = set()
    open_ends = [str(folder) for folder in folders]
    while open_ends:
        try:
            with os.scandir(open_ends.pop()) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError, PermissionError):
                        status = entry.stat(follow_symlinks=False)
                        if entry.is_dir(follow_symlinks=False):
                            open_ends.append(entry.path)
                        elif status.st_nlink > 1:
                            if (status.st_dev, status.st_ino) in seen:
                                continue
                            seen.add((status.st_dev, status.st_ino))
                        total += status.st_blocks * 512
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise FoldersTooDeep from error
    return total


class DiskUse:
    """Says when folders have grown by more than they may.

    Walking a large folder takes long, so it is walked rarely, but at once when the file system itself has lost a
    good part of what may be added, whoever took it.
    """

    def __init__(self, folders: Sequence[Path], max_added_bytes: int) -> None:
        self._folders = folders
        self._max = max_added_bytes
        self._cost_seconds = 0.0
        self._walked_at = 0.0
        self._free = 0
        self._before = self._walk()

    def added(self) -> int | None:
        """Return how many bytes were added; None when it was not worth looking. Raises FoldersTooDeep."""
        waited = time.monotonic() - self._walked_at
        if waited < self._cost_seconds * _WALK_SHARE and self._free - self._free_now() < self._max // 4:
            return None
        return self._walk() - self._before

    def _walk(self) -> int:
        self._free = self._free_now()
        self._walked_at = time.monotonic()
        used = used_bytes(self._folders)
        self._cost_seconds = time.monotonic() - self._walked_at
        return used

    def _free_now(self) -> int:
        free: dict[int, int] = {}
        for folder in self._folders:
            with contextlib.suppress(OSError):
                status = os.statvfs(folder)
                free[folder.stat().st_dev] = status.f_bavail * status.f_frsize
        return sum(free.values())
