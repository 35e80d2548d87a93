"""Changes of one process: written to the workspaces for real, remembered until it ends."""

import dataclasses
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import anyio.to_thread

from quantum_suite.core.ids import new_id
from quantum_suite.services.changes.interface import (
    KEEP_CHANGES,
    AppliedChange,
    change_not_found,
    undone_already,
)
from quantum_suite.services.changes.states import (
    PathStates,
    carry_out,
    check_left,
    described,
    planned,
    put_after,
    put_before,
)
from quantum_suite.services.patches.interface import ChangeSet
from quantum_suite.services.patches.paths import TreeFiles


@dataclasses.dataclass(frozen=True, slots=True)
class _Kept:
    applied: AppliedChange
    change: ChangeSet
    states: tuple[PathStates, ...]


class MemoryChangeStore:
    """Keeps changes in memory. A crash leaves a half-written change as it is, and nothing to undo."""

    def __init__(self, *, keep: int = KEEP_CHANGES) -> None:
        self._keep = keep
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.Lock()

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
            with self._lock:
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
                carry_out(
                    real,
                    lambda: put_after(states, files, applied.id),
                    lambda: _ignore(put_before(states, files, applied.id)),
                )
                self._kept[applied.id] = _Kept(applied, change, states)
                of_root = [kept.applied.id for kept in self._kept.values() if kept.applied.root == real]
                for old in of_root[: -self._keep]:
                    del self._kept[old]
                return applied

        return await anyio.to_thread.run_sync(work)

    async def undo(self, principal: str, change_id: str, *, owner: str | None = None) -> AppliedChange:
        def work() -> AppliedChange:
            with self._lock:
                kept = self._get(change_id, owner)
                if kept.applied.state != "applied":
                    raise undone_already(kept.applied)
                files = TreeFiles(kept.applied.root)
                check_left(kept.states, files)
                carry_out(
                    kept.applied.root,
                    lambda: put_before(kept.states, files, change_id),
                    lambda: _ignore(put_after(kept.states, files, change_id)),
                )
                undone = dataclasses.replace(
                    kept.applied, state="undone", undone_at=datetime.now(UTC), undone_by=principal
                )
                self._kept[change_id] = dataclasses.replace(kept, applied=undone)
                return undone

        return await anyio.to_thread.run_sync(work)

    async def get(self, change_id: str, *, owner: str | None = None) -> AppliedChange:
        return self._get(change_id, owner).applied

    async def change_set(self, change_id: str, *, owner: str | None = None) -> ChangeSet:
        return self._get(change_id, owner).change

    async def newest(
        self, root: Path | None = None, *, owner: str | None = None, limit: int = 20
    ) -> list[AppliedChange]:
        real = None if root is None else await anyio.to_thread.run_sync(root.resolve)
        found = [
            kept.applied
            for kept in reversed(self._kept.values())
            if real in (None, kept.applied.root) and owner in (None, kept.applied.principal)
        ]
        return found[:limit]

    def _get(self, change_id: str, owner: str | None) -> _Kept:
        kept = self._kept.get(change_id)
        if kept is None or owner not in (None, kept.applied.principal):
            raise change_not_found(change_id)
        return kept


def _ignore(_strangers: tuple[str, ...]) -> None:
    """Leave the paths that are somebody else's to them: they are told of already."""
