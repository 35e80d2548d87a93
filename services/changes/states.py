"""What a change finds and leaves at each path, and whether that is what is there."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from quantum_suite.core.errors import Unavailable
from quantum_suite.services.changes.interface import ChangedFile, FilesChanged
from quantum_suite.services.patches.interface import ChangeSet, FileChange
from quantum_suite.services.patches.paths import FileState, TreeFiles
from quantum_suite.services.patches.writing import put_state, states_before


@dataclass(frozen=True, slots=True)
class PathStates:
    """One path before and after a change; None is no file."""

    path: str
    before: FileState | None
    after: FileState | None


def planned(
    change: ChangeSet, expected: Mapping[str, str | None] | None, files: TreeFiles
) -> tuple[PathStates, ...]:
    """Return what a change will do to each path. Raises FilesChanged when the tree is not what it reckons with."""
    wanted = states_before(change)
    found = {path: files.read(path) for path in wanted}
    differing = [path for path, content in wanted.items() if not holds(found[path], content)]
    for path, digest in (expected or {}).items():
        if path not in wanted and content_hash(_content(files.read(path))) != digest:
            differing.append(path)
    if differing:
        raise files_changed(differing)
    after: dict[str, FileState | None] = {}
    for file in change.files:
        source = found[file.renamed_from or file.path]
        if file.renamed_from is not None:
            after.setdefault(file.renamed_from, None)
        after[file.path] = None if file.after is None else FileState(file.after, _executable_after(file, source))
    return tuple(PathStates(path, found[path], after[path]) for path in after)


def _executable_after(file: FileChange, source: FileState | None) -> bool:
    if file.executable is not None:
        return file.executable
    return source is not None and source.executable


def check_left(states: Iterable[PathStates], files: TreeFiles) -> None:
    """Raise FilesChanged unless every path is as the change left it."""
    differing = [state.path for state in states if not holds(files.read(state.path), _content(state.after))]
    if differing:
        raise files_changed(differing)


def put_before(states: Iterable[PathStates], files: TreeFiles, change_id: str) -> tuple[str, ...]:
    """Bring every path to what it was before, whatever was written of the change. Returns the paths that are
    neither as before nor as after: somebody else's, and left alone."""
    return _put([(state.path, state.before, state.after) for state in states], files, change_id)


def put_after(states: Iterable[PathStates], files: TreeFiles, change_id: str) -> tuple[str, ...]:
    """Bring every path to what the change makes of it; returns what `put_before` does."""
    return _put([(state.path, state.after, state.before) for state in states], files, change_id)


def carry_out(root: Path, forward: Callable[[], tuple[str, ...]], back: Callable[[], None]) -> None:
    """Go `forward`; when that fails, or meets paths that are somebody else's, go `back` and raise Unavailable or
    FilesChanged."""
    try:
        strangers = forward()
    except BaseException as error:
        back()
        if isinstance(error, OSError):
            raise cannot_be_written(root, error) from error
        raise
    if strangers:
        back()
        raise files_changed(strangers)


def _put(
    steps: Iterable[tuple[str, FileState | None, FileState | None]], files: TreeFiles, change_id: str
) -> tuple[str, ...]:
    strangers = []
    for path, wanted, other in steps:
        temporary = f".{change_id}.tmp"
        files.remove_temporary(path, temporary)
        found = files.read(path)
        if not holds(found, _content(wanted)) and not holds(found, _content(other)):
            strangers.append(path)
        else:
            put_state(files, path, wanted, temporary)
    return tuple(strangers)


def holds(state: FileState | None, content: bytes | None) -> bool:
    """Whether a file has a content; None is no file."""
    return _content(state) == content


def content_hash(content: bytes | None) -> str | None:
    """Return SHA-256 in hex; None for no file."""
    return None if content is None else hashlib.sha256(content).hexdigest()


def described(change: ChangeSet) -> tuple[ChangedFile, ...]:
    """Return what is told of each file of a change."""
    return tuple(
        ChangedFile(
            path=file.path,
            kind=file.kind,
            before_hash=content_hash(file.before),
            after_hash=content_hash(file.after),
            renamed_from=file.renamed_from,
        )
        for file in change.files
    )


def files_changed(paths: Iterable[str]) -> FilesChanged:
    """Return the error for files that are not what a change reckons with."""
    named = tuple(paths)
    return FilesChanged(
        f"Changed in the meantime: {', '.join(named)}. Nothing was written.",
        "Read the files again, then make the change anew.",
        paths=named,
    )


def cannot_be_written(root: Path, error: OSError) -> Unavailable:
    """Return the error for a workspace that does not take a change."""
    return Unavailable(
        f"The change cannot be written to {root}: {error.strerror}. Nothing was changed.",
        "Mend that, then try again.",
    )


def _content(state: FileState | None) -> bytes | None:
    return None if state is None else state.content
