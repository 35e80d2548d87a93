"""One workspace's index: brought up to date, kept fresh, and truthful about what it holds."""

import hashlib
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from quantum_suite.core.errors import Conflict, NotFound, SuiteError
from quantum_suite.services.knowledge.embed_chunks import ChunkEmbedder, Meaning, problem_of
from quantum_suite.services.knowledge.files.alarm import Alarm, set_alarm
from quantum_suite.services.knowledge.files.content import with_other_content
from quantum_suite.services.knowledge.files.listing import Listing, list_files
from quantum_suite.services.knowledge.files.stamps import Seen, differing
from quantum_suite.services.knowledge.index.claim import claim, is_claimed
from quantum_suite.services.knowledge.index.database import MADE_BY, IndexDatabase, fact, set_fact
from quantum_suite.services.knowledge.index.parsers import IndexFolder, Parsers
from quantum_suite.services.knowledge.index.reading import (
    Counts,
    KnownFile,
    counts,
    generation,
    known_files,
    without_vector,
)
from quantum_suite.services.knowledge.index.run import Progress, Work, carry_out, work_for
from quantum_suite.services.knowledge.interface import IndexStatus, NotIndexed

FEW = 64
"""Files that changed are read before a search when they are at most so many."""
_REFRESH_SECONDS = 8.0
"""How long a search waits for them."""
_MANY = 1_000
_SHOWN = 100
_COUNT_PAUSES = 200
_BELIEVED_SECONDS = 2.0
"""How long nothing is taken to have changed because no alarm rang."""
_CHEAP_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 0.7
_LISTING_SECONDS = 30.0
_WORKING = "indexing this workspace"

State = Literal["absent", "indexing", "embedding", "ready", "interrupted", "failed"]


@dataclass(slots=True)
class _Remembered:
    """What was read of the index, for one generation of it."""

    generation: int
    files: dict[str, KnownFile]
    counts: Counts


class Workspace:
    """The index of one directory. Belongs to one event loop; other processes may have the same one open."""

    def __init__(self, root: Path, parent: Path, parsers: Parsers, meaning: Meaning, tasks: TaskGroup) -> None:
        """`tasks` is where vectors are made."""
        name = hashlib.blake2b(str(root).encode("utf-8", "surrogateescape"), digest_size=10).hexdigest()
        self.folder = IndexFolder(root, parent / name)
        self.database = IndexDatabase(self.folder.database)
        self.meaning = meaning
        self._parsers = parsers
        self._tasks = tasks
        self._running = anyio.Lock()
        self._updating = False
        self._listing: Listing | None = None
        self._listed_at = 0.0
        self._alarm: Alarm | None = None
        self._watching = anyio.Lock()
        self._rings = 0
        self._same = (-1, -1)
        self._same_at = 0.0
        """Since when the files have been as a generation of the index has them, after so many rings."""
        self._checked_at = 0.0
        self._check_seconds = 0.0
        self._remembered: _Remembered | None = None
        self._stale = 0
        self._missing = 0
        self._count_again_at = 0.0
        self._problem: str | None = None
        self._vector_problem: str | None = None
        self._embedding: anyio.Event | None = None
        parts = meaning.parts
        self._embedder = ChunkEmbedder(self.folder, self.database, *parts) if parts is not None else None

    @property
    def exists(self) -> bool:
        """Whether there is an index."""
        return self.folder.database.exists()

    def close(self) -> None:
        """Close the file."""
        self.database.close()
        self._close_alarm()

    async def update(self, progress: Progress | None) -> None:
        """Bring words and symbols up to date. Raises Conflict while another process does so."""
        async with self._running:
            self.folder.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            with claim(self.folder.lock, _WORKING):
                self._updating = True
                try:
                    await self._update(progress)
                    self._problem = None
                except SuiteError as error:
                    self._problem = str(error)
                    raise
                finally:
                    self._updating = False

    async def _update(self, progress: Progress | None) -> None:
        if progress is not None:
            await progress(0, 0, f"looking at the files of {self.folder.root}")
        await self.database.write(lambda db: self._begin(db))
        listing = await self._list()
        work = work_for(listing, await self._known(), retry=True)
        if progress is not None:
            kept = len(listing.files) - len(work.files)
            await progress(0, len(work.files), f"{len(work.files)} files to read, {kept} are as they were")
        await carry_out(self.folder, self._parsers, work, progress)
        unranked = await self.database.read(lambda db: fact(db, "unranked") is not None)
        if work.count or unranked:
            if progress is not None:
                await progress(len(work.files), len(work.files), "ranking symbols")
            await self._parsers.finish(self.folder)
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        await self.database.write(lambda db: self._end(db, listing.commit, now))
        await self._parsers.rest()
        self._stale = 0

    def _begin(self, db: sqlite3.Connection) -> None:
        set_fact(db, "root", str(self.folder.root).encode("utf-8", "backslashreplace").decode())
        set_fact(db, "running", "yes")
        set_fact(db, "unranked", "yes")

    def _end(self, db: sqlite3.Connection, commit: str | None, now: str) -> None:
        for name in ("running", "unranked"):
            set_fact(db, name, None)
        set_fact(db, "commit", commit)
        set_fact(db, "updated", now)

    def embed(self) -> None:
        """Have vectors made of what has none, in the background. Does nothing where they are being made."""
        if self._embedder is not None and self._embedding is None:
            self._embedding = anyio.Event()
            self._tasks.start_soon(self._embed, self._embedder, self._embedding)

    async def embedded(self) -> None:
        """Wait until the vectors that are being made are there, or do not go on."""
        if self._embedding is not None:
            await self._embedding.wait()

    async def _embed(self, embedder: ChunkEmbedder, done: anyio.Event) -> None:
        try:
            await embedder.run()
            while await self.database.read(without_vector):
                # They came while the last of the others were finished.
                await embedder.run()
            self._vector_problem = None
        except Conflict:
            self._vector_problem = None  # Another process makes them.
        except SuiteError as error:
            self._vector_problem = problem_of(error)
        finally:
            self._embedding = None
            done.set()

    async def refresh(self) -> list[str]:
        """Read what changed since, where that is little; returns what a search should be told.

        Raises NotFound when there is no index.
        """
        await self.generation()
        return await self.catch_up()

    async def generation(self) -> int:
        """Return a number that rises with every change of the index. Raises NotFound when there is no index."""
        remembered = await self._remember() if self.exists else None
        if remembered is None or remembered.generation < 0:
            raise NotFound(
                f"There is no index of {self.folder.root}.", "Make one with index_workspace.", argument="path"
            )
        return remembered.generation

    async def catch_up(self) -> list[str]:
        """`refresh`, right after `generation` was asked; where nothing changed, the database is left to others."""
        if self._updating:
            return ["The workspace is being indexed: files not read yet are missing."]
        remembered = self._remembered or await self._remember()
        # Listened to before files are asked: what is done meanwhile rings the next time.
        same, began = (remembered.generation, self._listen()), time.monotonic()
        if self._same == same and began - self._same_at < _BELIEVED_SECONDS:
            return []
        if self._check_seconds > _CHEAP_SECONDS and began - self._checked_at < _LONGEST_PAUSE_SECONDS:
            return [f"Files edited within the last {began - self._checked_at:.1f} seconds were not looked at."]
        work = await self._differing(remembered.files)
        self._checked_at = time.monotonic()
        self._check_seconds = self._checked_at - began
        if work.count:
            return await self._read_changed(work)
        self._same, self._same_at, self._stale = same, began, 0
        return []

    def _listen(self) -> int:
        """Return how often anything was done, or may have been."""
        if self._alarm is None or self._alarm.rang():
            self._rings += 1
        return self._rings

    async def _read_changed(self, work: Work) -> list[str]:
        self._stale = work.count
        if work.count > FEW:
            return [f"{work.count} files changed since they were indexed; index_workspace reads them."]
        caveats: list[str] = []
        async with self._running:
            try:
                with claim(self.folder.lock, _WORKING), anyio.move_on_after(_REFRESH_SECONDS) as scope:
                    await carry_out(self.folder, self._parsers, work)
                    self._stale = 0
            except Conflict as error:
                return [str(error)]
            except SuiteError as error:
                return [f"{work.count} changed files could not be read: {error}"]
        if scope.cancelled_caught:
            caveats.append(f"{work.count} changed files were not read in time; index_workspace reads them.")
        self.embed()
        return caveats

    async def _differing(self, known: Mapping[str, KnownFile]) -> Work:
        """Return what differs, asking the directories rather than listing the files where that is enough."""
        listing = self._listing
        if listing is None or time.monotonic() - self._listed_at > _LISTING_SECONDS:
            return work_for(await self._list(), known, retry=False)
        root, watched, files = self.folder.root, listing.watched, listing.files
        if await anyio.to_thread.run_sync(differing, root, watched, list(watched)):
            return work_for(await self._list(), known, retry=False)
        seen: dict[str, Seen] = {path: file.seen for path, file in known.items()}
        changed = set(await anyio.to_thread.run_sync(differing, root, seen, list(files)))
        # The list may be newer than the index: a status lists and reads nothing.
        return Work([files[path] for path in files if path in changed], sorted(known.keys() - files.keys()))

    async def _list(self) -> Listing:
        self._listing = await list_files(self.folder.root)
        self._listed_at = time.monotonic()
        await self._watch(self._listing)
        return self._listing

    async def _watch(self, listing: Listing) -> None:
        """Have the alarm ring for the directories of the list."""
        root, paths = self.folder.root, listing.watched
        async with self._watching:
            if self._alarm is None or not await anyio.to_thread.run_sync(self._alarm.watch, paths):
                self._close_alarm()
                self._alarm = await anyio.to_thread.run_sync(set_alarm, root, paths)
            # What was done between the look at the directories and now was not noted.
            self._rings += 1

    def _close_alarm(self) -> None:
        alarm, self._alarm = self._alarm, None
        if alarm is not None:
            alarm.close()

    async def _known(self) -> dict[str, KnownFile]:
        return (await self._remember()).files

    async def _remember(self) -> _Remembered:
        number = await self.database.read(generation)
        if self._remembered is None or self._remembered.generation != number:
            self._remembered = await self.database.read(
                lambda db: _Remembered(generation(db), known_files(db), counts(db))
            )
        return self._remembered

    async def status(self, *, look: bool = True) -> IndexStatus:
        """Return what is indexed. With `look`, the workspace is listed to say what differs as of now."""
        root = str(self.folder.root)
        if not self.exists or (await self._remember()).generation < 0:
            return _absent(root, self.meaning)
        if look:
            self._stale = await self._count_stale(work_for(await self._list(), await self._known(), retry=False))
        remembered = await self._remember()
        missing = await self._without_vector(look=look)
        running, commit, updated = await self.database.read(
            lambda db: (fact(db, "running"), fact(db, "commit"), fact(db, "updated"))
        )
        left_out = [NotIndexed(path, reason) for path, reason in remembered.counts.not_indexed]
        left_out += self._listing.left_out if self._listing is not None else []
        found = remembered.counts
        files = len(self._listing.files) if self._listing is not None else len(remembered.files)
        return IndexStatus(
            root=root,
            state=self._state(running is not None, missing),
            files=files,
            files_indexed=found.files,
            chunks=found.chunks,
            vectors=found.chunks - missing,
            symbols=found.symbols,
            languages=found.languages,
            not_indexed=tuple(left_out[:_SHOWN]),
            omitted=max(0, len(left_out) - _SHOWN),
            embedding=_embedding_words(self.meaning),
            commit=commit,
            updated=updated,
            stale_files=self._stale,
            problem=self._problem or self._vector_problem,
        )

    async def _without_vector(self, *, look: bool) -> int:
        """Return how many chunks have no vector; where only a search asks, the seldomer the longer it takes."""
        began = time.monotonic()
        if look or began >= self._count_again_at:
            self._missing = await self.database.read(without_vector)
            counted_at = time.monotonic()
            self._count_again_at = counted_at + _COUNT_PAUSES * (counted_at - began)
        return self._missing

    async def _count_stale(self, work: Work) -> int:
        """Return how many files differ. A stamp that proves nothing is no difference: those files are read."""
        known = await self._known()
        unsure = [
            one.path for one in work.files if (old := known.get(one.path)) and old.seen.stamp == one.seen.stamp
        ]
        unsure = [path for path in unsure if known[path].made_by == MADE_BY][:_MANY]
        digests = {path: known[path].digest for path in unsure}
        changed = await anyio.to_thread.run_sync(with_other_content, self.folder.root, digests, unsure)
        return work.count - len(unsure) + len(changed)

    def _state(self, running: bool, missing: int) -> State:
        if is_claimed(self.folder.lock) and running:
            return "indexing"
        if self._problem is not None:
            return "failed"
        if running:
            return "interrupted"
        if missing and self._embedder is not None:
            under_way = self._embedding is not None or is_claimed(self.folder.vectors_lock)
            return "embedding" if under_way else "interrupted"
        return "ready"


def _absent(root: str, meaning: Meaning) -> IndexStatus:
    return IndexStatus(root, "absent", 0, 0, 0, 0, 0, {}, (), 0, _embedding_words(meaning), None, None)


def _embedding_words(meaning: Meaning) -> str:
    parts = meaning.parts
    return parts[0].model if parts is not None else meaning.reason
