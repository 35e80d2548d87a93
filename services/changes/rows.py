"""Changes as rows: what is written to the file, and read back."""

import json
import os
import sqlite3
import zlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from quantum_suite.services.changes.interface import AppliedChange, ChangedFile, change_not_found
from quantum_suite.services.changes.states import PathStates
from quantum_suite.services.patches.interface import ChangeSet, FileChange
from quantum_suite.services.patches.paths import FileState

MIGRATIONS = (
    """
CREATE TABLE changes (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, root BLOB NOT NULL, principal TEXT NOT NULL,
    summary TEXT NOT NULL, state TEXT NOT NULL, applied_at TEXT NOT NULL, files TEXT NOT NULL,
    undone_at TEXT, undone_by TEXT, interrupted TEXT NOT NULL DEFAULT '[]') STRICT;
CREATE INDEX changes_by_root ON changes (root, number);
CREATE INDEX changes_under_way ON changes (root) WHERE state IN ('applying', 'undoing');
CREATE TABLE states (
    change TEXT NOT NULL REFERENCES changes (id) ON DELETE CASCADE, position INTEGER NOT NULL, path BLOB NOT NULL,
    before BLOB, before_executable INTEGER NOT NULL, after BLOB, after_executable INTEGER NOT NULL,
    PRIMARY KEY (change, position)) STRICT, WITHOUT ROWID;
""",
)
_COLUMNS = "id, root, principal, summary, state, applied_at, files, undone_at, undone_by, interrupted"
_FINISHED = "state NOT IN ('applying', 'undoing')"


def insert(
    db: sqlite3.Connection, applied: AppliedChange, change: ChangeSet, states: Sequence[PathStates]
) -> None:
    """Write a change down as one that is being applied."""
    db.execute(
        "INSERT INTO changes (id, root, principal, summary, state, applied_at, files)"
        " VALUES (?, ?, ?, ?, 'applying', ?, ?)",
        (
            applied.id,
            os.fsencode(applied.root),
            applied.principal,
            applied.summary,
            applied.applied_at.isoformat(),
            json.dumps([_file_row(told, file) for told, file in zip(applied.files, change.files, strict=True)]),
        ),
    )
    db.executemany(
        "INSERT INTO states VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (applied.id, position, os.fsencode(state.path), *_packed(state.before), *_packed(state.after))
            for position, state in enumerate(states)
        ],
    )


def mark(
    db: sqlite3.Connection,
    change_id: str,
    state: str,
    *,
    undone_at: datetime | None = None,
    undone_by: str | None = None,
    interrupted: Sequence[str] = (),
) -> None:
    """Note how far a change is."""
    db.execute(
        "UPDATE changes SET state = ?, undone_at = ?, undone_by = ?, interrupted = ? WHERE id = ?",
        (state, undone_at and undone_at.isoformat(), undone_by, json.dumps(list(interrupted)), change_id),
    )


def remove(db: sqlite3.Connection, change_id: str) -> None:
    """Forget a change."""
    db.execute("DELETE FROM changes WHERE id = ?", (change_id,))


def forget_old(db: sqlite3.Connection, root: Path, keep: int) -> None:
    """Keep only the newest changes of a workspace."""
    db.execute(
        f"DELETE FROM changes WHERE root = ?1 AND {_FINISHED} AND number NOT IN"  # noqa: S608 - fixed text
        " (SELECT number FROM changes WHERE root = ?1 ORDER BY number DESC LIMIT ?2)",
        (os.fsencode(root), keep),
    )


def find(db: sqlite3.Connection, change_id: str, owner: str | None) -> AppliedChange:
    """Return a change that was applied; raises NotFound."""
    row = db.execute(
        f"SELECT {_COLUMNS} FROM changes WHERE id = ? AND {_FINISHED}",  # noqa: S608 - fixed text
        (change_id,),
    ).fetchone()
    if row is None or (owner is not None and row[2] != owner):
        raise change_not_found(change_id)
    return _applied(row)


def newest(db: sqlite3.Connection, root: Path | None, owner: str | None, limit: int) -> list[AppliedChange]:
    """Return changes, newest first."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM changes WHERE {_FINISHED}"  # noqa: S608 - fixed text
        " AND (?1 IS NULL OR root = ?1) AND (?2 IS NULL OR principal = ?2) ORDER BY number DESC LIMIT ?3",
        (None if root is None else os.fsencode(root), owner, limit),
    )
    return [_applied(row) for row in rows]


def roots_under_way(db: sqlite3.Connection) -> list[Path]:
    """Return the workspaces that a change was begun in and not finished."""
    rows = db.execute("SELECT DISTINCT root FROM changes WHERE state IN ('applying', 'undoing')")
    return [Path(os.fsdecode(root)) for (root,) in rows]


def under_way(db: sqlite3.Connection, root: Path) -> list[tuple[str, str, str | None, str | None]]:
    """Return id, state and who undoes it since when of the changes that were begun and not finished."""
    return db.execute(
        "SELECT id, state, undone_at, undone_by FROM changes WHERE root = ? AND state IN ('applying', 'undoing')",
        (os.fsencode(root),),
    ).fetchall()


def states_of(db: sqlite3.Connection, change_id: str) -> tuple[PathStates, ...]:
    """Return what a change finds and leaves."""
    rows = db.execute(
        "SELECT path, before, before_executable, after, after_executable FROM states WHERE change = ?"
        " ORDER BY position",
        (change_id,),
    )
    return tuple(
        PathStates(os.fsdecode(path), _unpacked(before, before_executable), _unpacked(after, after_executable))
        for path, before, before_executable, after, after_executable in rows
    )


def change_set_of(db: sqlite3.Connection, change_id: str) -> ChangeSet:
    """Return what a change does."""
    states = {state.path: state for state in states_of(db, change_id)}
    (files,) = db.execute("SELECT files FROM changes WHERE id = ?", (change_id,)).fetchone()
    return ChangeSet(tuple(_file_change(file, states) for file in json.loads(files)))


def _file_change(file: dict[str, Any], states: dict[str, PathStates]) -> FileChange:
    before, after = states[file["renamed_from"] or file["path"]].before, states[file["path"]].after
    return FileChange(
        path=file["path"],
        before=None if before is None else before.content,
        after=None if after is None else after.content,
        renamed_from=file["renamed_from"],
        executable=file["executable"],
    )


def _file_row(told: ChangedFile, file: FileChange) -> dict[str, Any]:
    return {
        "path": told.path,
        "kind": told.kind,
        "before_hash": told.before_hash,
        "after_hash": told.after_hash,
        "renamed_from": told.renamed_from,
        "executable": file.executable,
    }


def _applied(row: tuple[Any, ...]) -> AppliedChange:
    change_id, root, principal, summary, state, applied_at, files, undone_at, undone_by, interrupted = row
    return AppliedChange(
        id=change_id,
        root=Path(os.fsdecode(root)),
        principal=principal,
        summary=summary,
        state=state,
        applied_at=datetime.fromisoformat(applied_at),
        files=tuple(
            ChangedFile(**{name: value for name, value in file.items() if name != "executable"})
            for file in json.loads(files)
        ),
        undone_at=None if undone_at is None else datetime.fromisoformat(undone_at),
        undone_by=undone_by,
        interrupted_paths=tuple(json.loads(interrupted)),
    )


def _packed(state: FileState | None) -> tuple[bytes | None, bool]:
    return (None, False) if state is None else (zlib.compress(state.content, 1), state.executable)


def _unpacked(content: bytes | None, executable: int) -> FileState | None:
    return None if content is None else FileState(zlib.decompress(content), bool(executable))
