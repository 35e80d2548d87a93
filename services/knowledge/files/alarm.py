"""Whether anything was written below a folder since it was last looked at, where the system can tell.

Linux notes what is done in a directory for whoever asked before (inotify(7)), at the moment it is done: with
nothing noted, files need not be asked for their stamps. It does not see everything: what is written through a
memory map or another name of the file (a hard link), and on a shared file system what other machines do. So an
alarm is believed for a short while only, and on file systems of this machine alone.
"""

import errno
import os
import re
import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inotify_simple import INotify

MAX_DIRECTORIES = 4_096
"""A user may have 8,192 watched on some systems, all programs together."""
_LOCAL = frozenset({"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"})
_MOUNTS = Path("/proc/self/mountinfo")
_OCTAL = re.compile(rb"\\([0-7]{3})")


class Alarm:
    """Rings when something was done in one of its directories. Use it from one thread at a time; close it."""

    def __init__(self, root: Path, notes: "INotify") -> None:
        self._root = root
        self._notes = notes
        self._paths: set[str] = set()
        self._works = True

    def rang(self) -> bool:
        """Return whether anything was done since this was asked last, or may have been. Never waits."""
        from inotify_simple import flags

        if not self._works:
            return True
        noted = list(self._notes.read(timeout=0))
        ends = flags.IGNORED | flags.UNMOUNT | flags.MOVE_SELF | flags.Q_OVERFLOW
        self._works = not any(note.mask & ends for note in noted)
        return bool(noted)

    def watch(self, paths: Collection[str]) -> bool:
        """Watch these directories, too; other paths are passed over. False where that cannot be: set another.

        Blocks: some microseconds for each. What was done before is not noted.
        """
        from inotify_simple import flags

        wanted = flags.MODIFY | flags.ATTRIB | flags.CREATE | flags.DELETE | flags.MOVED_FROM | flags.MOVED_TO
        wanted |= flags.DELETE_SELF | flags.MOVE_SELF | flags.ONLYDIR | flags.DONT_FOLLOW
        fresh = [path for path in paths if path not in self._paths]
        if not self._works or len(self._paths) + len(fresh) > MAX_DIRECTORIES:
            return False
        for path in fresh:
            try:
                self._notes.add_watch(self._root / path, wanted)
            except (OSError, ValueError) as error:
                if getattr(error, "errno", None) != errno.ENOTDIR:
                    return False
            self._paths.add(path)
        return True

    def close(self) -> None:
        """Have nothing noted any more. Idempotent."""
        self._notes.close()


def set_alarm(root: Path, paths: Collection[str]) -> Alarm | None:
    """Return an alarm for directories below `root`, as `Alarm.watch`; None where none can be had."""
    if not sys.platform.startswith("linux") or not _is_local(root):
        return None
    from inotify_simple import INotify

    try:
        alarm = Alarm(root, INotify(nonblocking=True))
    except OSError:
        return None  # This user has too many already.
    if alarm.watch(paths):
        return alarm
    alarm.close()
    return None


def _is_local(root: Path) -> bool:
    """Whether all that can lie below a folder is written by this machine alone."""
    try:
        place = os.path.realpath(root).encode("utf-8", "surrogateescape") + b"/"
        mounts = [line.split() for line in _MOUNTS.read_bytes().splitlines()]
    except OSError:
        return False
    kinds = {_plain(fields[4]).rstrip(b"/") + b"/": fields[fields.index(b"-") + 1].decode() for fields in mounts}
    around = max((point for point in kinds if place.startswith(point)), key=len, default=b"")
    return all(kind in _LOCAL for point, kind in kinds.items() if point == around or point.startswith(place))


def _plain(point: bytes) -> bytes:
    """Return a mount point as it is called: mountinfo writes spaces and the like as octal numbers."""
    return _OCTAL.sub(lambda found: bytes([int(found[1], 8)]), point)
