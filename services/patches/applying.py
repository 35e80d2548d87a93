"""From a patch as text to what it does to a tree. Nothing is written here."""

from pathlib import Path

from quantum_suite.services.patches.file_patch import FilePatch, refused
from quantum_suite.services.patches.interface import MAX_PATCH_BYTES, ChangeSet, FileChange, PatchRefused
from quantum_suite.services.patches.paths import FileState, TreeFiles, checked_path
from quantum_suite.services.patches.search_replace import Block, is_search_replace, read_blocks
from quantum_suite.services.patches.unified_diff import read_unified_diff

_FORMS = (
    "Send a unified diff (`--- a/PATH`, `+++ b/PATH`, `@@ ... @@`), or a path and a block of `<<<<<<< SEARCH`."
)
_PLAIN_MODES = {"100644": False, "100664": False, "100755": True}


def apply_patch(text: str | bytes, root: Path) -> ChangeSet:
    """Return what a patch does to the tree at `root`: a unified diff, or search/replace blocks.

    Exact: every line of context and every removed line must be there, byte for byte. A hunk is applied at the line
    number it names; where its lines are elsewhere, there, if that is the only place in the file. Where every line
    of a file ends with CRLF and the patch has none, its lines are taken to end so as well. No other liberty is
    taken.

    Raises PatchRefused, which names file, hunk, what was expected and what is there: also for paths that lead out
    of the root by `..` or links, for `.git`, links, submodules, and patches of more than MAX_PATCH_BYTES.
    """
    content = _encoded(text)
    tree = _Tree(TreeFiles(root))
    if is_search_replace(content):
        for block in read_blocks(content):
            _apply_block(tree, block)
    else:
        patches = read_unified_diff(content)
        if not patches:
            raise PatchRefused("The patch holds no change that could be read.", _FORMS, argument="patch")
        for patch in patches:
            _apply_file(tree, patch)
    change = tree.changes()
    if not change.files:
        raise PatchRefused(
            "The patch changes nothing.", "The files are as it wants them already.", argument="patch"
        )
    return change


def _encoded(text: str | bytes) -> bytes:
    try:
        content = text.encode() if isinstance(text, str) else text
    except UnicodeEncodeError as error:
        raise PatchRefused("The patch holds half a character.", "Send valid text.", argument="patch") from error
    if len(content) > MAX_PATCH_BYTES:
        raise PatchRefused(
            f"The patch has {len(content)} bytes; it may have {MAX_PATCH_BYTES}.",
            "Send it in parts.",
            argument="patch",
        )
    return content


class _Tree:
    """A tree as the patch has left it so far."""

    def __init__(self, files: TreeFiles) -> None:
        self._files = files
        self._before: dict[str, FileState | None] = {}
        self._after: dict[str, FileState | None] = {}
        self._renamed: dict[str, str] = {}

    def get(self, path: str) -> FileState | None:
        checked_path(path)
        if path not in self._after:
            self._before[path] = self._after[path] = self._files.read(path)
        return self._after[path]

    def put(self, path: str, state: FileState | None) -> None:
        self.get(path)
        self._after[path] = state

    def rename(self, old: str, new: str, state: FileState) -> None:
        if self._after[old] != self._before[old]:
            raise refused(new, f"'{old}' is renamed after the patch has changed it", "Send it as two patches.")
        self.put(old, None)
        self.put(new, state)
        self._renamed[new] = old

    def changes(self) -> ChangeSet:
        """Return what is different now, in the order of first mention."""
        renamed_away = {old for new, old in self._renamed.items() if self._is_rename(new)}
        files = []
        for path, before in self._before.items():
            after = self._after[path]
            if path in renamed_away or before == after:
                continue
            if self._is_rename(path):
                files.append(_change(path, self._before[self._renamed[path]], after, self._renamed[path]))
            else:
                files.append(_change(path, before, after, None))
        return ChangeSet(tuple(files))

    def _is_rename(self, path: str) -> bool:
        old = self._renamed.get(path)
        return old is not None and self._after[path] is not None and self._after[old] is None


def _change(path: str, before: FileState | None, after: FileState | None, old_path: str | None) -> FileChange:
    if before is None or after is None:
        existing = before or after
        executable = True if existing is not None and existing.executable else None
    else:
        executable = after.executable if before.executable != after.executable else None
    return FileChange(
        path=path,
        before=None if before is None else before.content,
        after=None if after is None else after.content,
        renamed_from=old_path,
        executable=executable,
    )


def _apply_block(tree: _Tree, block: Block) -> None:
    state = tree.get(block.path)
    content = block.apply(None if state is None else state.content)
    tree.put(block.path, FileState(content, state is not None and state.executable))


def _apply_file(tree: _Tree, patch: FilePatch) -> None:
    for mode in (patch.old_mode, patch.new_mode):
        if mode is not None and mode not in _PLAIN_MODES:
            raise refused(patch.path, f"mode {mode} is no plain file's (a link or a submodule)")
    if patch.old_path is None:
        _add(tree, patch)
        return
    state = tree.get(patch.old_path)
    if state is None:
        raise refused(
            patch.old_path, "there is no such file", "Check the path; for a new file, the old one is /dev/null."
        )
    content = patch.apply(state.content)
    executable = _PLAIN_MODES[patch.new_mode] if patch.new_mode is not None else state.executable
    if patch.new_path is None:
        if content:
            raise refused(
                patch.old_path, "it is to be removed, but the patch leaves lines of it", "Read the file again."
            )
        tree.put(patch.old_path, None)
    elif patch.new_path == patch.old_path:
        tree.put(patch.new_path, FileState(content, executable))
    else:
        if tree.get(patch.new_path) is not None:
            raise refused(patch.new_path, f"it exists already, and '{patch.old_path}' is to become it")
        if patch.copied:
            tree.put(patch.new_path, FileState(content, executable))
        else:
            tree.rename(patch.old_path, patch.new_path, FileState(content, executable))


def _add(tree: _Tree, patch: FilePatch) -> None:
    path = patch.path
    if tree.get(path) is not None:
        raise refused(
            path, "it exists already, and the patch makes it anew", "Make a diff against the file as it is."
        )
    executable = patch.new_mode is not None and _PLAIN_MODES[patch.new_mode]
    tree.put(path, FileState(patch.apply(b""), executable))
