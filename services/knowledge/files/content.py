"""What a file holds, by its digest and without following what was put in its place."""

import errno
import hashlib
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from quantum_suite.services.knowledge.files.stamps import Seen, stamp_of
from quantum_suite.services.knowledge.parsing.decoding import MAX_FILE_BYTES


def read_content(root: Path, path: str) -> tuple[bytes, Seen]:
    """Return at most one byte more than is indexed of a file, and when it was what it was. Raises OSError."""
    full = root / path
    if os.path.realpath(full) != str(full):
        raise OSError(errno.ELOOP, "a link stands in its way")
    # A link put in its place since is not followed, and a pipe not waited for.
    descriptor = os.open(full, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        facts, now = os.fstat(descriptor), time.time_ns()
        data = file.read(MAX_FILE_BYTES + 1)
        if stamp_of(os.fstat(descriptor)) != stamp_of(facts):
            now = 0  # Written while it was read: the stamp proves nothing, and it is read again next time.
    return data, Seen(stamp_of(facts), now)


def digest_of(data: bytes) -> bytes:
    """Return what stands for a content."""
    return hashlib.blake2b(data, digest_size=16).digest()


def with_other_content(root: Path, known: Mapping[str, bytes], paths: Iterable[str]) -> list[str]:
    """Return those of `paths` whose content is not the known one. Blocks: reads them."""
    changed = []
    for path in paths:
        try:
            data, _ = read_content(root, path)
        except OSError:
            changed.append(path)
            continue
        if known.get(path) != digest_of(data):
            changed.append(path)
    return changed
