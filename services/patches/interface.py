"""What a patch is once it is read, and what applying it does."""

from dataclasses import dataclass
from typing import Literal

from quantum_suite.core.errors import CallerError


class PatchRefused(CallerError):
    """A patch that cannot be applied exactly. Says which file, which hunk, what was expected and what is there."""

    code = "patch_refused"


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file before and after. `None` is no file."""

    path: str
    """Below the root, with forward slashes."""
    before: bytes | None
    after: bytes | None
    renamed_from: str | None = None
    executable: bool | None = None

    @property
    def kind(self) -> Literal["added", "removed", "changed", "renamed"]:
        """Return what happens to the file."""
        if self.renamed_from is not None:
            return "renamed"
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """What a patch does to one state of a tree: nothing has been written yet."""

    files: tuple[FileChange, ...]

    @property
    def paths(self) -> tuple[str, ...]:
        """Return every path that exists after the change, and every one that it removes."""
        return tuple(change.path for change in self.files)


MAX_PATCH_BYTES = 4 * 1024 * 1024
