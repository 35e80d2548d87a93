"""The right to work on an index: one holder at a time over all processes of a machine."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quantum_suite.core.errors import Conflict


@contextmanager
def claim(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file `path` while the context lasts; the system frees it with the process, however it ends.

    Raises Conflict, which names the holder, when somebody else has it. `what` says what they are doing.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise Conflict(
                f"Process {holder} is {what}.", "Ask index_status how far it is, and try again when it is done."
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def is_claimed(path: Path) -> bool:
    """Whether somebody holds the lock file right now."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
