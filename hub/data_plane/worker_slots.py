"""Names for workers that last longer than processes."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quantum_suite.core.errors import ConfigurationError, Unavailable
from quantum_suite.core.ids import new_id

_MOST_SLOTS = 64


@contextmanager
def worker_slot(directory: Path) -> Iterator[str]:
    """Hold a name that no other running process of this data directory has.

    The first process gets the first name, so that one that starts after a crash has the name of the one that
    crashed, and takes its work up at once. The kernel frees a name with its process. Raises ConfigurationError
    when none is left, Unavailable when the disk is full.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        machine = _machine(directory / "machine")
        number, held = _free_slot(directory)
    except OSError as error:
        raise Unavailable(f"{directory} cannot be used: {error.strerror}.", "Mend the data directory.") from error
    try:
        yield f"{machine}-{number}"
    finally:
        os.close(held)


def _free_slot(directory: Path) -> tuple[int, int]:
    """Return the first slot nobody holds, and the descriptor that holds it from now on."""
    for number in range(1, _MOST_SLOTS + 1):
        held = os.open(directory / f"{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(held)
        else:
            return number, held
    raise ConfigurationError(
        f"{_MOST_SLOTS} processes share {directory.parent} already.", "End some, or use another data directory."
    )


def _machine(path: Path) -> str:
    """Return the data directory's own name, made up once: host names repeat among containers.

    It is linked into place whole: one that a crash cut short would be another machine's as well.
    """
    if path.exists():
        return path.read_text(encoding="utf-8")
    fresh = path.with_name(new_id("machine"))
    fresh.write_text(new_id(socket.gethostname()[:40].replace(":", "-")), encoding="utf-8")
    try:
        os.link(fresh, path)
    except FileExistsError:
        pass  # made before, or by another process just now
    finally:
        fresh.unlink()
    return path.read_text(encoding="utf-8")
