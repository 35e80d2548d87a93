"""The journal of acknowledgements: what writers sent and what the database acknowledged, outside of it.

One file a writer, one line an entry: `s <number>` before a row is sent, `a <number> <Unix seconds> <server>` after
its commit was acknowledged; the server is 0 until clients are sent elsewhere. Acknowledgements are on the disk
(fsync) before the writer goes on: a row counts as acknowledged only where that is certain.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

from quantum_suite.core.errors import Damaged


@dataclass(slots=True)
class Written:
    """What one writer sent, and when what of it was acknowledged."""

    sent: list[int] = field(default_factory=list)
    acknowledged: dict[int, float] = field(default_factory=dict)
    servers: dict[int, int] = field(default_factory=dict)
    """By which server an acknowledged row was acknowledged: 0 before clients were sent elsewhere."""

    def by_first(self) -> frozenset[int]:
        """Return the rows that the first server acknowledged."""
        return frozenset(number for number, server in self.servers.items() if server == 0)

    def by_others(self) -> frozenset[int]:
        """Return the rows acknowledged after clients were sent elsewhere."""
        return frozenset(number for number, server in self.servers.items() if server > 0)


class JournalFile:
    """One writer's journal, open for appending."""

    def __init__(self, folder: Path, writer: int) -> None:
        self._file = os.open(
            _path(folder, writer), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_EXCL, 0o600
        )

    def sending(self, number: int) -> None:
        """Note that a row is about to be sent."""
        _write(self._file, f"s {number}\n".encode())

    def acknowledged(self, number: int, at: float, server: int) -> None:
        """Note an acknowledgement; on the disk when this returns."""
        _write(self._file, f"a {number} {at:.6f} {server}\n".encode())
        os.fdatasync(self._file)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def read_journal(folder: Path) -> dict[int, Written]:
    """Return what every writer wrote; raises Damaged for a line that is none."""
    found: dict[int, Written] = {}
    for path in sorted(folder.glob("writer-*.journal")):
        written = found[int(path.stem.removeprefix("writer-"))] = Written()
        # A last line without its end is being written: that row is not sent, or not acknowledged, yet.
        lines = path.read_text().split("\n")[:-1]
        for number, line in enumerate(lines, 1):
            match line.split(" "):
                case ["s", row]:
                    written.sent.append(int(row))
                case ["a", row, at, server]:
                    written.acknowledged[int(row)] = float(at)
                    written.servers[int(row)] = int(server)
                case _:
                    raise Damaged(f"{path.name}, line {number}, is no entry of a journal.", "Run the drill again.")
    return found


def _write(descriptor: int, line: bytes) -> None:
    """Write a whole line; a disk that takes a part of it is as good as full."""
    while line:
        line = line[os.write(descriptor, line) :]


def _path(folder: Path, writer: int) -> Path:
    return folder / f"writer-{writer}.journal"
