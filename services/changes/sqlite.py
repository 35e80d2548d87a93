"""Changes in one SQLite file, which is also the journal that a crash is mended from.

What a change finds and leaves is in the file before anything is written to the workspace, and the mark that it is
done comes after all is written. A change without that mark whose workspace nobody holds (flock(2), which the
kernel releases with the process) was interrupted: it is taken back, and an undoing is brought to its end.
"""

import fcntl
import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio.to_thread

from quantum_suite.core.errors import Unavailable
from quantum_suite.core.ids import new_id
from quantum_suite.services.changes import rows
from quantum_suite.services.changes.interface import KEEP_CHANGES, AppliedChange, undone_already
from quantum_suite.services.changes.states import (
    cannot_be_written,
    carry_out,
    check_left,
    described,
    planned,
    put_after,
    put_before,
)
from quantum_suite.services.databases.sqlite import SqliteDatabase
from quantum_suite.services.patches.interface import ChangeSet
from quantum_suite.services.patches.paths import TreeFiles

_LOCK_SECONDS = 30.0
_LOCK_PAUSE_SECONDS = 0.02


class SqliteChangeStore:
    """Keeps changes below `directory`, which is made on first use, readable by this user alone. Opened by
    `open_change_store`; close it, or use it in a `with`.

    Work is done in one thread to its end: who is cancelled meanwhile waits for it, and nothing is left half done.
    """

    def __init__(self, directory: Path, *, keep: int = KEEP_CHANGES, lock_seconds: float = _LOCK_SECONDS) -> None:
        self._directory = directory
        self._database = SqliteDatabase(directory / "changes.sqlite", rows.MIGRATIONS)
        self._keep = keep
        self._lock_seconds = lock_seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; later calls raise Unavailable."""
        self._database.close()

    async def apply(
        self,
        principal: str,
        root: Path,
        change: ChangeSet,
        *,
        summary: str = "",
        expected: Mapping[str, str | None] | None = None,
    ) -> AppliedChange:
        def work() -> AppliedChange:
            real = root.resolve()
            files = TreeFiles(real)
            with self._workspace(real, self._lock_seconds):
                self._mend(real)
                states = planned(change, expected, files)
                applied = AppliedChange(
                    id=new_id("change"),
                    root=real,
                    principal=principal,
                    summary=summary,
                    state="applied",
                    applied_at=datetime.now(UTC),
                    files=described(change),
                )
                self._write(lambda db: rows.insert(db, applied, change, states))

                def take_back() -> None:
                    put_before(states, files, applied.id)
                    self._remove(applied.id)

                carry_out(real, lambda: put_after(states, files, applied.id), take_back)
                self._write(lambda db: rows.mark(db, applied.id, "applied"))
                self._write(lambda db: rows.forget_old(db, real, self._keep))
                return applied

        return await anyio.to_thread.run_sync(work)

    async def undo(self, principal: str, change_id: str, *, owner: str | None = None) -> AppliedChange:
        def work() -> AppliedChange:
            root = self._database.read_now(lambda db: rows.find(db, change_id, owner)).root
            with self._workspace(root, self._lock_seconds):
                self._mend(root)
                applied = self._database.read_now(lambda db: rows.find(db, change_id, owner))
                if applied.state != "applied":
                    raise undone_already(applied)
                states = self._database.read_now(lambda db: rows.states_of(db, change_id))
                files = TreeFiles(root)
                check_left(states, files)
                now = datetime.now(UTC)
                self._mark_undone(change_id, "undoing", now, principal)

                def make_again() -> None:
                    put_after(states, files, change_id)
                    self._write(lambda db: rows.mark(db, change_id, "applied"))

                carry_out(root, lambda: put_before(states, files, change_id), make_again)
                self._mark_undone(change_id, "undone", now, principal)
                return self._database.read_now(lambda db: rows.find(db, change_id, owner))

        return await anyio.to_thread.run_sync(work)

    async def get(self, change_id: str, *, owner: str | None = None) -> AppliedChange:
        return await self._database.read(lambda db: rows.find(db, change_id, owner))

    async def change_set(self, change_id: str, *, owner: str | None = None) -> ChangeSet:
        def work(db: sqlite3.Connection) -> ChangeSet:
            rows.find(db, change_id, owner)
            return rows.change_set_of(db, change_id)

        return await self._database.read(work)

    async def newest(
        self, root: Path | None = None, *, owner: str | None = None, limit: int = 20
    ) -> list[AppliedChange]:
        real = None if root is None else await anyio.to_thread.run_sync(root.resolve)
        return await self._database.read(lambda db: rows.newest(db, real, owner, limit))

    def mend_all(self) -> None:
        """Take back what crashes left half done, in every workspace that nobody is at work in."""
        for root in self._database.read_now(rows.roots_under_way):
            # A workspace that is in use, or cannot be written to now, is mended before its next change.
            with suppress(Unavailable), self._workspace(root, 0):
                self._mend(root)

    def _mend(self, root: Path) -> None:
        for change_id, state, undone_at, undone_by in self._database.read_now(lambda db: rows.under_way(db, root)):
            states = self._database.read_now(lambda db, change_id=change_id: rows.states_of(db, change_id))  # type: ignore[misc]  # mypy infers no default
            try:
                strangers = put_before(states, TreeFiles(root), change_id)
            except FileNotFoundError:
                strangers = tuple(state.path for state in states)  # The workspace is gone.
            except OSError as error:
                raise cannot_be_written(root, error) from error
            if strangers:
                self._mark_interrupted(change_id, strangers)
            elif state == "applying":
                self._remove(change_id)
            else:
                when = datetime.fromisoformat(undone_at) if undone_at else datetime.now(UTC)
                self._mark_undone(change_id, "undone", when, undone_by or "")

    def _mark_undone(self, change_id: str, state: str, when: datetime, who: str) -> None:
        self._write(lambda db: rows.mark(db, change_id, state, undone_at=when, undone_by=who))

    def _mark_interrupted(self, change_id: str, paths: tuple[str, ...]) -> None:
        self._write(lambda db: rows.mark(db, change_id, "interrupted", interrupted=paths))

    def _remove(self, change_id: str) -> None:
        self._write(lambda db: rows.remove(db, change_id))

    def _write(self, work: Callable[[sqlite3.Connection], None]) -> None:
        self._database.write_now(work)

    @contextmanager
    def _workspace(self, root: Path, seconds: float) -> Iterator[None]:
        """Hold a workspace against other threads and processes; raises Unavailable when it is held too long."""
        locks = self._directory / "locks"
        deadline = time.monotonic() + seconds
        try:
            locks.mkdir(parents=True, exist_ok=True, mode=0o700)
            name = hashlib.sha256(os.fsencode(root)).hexdigest()[:32]
            descriptor = os.open(locks / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unavailable(f"{locks} cannot be used: {error.strerror}.", "Mend the data directory.") from error
        try:
            while not _locked(descriptor):
                if time.monotonic() >= deadline:
                    raise Unavailable(f"Another change is being made to {root}.", "Try again in a moment.")
                time.sleep(_LOCK_PAUSE_SECONDS)
            yield
        finally:
            os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def open_change_store(directory: Path) -> SqliteChangeStore:
    """Return the store below `directory`, where what crashes left half done is taken back first."""
    store = SqliteChangeStore(directory)
    await anyio.to_thread.run_sync(store.mend_all)
    return store
