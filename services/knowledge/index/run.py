"""Brings an index up to date: what changed is parsed, what is gone is forgotten, and what was done stays done."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import anyio

from quantum_suite.core.errors import SuiteError
from quantum_suite.services.knowledge.files.listing import ListedFile, Listing
from quantum_suite.services.knowledge.index.database import MADE_BY
from quantum_suite.services.knowledge.index.parsers import Batch, IndexFolder, Parsers
from quantum_suite.services.knowledge.index.reading import KnownFile

Progress = Callable[[int, int, str], Awaitable[None]]
"""Takes files done, files in all, and what is going on."""

_BATCH_BYTES = 1_000_000
_BATCH_FILES = 100
_FORGET_FILES = 500


@dataclass(frozen=True, slots=True)
class Work:
    """What differs between a workspace and its index."""

    files: list[ListedFile] = field(default_factory=list)
    """New ones and changed ones."""
    gone: list[str] = field(default_factory=list)
    retried: frozenset[str] = frozenset()
    """Files that ended their parser before."""

    @property
    def count(self) -> int:
        """Return how many files differ."""
        return len(self.files) + len(self.gone)


def work_for(listing: Listing, known: Mapping[str, KnownFile], *, retry: bool) -> Work:
    """Compare a listing with what is indexed; with `retry`, files that ended their parser are tried again."""
    retried = frozenset(
        path for path, file in known.items() if retry and (file.reason or "").startswith("the parser")
    )
    files = [
        file
        for path, file in listing.files.items()
        if (old := known.get(path)) is None
        or path in retried
        or old.made_by != MADE_BY
        or not old.seen.still(file.seen.stamp)
    ]
    return Work(files, sorted(known.keys() - listing.files.keys()), retried)


async def carry_out(folder: IndexFolder, parsers: Parsers, work: Work, progress: Progress | None = None) -> None:
    """Do the work, batch by batch; each is committed by itself. Cancelled, what was committed stays."""
    for start in range(0, len(work.gone), _FORGET_FILES):
        await parsers.forget(folder, work.gone[start : start + _FORGET_FILES])
    batches = list(_batches(work.files, parsers.count))
    done = 0
    send, receive = anyio.create_memory_object_stream[Sequence[ListedFile]](len(batches))
    for batch in batches:
        send.send_nowait(batch)
    send.close()

    async def one_after_another() -> None:
        nonlocal done
        async with receive.clone() as mine:
            async for files in mine:
                await parsers.index(folder, Batch(list(files), work.retried))
                done += len(files)
                if progress is not None:
                    await progress(done, len(work.files), f"{done} of {len(work.files)} files read")

    try:
        async with receive, anyio.create_task_group() as tasks:
            for _ in range(min(parsers.count, len(batches))):
                tasks.start_soon(one_after_another)
    except* SuiteError as errors:
        # The first is the cause; who parses beside it was cancelled, or failed for the same reason.
        raise first_of(errors) from None


def first_of(errors: BaseExceptionGroup[SuiteError]) -> SuiteError:
    """Return the first error of a group, however deep it stands."""
    error = errors.exceptions[0]
    return first_of(error) if isinstance(error, BaseExceptionGroup) else error


def _batches(files: Sequence[ListedFile], count: int) -> Iterator[list[ListedFile]]:
    # Small enough that every parser has something to do.
    most = max(1, min(_BATCH_FILES, -(-len(files) // count)))
    batch: list[ListedFile] = []
    size = 0
    for file in files:
        batch.append(file)
        size += file.seen.stamp.size
        if size >= _BATCH_BYTES or len(batch) >= most:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
