"""Whether a file is still what was read, told without reading it.

A stamp holds what a write cannot leave as it was: besides size and modification time the inode and the time of
its last change, which nobody can set back (inode(7), `st_ctim`). Clocks of file systems tick some milliseconds
apart, so a file changed shortly before it was read may be changed again without a trace: such a stamp proves
nothing, and the file is read again next time.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

_TICK_NS = 100_000_000


@dataclass(frozen=True, slots=True)
class Stamp:
    """A file or directory at one moment."""

    size: int
    modified_ns: int
    changed_ns: int
    inode: int

    def is_proof(self, seen_ns: int) -> bool:
        """Whether an equal stamp means equal content, for one taken at `seen_ns`."""
        return seen_ns - max(self.changed_ns, self.modified_ns) > _TICK_NS


def stamp_of(facts: os.stat_result) -> Stamp:
    """Return the stamp of what `stat` said."""
    return Stamp(facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino)


@dataclass(frozen=True, slots=True)
class Seen:
    """A stamp and when it was taken."""

    stamp: Stamp
    seen_ns: int

    def still(self, now: Stamp | None) -> bool:
        """Whether what has this stamp now is what was seen."""
        return now == self.stamp and self.stamp.is_proof(self.seen_ns)

    def is_what(self, facts: os.stat_result) -> bool:
        """`still`, without a stamp being made: a search asks for thousands."""
        stamp = self.stamp
        return (
            facts.st_mtime_ns == stamp.modified_ns
            and facts.st_ctime_ns == stamp.changed_ns
            and facts.st_size == stamp.size
            and facts.st_ino == stamp.inode
            and self.seen_ns - max(stamp.changed_ns, stamp.modified_ns) > _TICK_NS
        )


def differing(root: Path, known: Mapping[str, Seen], paths: Iterable[str]) -> list[str]:
    """Return those of `paths` whose stamp is not the known one, or proves nothing. Blocks: some 3 us a path."""
    try:
        folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return list(paths)
    changed = []
    try:
        for path in paths:
            seen = known.get(path)
            try:
                facts = os.stat(path or ".", dir_fd=folder, follow_symlinks=False)
            except (OSError, ValueError):
                changed.append(path)
                continue
            if seen is None or not seen.is_what(facts):
                changed.append(path)
    finally:
        os.close(folder)
    return changed
