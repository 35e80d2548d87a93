"""Writes a judged change to its workspace, and takes it back."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import anyio
import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.errors import CallerError, NotFound
from quantum_suite.core.principals import Principal
from quantum_suite.services.changes.interface import AppliedChange, ChangeState, ChangeStore
from quantum_suite.services.changes.sqlite import open_change_store
from quantum_suite.services.patches.applying import apply_patch
from quantum_suite.services.testing.report_store import ReportStore
from quantum_suite.services.workspaces import Workspaces
from quantum_suite.tools.qagent.judge_change import VERDICT

OpenChanges = Callable[[], Awaitable[ChangeStore]]


class AppliedAnswer(BaseModel):
    """A change that was written, or taken back."""

    model_config = ConfigDict(frozen=True)

    applied: str = Field(description="Names what was written: pass it to undo_change to take it back.")
    state: ChangeState = Field(description="applied, undone, or interrupted by a crash.")
    root: str = Field(description="The workspace.")
    files: tuple[str, ...] = Field(description="What happened to which file, e.g. changed src/a.py.")
    author: str = Field(description="Who wrote the change: assistant, or model with its name.")
    at: datetime = Field(description="When it was written or taken back.")


@dataclass(slots=True)
class OneStore:
    """Opens the store of changes when it is first needed, and once: opening it mends what a crash left."""

    directory: Path
    _store: ChangeStore | None = None
    _opening: anyio.Lock = field(default_factory=anyio.Lock)

    async def open(self) -> ChangeStore:
        """Return the store."""
        async with self._opening:
            if self._store is None:
                self._store = await open_change_store(self.directory)
            return self._store


@dataclass(frozen=True, slots=True)
class ChangeWriter:
    """Applies and undoes. Only changes that were judged and accepted can be applied."""

    records: ReportStore
    changes: OpenChanges
    workspaces: Workspaces

    async def apply(self, change: str, principal: Principal) -> AppliedAnswer:
        """Write an accepted change, whole or not at all.

        Raises NotFound, CallerError for one that was refused or no longer applies, and FilesChanged, which names
        the files that somebody has changed since.
        """
        record = await self.records.get(change, principal)
        if record.kind != VERDICT:
            raise NotFound(f"'{change}' is no judged change.", "Take it from submit_change.", argument="change")
        if not record.summary["accepted"]:
            raise CallerError(
                f"The change was refused: {record.summary['reason']}",
                "Mend it, submit it again, and apply the change that is accepted.",
                argument="change",
            )
        # The grant may be another by now.
        root = self.workspaces.resolve(record.root, principal, argument="change")
        diff = (await self.records.report(change, "diff", principal)).decode()
        changes = await anyio.to_thread.run_sync(apply_patch, diff, root)
        store = await self.changes()
        applied = await store.apply(principal.id, root, changes, summary=str(record.summary["summary"]))
        return _answer(applied, _author(record.summary["author"], record.summary["model"]))

    async def undo(self, applied: str, principal: Principal) -> AppliedAnswer:
        """Take a change back, where its files are as it left them. Raises NotFound, FilesChanged, Conflict."""
        store = await self.changes()
        known = await store.get(applied, owner=principal.id)
        self.workspaces.resolve(str(known.root), principal, argument="applied")
        return _answer(await store.undo(principal.id, applied, owner=principal.id), "as applied")


def _author(author: str, model: str | None) -> str:
    return f"{author} ({model})" if model else author


def _answer(change: AppliedChange, author: str) -> AppliedAnswer:
    return AppliedAnswer(
        applied=change.id,
        state=change.state,
        root=str(Path(change.root)),
        files=tuple(f"{file.kind} {file.path}" for file in change.files),
        author=author,
        at=change.undone_at or change.applied_at,
    )
