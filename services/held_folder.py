"""Temporary folders that are gone with whoever made them, also when that was killed."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio


@asynccontextmanager
async def held_folder(parent: Path, prefix: str) -> AsyncIterator[Path]:
    """Make a folder, hold it while the context lasts, and remove it then, also when cancelled.

    It is locked as long as this process lives; `sweep` removes those that nobody holds any more.
    """
    with anyio.CancelScope(shield=True):
        path, descriptor = await anyio.to_thread.run_sync(_make, parent, prefix)
    try:
        yield path
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(remove_tree, path)
        os.close(descriptor)


def sweep(parent: Path, prefix: str) -> int:
    """Remove the folders whose holders are dead; returns how many there were."""
    removed = 0
    for path in parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if os.fstat(descriptor).st_uid == os.geteuid():
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    remove_tree(path)
                    removed += 1
            finally:
                os.close(descriptor)
    return removed


def remove_tree(path: Path) -> None:
    """Remove a folder whatever modes its content has; what cannot be removed stays for the next sweep."""
    for _ in range(2):
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
        _make_writable(path)


def _make(parent: Path, prefix: str) -> tuple[Path, int]:
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    while True:
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent)).resolve()
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # Swept in the moment between making and locking it.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if path.exists():
            return path, descriptor
        os.close(descriptor)


def _make_writable(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.chmod(0o700)
    for folder, names, _ in os.walk(path):
        for name in names:
            below = Path(folder, name)
            with contextlib.suppress(OSError):
                if not below.is_symlink():
                    below.chmod(0o700)
