"""Makes the index of a workspace, or brings it up to date."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.errors import CallerError
from quantum_suite.services.capacity.interface import Capacity
from quantum_suite.services.knowledge.interface import IndexStatus, Knowledge

Progress = Callable[[int, int, str], Awaitable[None]]


class LeftOut(BaseModel):
    """Something that is not searchable."""

    model_config = ConfigDict(frozen=True)

    path: str = Field(
        description="The file or folder, relative to the workspace, or a kind of files such as *.png."
    )
    reason: str = Field(description="Why.")


class IndexReport(BaseModel):
    """What an index holds right now."""

    model_config = ConfigDict(frozen=True)

    path: str = Field(description="The workspace.")
    state: str = Field(
        description="absent; indexing; embedding (words and symbols are searchable, vectors follow); ready; "
        "interrupted (index_workspace goes on); failed."
    )
    files: int = Field(description="Files of an indexed kind.")
    files_indexed: int = Field(description="Files that are searchable.")
    chunks: int = Field(description="Definitions and sections.")
    vectors: int = Field(description="How many of them can be found by meaning.")
    symbols: int = Field(description="Names that are defined.")
    languages: dict[str, int] = Field(description="Searchable files by language.")
    stale_files: int = Field(description="Files that differ from what is indexed, as of now.")
    not_indexed: tuple[LeftOut, ...] = Field(description="What is not searchable, and why.")
    omitted: int = Field(description="How many entries are left out of not_indexed.")
    embedding: str = Field(description="The model vectors are of, or why there are none and what changes that.")
    commit: str | None = Field(description="The Git commit that was checked out when it was brought up to date.")
    updated: str | None = Field(description="When it was last brought up to date whole, RFC 3339.")
    problem: str | None = Field(description="What is in its way.")


def index_report(status: IndexStatus) -> IndexReport:
    """Return a status as it is shown."""
    return IndexReport(
        path=status.root,
        state=status.state,
        files=status.files,
        files_indexed=status.files_indexed,
        chunks=status.chunks,
        vectors=status.vectors,
        symbols=status.symbols,
        languages=status.languages,
        stale_files=status.stale_files,
        not_indexed=tuple(LeftOut(path=item.path, reason=item.reason) for item in status.not_indexed),
        omitted=status.omitted,
        embedding=status.embedding,
        commit=status.commit,
        updated=status.updated,
        problem=status.problem,
    )


async def index_workspace(
    knowledge: Knowledge, capacity: Capacity, root: Path, progress: Progress, *, wait: bool
) -> IndexReport:
    """Index `root`, which was checked against the caller's grant. Waits for a place for heavy work first.

    Raises CallerError for what is no directory, Conflict while another process indexes it.
    """
    directory_only(root)

    async def waiting(words: str) -> None:
        await progress(0, 0, words)

    async with capacity.place("indexing", waiting):
        status = await knowledge.index(root, progress)
    if wait:
        # Vectors are made at low priority, and take no place from others meanwhile.
        status = await knowledge.index(root, progress, wait=True)
    return index_report(status)


def directory_only(root: Path) -> None:
    """Raise CallerError unless `root` is a directory: indexes are of directories."""
    if not root.is_dir():
        raise CallerError(
            f"'{root}' is a file.", "Name the workspace it is in; path_prefix narrows a search.", argument="path"
        )
