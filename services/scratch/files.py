"""Scratch copies as folders on this machine."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from quantum_suite.core.errors import CallerError, SuiteError, Unavailable
from quantum_suite.services.held_folder import held_folder, sweep
from quantum_suite.services.scratch.copying import Copied, CopyStopped, TreeCopier
from quantum_suite.services.scratch.interface import Omitted, Scratch
from quantum_suite.services.scratch.listing import LINKED, is_environment, list_files
from quantum_suite.services.scratch.tree_hash import tree_hash

FOLDER_PREFIX = "copy-"
MAX_FILE_BYTES = 512 * 1024 * 1024
"""Larger files are left out of copies, and named."""

_USUAL_ENVIRONMENTS = (".venv", "venv", "env")


class FileScratchSpace:
    """Makes copies below `directory`, each held by this process alone. Opened by `open_scratch_space`."""

    def __init__(self, directory: Path, *, max_file_bytes: int = MAX_FILE_BYTES) -> None:
        self._directory = directory
        self._max_file_bytes = max_file_bytes

    @asynccontextmanager
    async def copy(self, root: Path, *, max_bytes: int = 1024**3) -> AsyncIterator[Scratch]:
        """Copy the workspace at `root`, keeping modes and times; the copy is removed when the context ends.

        Raises CallerError when `root` is no folder or too large, Unavailable when the disk is full.
        """
        origin = await anyio.to_thread.run_sync(_checked, root)
        paths = await list_files(origin)
        async with held_folder(self._directory, FOLDER_PREFIX) as folder:
            target = folder / (origin.name or "root")
            target.mkdir()
            copied = await self._copied(origin, target, paths, max_bytes)
            linked = await anyio.to_thread.run_sync(_link_environments, origin, target, copied)
            yield Scratch(
                root=target,
                origin=origin,
                tree_hash=tree_hash(copied.entries),
                files=len(copied.entries),
                omitted=tuple(copied.omitted),
                read_only=linked,
            )

    async def _copied(self, origin: Path, target: Path, paths: list[str], max_bytes: int) -> Copied:
        stop = threading.Event()
        copier = TreeCopier(
            origin, target, max_bytes=max_bytes, max_file_bytes=self._max_file_bytes, stopped=stop.is_set
        )
        copied: list[Copied] = []
        failed: list[SuiteError] = []

        def work() -> None:
            try:
                copied.append(copier.copy(paths))
            except CopyStopped:
                return
            except SuiteError as error:
                failed.append(error)
            except OSError as error:
                failed.append(_cannot_be_copied(self._directory, error))

        async def stop_when_cancelled() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                stop.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stop_when_cancelled)
            await anyio.to_thread.run_sync(work)
            tasks.cancel_scope.cancel()
        if failed:
            raise failed[0]
        return copied[0]


def _cannot_be_copied(directory: Path, error: OSError) -> Unavailable:
    unavailable = Unavailable(
        f"A workspace cannot be copied to {directory}: {error.strerror}.", "Make room there."
    )
    unavailable.__cause__ = error
    return unavailable


def _link_environments(origin: Path, target: Path, copied: Copied) -> tuple[Path, ...]:
    """Link the environments that lie beside copied files; returns their real paths."""
    folders = {""} | {entry.path.rpartition("/")[0] for entry in copied.entries}
    places = copied.linked | {name for name in _USUAL_ENVIRONMENTS if is_environment(origin / name)}
    places |= {f"{folder}/{name}".lstrip("/") for folder in folders for name in LINKED}
    linked: set[Path] = set()
    for place in sorted(places):
        link = target / place
        if (origin / place).is_dir() and not link.exists() and not link.is_symlink():
            real = (origin / place).resolve()
            # What is linked will be granted to sandboxes: it must be what it is called, or the workspace's own.
            if real.is_relative_to(origin) or (real / "pyvenv.cfg").is_file():
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(real)
                linked.add(real)
            elif not any(left_out.path == place for left_out in copied.omitted):
                copied.omitted.append(Omitted(place, f"It is a link that leads outside, to {real}."))
    return tuple(sorted(linked))


def _checked(root: Path) -> Path:
    if not root.is_dir():
        raise CallerError(f"{root} is not a folder.", "Name a folder.", argument="path")
    return root.resolve()


async def open_scratch_space(directory: Path) -> FileScratchSpace:
    """Return the scratch space below `directory`; copies of processes that were killed are removed first."""
    await anyio.to_thread.run_sync(sweep, directory, FOLDER_PREFIX)
    return FileScratchSpace(directory)
