"""Go's coverage profile: `package/file.go:line.column,line.column statements count`."""

import re
from collections import defaultdict
from pathlib import Path

from quantum_suite.services.testing.interface import FileCoverage

_BLOCK = re.compile(r"(?P<file>.+\.go):(?P<start>\d+)\.\d+,(?P<end>\d+)\.\d+ \d+ (?P<count>\d+)")
_MOST_LINES = 100_000


def read_profile(profile: Path, root: Path) -> tuple[FileCoverage, ...]:
    """Return what a profile says of the files below `root`; none when there is none. Go knows no branches."""
    try:
        text = profile.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    executed: dict[str, set[int]] = defaultdict(set)
    blocks: dict[str, set[int]] = defaultdict(set)
    for match in map(_BLOCK.fullmatch, text.splitlines()):
        if match is None or int(match["end"]) - int(match["start"]) > _MOST_LINES:
            continue
        path = _below(match["file"], root)
        if path is not None:
            lines = range(int(match["start"]), int(match["end"]) + 1)
            blocks[path].update(lines)
            if int(match["count"]):
                executed[path].update(lines)
    return tuple(
        FileCoverage(path, executed=frozenset(executed[path]), missing=frozenset(lines - executed[path]))
        for path, lines in sorted(blocks.items())
    )


def _below(name: str, root: Path) -> str | None:
    """Return the path of a file that the profile names by its package: its longest tail that exists."""
    parts = name.split("/")
    for start in range(len(parts)):
        path = "/".join(parts[start:])
        if (root / path).is_file():
            return path
    return None
