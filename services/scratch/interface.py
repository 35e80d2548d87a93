"""The port for private copies of a workspace."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Omitted:
    """Something of the workspace that the copy does not have."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Scratch:
    """A copy. It is the holder's alone, and gone when its context ends, also after a kill (swept at next
    start)."""

    root: Path
    """Real path of the copy's top."""
    origin: Path
    """Real path of the workspace it was taken from."""
    tree_hash: str
    """SHA-256 over the sorted (path, content hash, executable bit) of the files copied: tells one state from
    another."""
    files: int
    omitted: tuple[Omitted, ...] = ()
    """Left out: sockets, devices, links that lead outside, files past the limit."""
    read_only: tuple[Path, ...] = ()
    """Folders of the origin that tools need but nobody changes (virtual environments, node_modules): linked, not
    copied, to be granted to a sandbox as readable."""


class ScratchSpace(Protocol):
    """Makes copies. Version-controlled and untracked files alike, but neither ignored ones nor `.git`'s
    content."""

    def copy(self, root: Path, *, max_bytes: int = 1024**3) -> AbstractAsyncContextManager[Scratch]:
        """Copy the workspace at `root`. The copy is taken in a thread; files that change meanwhile are taken
        whole, either as before or as after. Raises CallerError when it is larger than `max_bytes`."""
        ...
