"""One hash for a state of a tree."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, order=True)
class TreeEntry:
    """A file or link as it counts for the hash."""

    path: str
    content_hash: str
    """SHA-256 in hex of the content; of the target for a link."""
    kind: Literal["file", "executable", "link"]


def tree_hash(entries: Iterable[TreeEntry]) -> str:
    """Return SHA-256 in hex over the entries in the order of their paths, whatever order they come in."""
    digest = hashlib.sha256()
    for entry in sorted(entries):
        path = entry.path.encode("utf-8", "surrogateescape")
        digest.update(b"%s\0%s\0%s\n" % (path, entry.kind.encode(), entry.content_hash.encode()))
    return digest.hexdigest()
