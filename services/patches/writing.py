"""Writing a change set to a tree: all of it, or nothing."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from quantum_suite.core.errors import Unavailable
from quantum_suite.services.patches.interface import ChangeSet, FileChange, PatchRefused
from quantum_suite.services.patches.paths import FileState, TreeFiles


def reverse(change: ChangeSet) -> ChangeSet:
    """Return the change set that takes this one back."""
    return ChangeSet(tuple(_reversed(file) for file in reversed(change.files)))


def _reversed(file: FileChange) -> FileChange:
    turned = replace(file, before=file.after, after=file.before)
    if file.renamed_from is not None:
        turned = replace(turned, path=file.renamed_from, renamed_from=file.path)
    if file.before is not None and file.after is not None and file.executable is not None:
        turned = replace(turned, executable=not file.executable)
    return turned


def write(change: ChangeSet, root: Path) -> None:
    """Write a change set to the tree at `root`. Each file is put in place in one step; if one cannot be, those
    before it are put back.

    Raises PatchRefused when a file is not as the change has it in `before`, or is reached over a link, and
    Unavailable when the disk does not take it; nothing has changed then. Not proof against a crash in between: see
    `services.changes`.
    """
    files = TreeFiles(root)
    found = {path: files.read(path) for path in states_before(change)}
    differing = [path for path, content in states_before(change).items() if not _is(found[path], content)]
    if differing:
        raise PatchRefused(
            f"Changed since the patch was read: {', '.join(differing)}.", "Read the files again.", argument="patch"
        )
    try:
        for file in change.files:
            write_file(files, file)
    except OSError as error:
        _put_back(files, found)
        raise Unavailable(
            f"The change cannot be written to {root}: {error.strerror}. Nothing was changed.",
            "Mend that, then try again.",
        ) from error
    except BaseException:
        _put_back(files, found)
        raise


def states_before(change: ChangeSet) -> dict[str, bytes | None]:
    """Return by path what a change set finds."""
    return _states([(file.renamed_from or file.path, file.path, file.before) for file in change.files])


def states_after(change: ChangeSet) -> dict[str, bytes | None]:
    """Return by path what a change set leaves."""
    return _states([(file.path, file.renamed_from or file.path, file.after) for file in change.files])


def _states(files: Sequence[tuple[str, str, bytes | None]]) -> dict[str, bytes | None]:
    """`files` are the path that has the content, the one that has nothing (maybe the same), and the content."""
    states: dict[str, bytes | None] = {absent: None for _, absent, _ in files}
    states.update({path: content for path, _, content in files})
    return states


def write_file(files: TreeFiles, file: FileChange, temporary: str | None = None) -> None:
    """Do what a change set says of one file; a renamed one is written under its new name first."""
    if file.after is None:
        files.remove(file.path)
        return
    executable = file.executable
    if file.renamed_from is not None and executable is None:
        state = files.read(file.renamed_from)
        executable = state is not None and state.executable
    files.write(file.path, file.after, executable=executable, temporary=temporary)
    if file.renamed_from is not None:
        files.remove(file.renamed_from)


def _put_back(files: TreeFiles, found: Mapping[str, FileState | None]) -> None:
    """Bring files back to what was found; all are tried, whatever becomes of one."""
    with ExitStack() as stack:
        for path, state in found.items():
            stack.callback(put_state, files, path, state)


def put_state(files: TreeFiles, path: str, state: FileState | None, temporary: str | None = None) -> None:
    """Have a file be as it was; one that is so already is left alone."""
    if files.read(path) == state:
        return
    if state is None:
        files.remove(path)
    else:
        files.write(path, state.content, executable=state.executable, temporary=temporary)


def _is(state: FileState | None, content: bytes | None) -> bool:
    return (None if state is None else state.content) == content
