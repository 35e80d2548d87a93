"""Vectors in a SQLite file, searched exactly.

All vectors of a collection lie in memory while it is searched: 1.5 KB each at 384 dimensions. Exact, without a
process of its own, and several processes may share the file. For some hundred thousand vectors; above that a graph
(Chroma, pgvector) is faster.
"""

import array
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from quantum_suite.core.errors import EngineMissing
from quantum_suite.services.databases.sqlite import SqliteDatabase
from quantum_suite.services.knowledge.interface import VectorRecord
from quantum_suite.services.knowledge.vectors.records import check_lengths, latest

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

_SCHEMA = (
    """
    CREATE TABLE collections (
        number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, length INTEGER NOT NULL, version INTEGER NOT NULL);
    CREATE TABLE vectors (
        collection INTEGER NOT NULL REFERENCES collections (number) ON DELETE CASCADE,
        id TEXT NOT NULL, grp TEXT NOT NULL, vector BLOB NOT NULL, PRIMARY KEY (collection, id)) WITHOUT ROWID
    """,
)
_KEPT_COLLECTIONS = 2


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A collection in memory, as of one version of it."""

    key: tuple[int, int]
    """The collection's number and version."""
    ids: list[str]
    matrix: "NDArray[float32]"
    """A row a vector, each of length 1."""


class SqliteVectorStore:
    """Keeps vectors in `path`; safe for several processes. Close it after use."""

    def __init__(self, path: Path) -> None:
        self._database = SqliteDatabase(path, _SCHEMA)
        self._loaded: dict[str, _Loaded] = {}

    async def put(self, collection: str, records: Sequence[VectorRecord]) -> None:
        """Insert or replace by id; durable on return. Raises CallerError for a vector of another length than the
        collection's."""
        if not records:
            return

        def write(connection: Connection) -> None:
            row = connection.execute(
                "SELECT number, length FROM collections WHERE name=?", (collection,)
            ).fetchone()
            check_lengths(collection, records, row[1] if row else None)
            if row is None:
                length = len(records[0].vector)
                added = connection.execute(
                    "INSERT INTO collections (name, length, version) VALUES (?,?,0) RETURNING number, length",
                    (collection, length),
                )
                row = added.fetchone()
            connection.executemany(
                "INSERT OR REPLACE INTO vectors VALUES (?,?,?,?)",
                [(row[0], one.id, one.group, array.array("f", one.vector).tobytes()) for one in latest(records)],
            )
            _changed(connection, collection)

        await self._database.write(write)

    async def delete(self, collection: str, ids: Sequence[str]) -> None:
        """Forget these; unknown ids are ignored."""

        def write(connection: Connection) -> None:
            connection.executemany(
                "DELETE FROM vectors WHERE collection=(SELECT number FROM collections WHERE name=?) AND id=?",
                [(collection, one) for one in ids],
            )
            _changed(connection, collection)

        await self._database.write(write)

    async def ids(self, collection: str) -> set[str]:
        """Return every id, empty for a collection that does not exist."""

        def read(connection: Connection) -> set[str]:
            rows = connection.execute(
                "SELECT id FROM vectors JOIN collections ON number=collection WHERE name=?", (collection,)
            )
            return {str(one) for (one,) in rows}

        return await self._database.read(read)

    async def nearest(self, collection: str, vector: Sequence[float], limit: int) -> list[tuple[str, float]]:
        """Return (id, cosine similarity), best first. Raises EngineMissing without numpy."""
        if importlib.util.find_spec("numpy") is None:
            raise EngineMissing(
                "numpy is not installed.", 'Run `pip install "quantum-suite[knowledge]"`.', engine="sqlite vectors"
            )
        loaded = await self._database.read(lambda connection: self._current(connection, collection))
        if loaded is None or limit < 1:
            return []
        return await anyio.to_thread.run_sync(_best, loaded, vector, limit)

    async def drop(self, collection: str) -> None:
        """Forget a collection."""
        await self._database.write(
            lambda connection: connection.execute("DELETE FROM collections WHERE name=?", (collection,))
        )
        self._loaded.pop(collection, None)

    async def aclose(self) -> None:
        """Close the file. Idempotent."""
        await anyio.to_thread.run_sync(self._database.close)

    async def __aenter__(self) -> "SqliteVectorStore":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _current(self, connection: Connection, collection: str) -> _Loaded | None:
        """Return a collection's vectors; read only where they changed. Called by one thread at a time."""
        row = connection.execute(
            "SELECT number, version, length FROM collections WHERE name=?", (collection,)
        ).fetchone()
        if row is None:
            return None
        loaded = self._loaded.pop(collection, None)
        if loaded is None or loaded.key != (row[0], row[1]):
            loaded = _load(connection, *row)
        self._loaded[collection] = loaded
        while len(self._loaded) > _KEPT_COLLECTIONS:
            del self._loaded[next(iter(self._loaded))]
        return loaded


def _changed(connection: Connection, collection: str) -> None:
    connection.execute("UPDATE collections SET version=version+1 WHERE name=?", (collection,))


def _load(connection: Connection, number: int, version: int, length: int) -> _Loaded:
    # Heavy: only where vectors are searched.
    import numpy

    ids: list[str] = []
    vectors = bytearray()
    for one, vector in connection.execute("SELECT id, vector FROM vectors WHERE collection=?", (number,)):
        ids.append(one)
        vectors += vector
    matrix = numpy.frombuffer(vectors, numpy.float32).reshape(-1, length)
    matrix = matrix / numpy.linalg.norm(matrix, axis=1, keepdims=True)
    return _Loaded((number, version), ids, matrix)


def _best(loaded: _Loaded, vector: Sequence[float], limit: int) -> list[tuple[str, float]]:
    import numpy

    asked: Any = numpy.asarray(vector, numpy.float32)
    similar = loaded.matrix @ (asked / numpy.linalg.norm(asked))
    count = min(limit, len(loaded.ids))
    rows = numpy.argpartition(-similar, count - 1)[:count] if count < len(loaded.ids) else numpy.arange(count)
    found = [(loaded.ids[row], float(similar[row])) for row in rows]
    return sorted(found, key=lambda item: (-item[1], item[0]))
