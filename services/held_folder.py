"""Temporary folders that are gone with whoever made them, also when that was killed."""

import contextlib
import fcntl
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DEPTH = 200
_REMOVE_SECONDS = 30.0


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
    """Remove a folder whatever modes and depth its content has; what cannot be removed stays for the next
    sweep."""
    deadline = time.monotonic() + _REMOVE_SECONDS
    numbers = itertools.count()
    while True:
        with contextlib.suppress(RecursionError):
            shutil.rmtree(path, ignore_errors=True)
        if not path.exists() or time.monotonic() > deadline:
            return
        _make_writable(path)
        with contextlib.suppress(OSError):
            for entry in list(path.iterdir()):
                _flatten(path, entry.name, numbers)


def _flatten(top: Path, name: str | None, numbers: Iterator[int]) -> None:
    """Move what lies deep below a folder to the top, piece by piece: removing recurses, and has only so much
    room."""
    while name is not None:
        name = _move_up(top, name, f"deep-{next(numbers)}")


def _move_up(top: Path, name: str, new_name: str) -> str | None:
    """Move the first folder that lies `_DEPTH` below to the top; returns its new name, None if there is none."""
    with contextlib.ExitStack() as stack:
        try:
            descriptor = os.open(top / name, _FOLDER)
            for _ in range(_DEPTH):
                stack.callback(os.close, descriptor)
                with os.scandir(descriptor) as entries:
                    inner = next((entry.name for entry in entries if entry.is_dir(follow_symlinks=False)), None)
                if inner is None:
                    return None
                parent, deepest = descriptor, inner
                descriptor = os.open(inner, _FOLDER, dir_fd=parent)
            stack.callback(os.close, descriptor)
            os.rename(deepest, top / new_name, src_dir_fd=parent)
        except OSError:
            return None
        return new_name


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
    open_ends = [path]
    while open_ends:
        folder = open_ends.pop()
        with contextlib.suppress(OSError):
            folder.chmod(0o700)
            with os.scandir(folder) as entries:
                open_ends += [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
