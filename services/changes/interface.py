"""The port for making changes to a workspace that can be undone."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from quantum_suite.core.errors import Conflict, NotFound
from quantum_suite.services.patches.interface import ChangeSet

KEEP_CHANGES = 200
"""How many changes of one workspace are kept; the oldest can no longer be undone after that."""


class FilesChanged(Conflict):
    """Files are not what the change reckoned with. `paths` names them; nothing was written."""

    code = "files_changed"

    def __init__(self, message: str, hint: str | None = None, *, paths: tuple[str, ...]) -> None:
        super().__init__(message, hint)
        self.paths = paths


ChangeState = Literal["applied", "undone", "interrupted"]
"""`interrupted`: a crash came in between, and somebody changed the files before it could be taken back; its
`interrupted_paths` are left as they are found."""


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """One file that a change wrote, moved or removed."""

    path: str
    """Below the root, with forward slashes."""
    kind: Literal["added", "removed", "changed", "renamed"]
    before_hash: str | None
    """SHA-256 in hex of the content before; None for no file."""
    after_hash: str | None
    renamed_from: str | None = None


@dataclass(frozen=True, slots=True)
class AppliedChange:
    """A change and what became of it."""

    id: str
    """`change_` and a time-ordered id: later changes sort after earlier ones."""
    root: Path
    """Real path of the workspace."""
    principal: str
    """Id of who applied it."""
    summary: str
    state: ChangeState
    applied_at: datetime
    files: tuple[ChangedFile, ...]
    undone_at: datetime | None = None
    undone_by: str | None = None
    interrupted_paths: tuple[str, ...] = ()


class ChangeStore(Protocol):
    """Applies changes to workspaces and keeps what is needed to undo them.

    Atomic: after a crash at any moment (`kill -9` included), the next opening of the store takes a half-written
    change back before anything else happens. Whatever was returned survives the process. Several processes may
    use one store; changes of one workspace are made one after another. Raises Unavailable while the store or the
    workspace cannot be written to: nothing has changed then.
    """

    async def apply(
        self,
        principal: str,
        root: Path,
        change: ChangeSet,
        *,
        summary: str = "",
        expected: Mapping[str, str | None] | None = None,
    ) -> AppliedChange:
        """Write a change to the workspace at `root` and keep it.

        Every file must be as the change has it in `before`, byte for byte. `expected` names further files that
        must not have changed, as path -> SHA-256 in hex (None: no such file), e.g. the tests that were its proof.
        Raises FilesChanged, which names those that differ, and PatchRefused for paths that leave the root.
        """
        ...

    async def undo(self, principal: str, change_id: str, *, owner: str | None = None) -> AppliedChange:
        """Bring back what a change found, where its files are still as it left them.

        Raises FilesChanged, which names those that somebody has changed since; NotFound for an id that is unknown,
        no longer kept, or not of `owner`, where one is given; Conflict when it has been undone already.
        """
        ...

    async def get(self, change_id: str, *, owner: str | None = None) -> AppliedChange:
        """Return a change; raises NotFound as `undo` does."""
        ...

    async def change_set(self, change_id: str, *, owner: str | None = None) -> ChangeSet:
        """Return what a change did, with the contents before and after; raises NotFound as `undo` does."""
        ...

    async def newest(
        self, root: Path | None = None, *, owner: str | None = None, limit: int = 20
    ) -> list[AppliedChange]:
        """Return changes, newest first: all, or those of one workspace or one principal."""
        ...


def change_not_found(change_id: str) -> NotFound:
    """Return the error for a change that is not there."""
    return NotFound(f"There is no change '{change_id}'.", "List the changes.", argument="change")


def undone_already(change: AppliedChange) -> Conflict:
    """Return the error for a change that is not there to be undone any more."""
    if change.state == "interrupted":
        return Conflict(
            f"The change '{change.id}' was interrupted by a crash, and others have changed its files since:"
            f" {', '.join(change.interrupted_paths)}.",
            "Look at these files yourself.",
            argument="change",
        )
    return Conflict(f"The change '{change.id}' was undone already.", "List the changes.", argument="change")
