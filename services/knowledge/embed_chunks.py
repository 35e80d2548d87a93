"""Gives the chunks of an index their vectors, in the background, and takes those of deleted chunks away."""

import hashlib
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

import anyio

from quantum_suite.core.errors import SuiteError
from quantum_suite.services.knowledge.embedding_text import embedding_text
from quantum_suite.services.knowledge.index.claim import claim
from quantum_suite.services.knowledge.index.database import IndexDatabase
from quantum_suite.services.knowledge.index.parsers import IndexFolder
from quantum_suite.services.knowledge.index.run import first_of
from quantum_suite.services.knowledge.interface import Embedder, VectorRecord, VectorStore

BATCH = 64
_DELETE_BATCH = 1_000
_COLLECTION_NAME = re.compile(r"[^A-Za-z0-9]+")


@dataclass(frozen=True, slots=True)
class Meaning:
    """What search by meaning needs; where something is missing, `reason` says what, and the command to get it."""

    embedder: Embedder | None = None
    store: VectorStore | None = None
    reason: str = ""

    @property
    def parts(self) -> tuple[Embedder, VectorStore] | None:
        """Return both parts, or None where one is missing."""
        if self.embedder is None or self.store is None:
            return None
        return self.embedder, self.store


@dataclass(frozen=True, slots=True)
class _Pending:
    number: int
    key: str
    path: str
    is_document: bool
    text: str


_Made = tuple[list[_Pending], list[list[float]]]


def collection_name(folder: IndexFolder, model: str, *, documents: bool) -> str:
    """Return the collection of an index's vectors of one model; code and documents are kept apart."""
    named = _COLLECTION_NAME.sub("-", model).strip("-")[:24]
    digest = hashlib.blake2b(model.encode(), digest_size=4).hexdigest()
    return f"q-{folder.directory.name}-{'docs' if documents else 'code'}-{named or 'model'}-{digest}"[:63]


class ChunkEmbedder:
    """Embeds what has no vector yet. What was embedded stays, however this ends."""

    def __init__(
        self, folder: IndexFolder, database: IndexDatabase, embedder: Embedder, store: VectorStore
    ) -> None:
        self._folder = folder
        self._database = database
        self._embedder = embedder
        self._store = store
        self._reconciled = False

    async def run(self) -> None:
        """Embed until nothing is left. Raises Conflict while another process does so, and what engines raise."""
        with claim(self._folder.vectors_lock, "making the vectors of this workspace"):
            if not self._reconciled:
                await self._reconcile()
                self._reconciled = True
            while await self._embed_pending():
                pass
            await self._delete_orphans()

    def _collection(self, *, documents: bool) -> str:
        return collection_name(self._folder, self._embedder.model, documents=documents)

    async def _reconcile(self) -> None:
        """Believe the store, not the index, about which chunks have vectors: either may have lost some."""
        model = self._embedder.model
        await self._database.write(
            lambda db: db.execute("UPDATE chunks SET model = NULL WHERE model != ?", (model,))
        )
        for documents in (False, True):
            collection = self._collection(documents=documents)
            there = await self._store.ids(collection)
            stray = await self._database.write(lambda db, d=documents, t=there: _compare(db, model, d, t))  # type: ignore[misc]  # bound now: the loop goes on
            for start in range(0, len(stray), _DELETE_BATCH):
                await self._store.delete(collection, stray[start : start + _DELETE_BATCH])

    async def _embed_pending(self) -> bool:
        """Embed what has no vector now, storing each batch while the next is embedded; returns whether any was."""
        last = 0
        made: _Made | None = None
        while True:
            failure: SuiteError | None = None
            kept = made
            try:
                async with anyio.create_task_group() as tasks:
                    if kept is not None:
                        tasks.start_soon(self._keep, *kept)
                    try:
                        made = await self._make(last)
                    except SuiteError as error:
                        # What was made before is still to be stored.
                        failure = error
            except* SuiteError as errors:
                raise first_of(errors) from None
            if failure is not None:
                raise failure
            if made is None:
                return last > 0
            last = made[0][-1].number

    async def _make(self, last: int) -> _Made | None:
        """Embed the first chunks without a vector after number `last`; None where there are none."""
        pending = await self._database.read(lambda db: _pending(db, last))
        return (pending, await self._embedder.embed([chunk.text for chunk in pending])) if pending else None

    async def _keep(self, pending: Sequence[_Pending], vectors: Sequence[Sequence[float]]) -> None:
        for documents in (False, True):
            records = [
                VectorRecord(chunk.key, vector, chunk.path)
                for chunk, vector in zip(pending, vectors, strict=True)
                if chunk.is_document == documents
            ]
            if records:
                await self._store.put(self._collection(documents=documents), records)
        await self._database.write(lambda db: _mark(db, pending, self._embedder.model))

    async def _delete_orphans(self) -> None:
        while orphans := await self._database.read(_orphans):
            for documents in (False, True):
                keys = [key for key, is_document in orphans if is_document == documents]
                if keys:
                    await self._store.delete(self._collection(documents=documents), keys)
            await self._database.write(
                lambda db, done=orphans: db.executemany(  # type: ignore[misc]  # bound now: the loop goes on
                    "DELETE FROM orphans WHERE key = ?", [(key,) for key, _ in done]
                )
            )


def _pending(db: sqlite3.Connection, last: int) -> list[_Pending]:
    rows = db.execute(
        "SELECT c.id, c.key, f.path, c.is_document, c.qualified_name, c.docstring, c.text"
        " FROM chunks c JOIN files f ON f.id = c.file WHERE c.model IS NULL AND c.id > ? ORDER BY c.id LIMIT ?",
        (last, BATCH),
    )
    return [
        _Pending(
            number,
            key,
            path,
            bool(is_document),
            embedding_text(path, name, docs, text, is_document=bool(is_document)),
        )
        for number, key, path, is_document, name, docs, text in rows
    ]


def _mark(db: sqlite3.Connection, pending: Sequence[_Pending], model: str) -> None:
    """Note which chunks have a vector now. One that was deleted meanwhile is an orphan in the store."""
    for chunk in pending:
        done = db.execute("UPDATE chunks SET model = ? WHERE key = ?", (model, chunk.key))
        if done.rowcount == 0:
            db.execute("INSERT OR REPLACE INTO orphans VALUES (?, ?)", (chunk.key, int(chunk.is_document)))


def _orphans(db: sqlite3.Connection) -> list[tuple[str, bool]]:
    rows = db.execute(
        "SELECT key, is_document FROM orphans WHERE key NOT IN (SELECT key FROM chunks) LIMIT ?", (_DELETE_BATCH,)
    )
    return [(key, bool(is_document)) for key, is_document in rows]


def _compare(db: sqlite3.Connection, model: str, documents: bool, there: set[str]) -> list[str]:
    rows = db.execute("SELECT key, model FROM chunks WHERE is_document = ?", (int(documents),)).fetchall()
    lost = [(key,) for key, known in rows if known is not None and key not in there]
    found = [(model, key) for key, known in rows if known is None and key in there]
    db.executemany("UPDATE chunks SET model = NULL WHERE key = ?", lost)
    db.executemany("UPDATE chunks SET model = ? WHERE key = ?", found)
    return sorted(there - {key for key, _ in rows})


def problem_of(error: SuiteError) -> str:
    """Return why vectors do not go on, in a line."""
    return f"Vectors do not go on: {error}"[:500]
