"""Chroma, embedded or as a server, spoken to from one process of the suite's own.

Embedded, Chroma's files belong to whoever opened them: several processes that write them destroy them without an
error. So one child process owns the folder, under a lock of the system (flock(2)) that ends with it, however it
ends. Whoever comes second is told who has it, and touches nothing.
"""

import base64
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from quantum_suite.core.errors import EngineMissing
from quantum_suite.services.knowledge.interface import VectorRecord
from quantum_suite.services.knowledge.vectors.records import check_lengths, latest
from quantum_suite.services.knowledge.worker_process import WorkerProcess

ENGINE = "chroma"
_MODULE = "quantum_suite.services.knowledge.vectors.chroma_worker"
_PUT_BATCH = 1_000
_IDS_BATCH = 50_000


class ChromaVectorStore:
    """Chroma behind a process, which is started on first use. Made by `embedded` or `server`."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._worker = WorkerProcess(_MODULE, arguments, engine=ENGINE)
        self._lengths: dict[str, int] = {}

    @classmethod
    def embedded(cls, directory: Path) -> Self:
        """Return a store in `directory`. Every call raises Unavailable while another process owns the folder."""
        return cls(["folder", str(directory)])

    @classmethod
    def server(cls, url: str) -> Self:
        """Return a store on the server at `url`, such as `http://host:8000`. Calls raise Unavailable while it is
        away."""
        return cls(["server", url])

    @property
    def owner(self) -> int | None:
        """The process that has the folder; None where none was started."""
        return self._worker.pid

    async def put(self, collection: str, records: Sequence[VectorRecord]) -> None:
        """Insert or replace by id; durable on return. Raises CallerError for a vector of another length than the
        collection's."""
        check_lengths(collection, records, self._lengths.get(collection))
        distinct = latest(records)
        for start in range(0, len(distinct), _PUT_BATCH):
            part = distinct[start : start + _PUT_BATCH]
            length = len(part[0].vector)
            await self._ask(
                "put",
                collection,
                ids=[record.id for record in part],
                groups=[record.group for record in part],
                vectors=packed([number for record in part for number in record.vector]),
                length=length,
            )
            self._lengths[collection] = length

    async def delete(self, collection: str, ids: Sequence[str]) -> None:
        """Forget these; unknown ids are ignored."""
        for start in range(0, len(ids), _PUT_BATCH):
            await self._ask("delete", collection, ids=list(ids[start : start + _PUT_BATCH]))

    async def ids(self, collection: str) -> set[str]:
        """Return every id, empty for a collection that does not exist."""
        found: set[str] = set()
        while True:
            answer = await self._ask("ids", collection, offset=len(found), limit=_IDS_BATCH)
            found.update(answer["ids"])
            if len(answer["ids"]) < _IDS_BATCH:
                return found

    async def nearest(self, collection: str, vector: Sequence[float], limit: int) -> list[tuple[str, float]]:
        """Return (id, cosine similarity), best first; from a graph, so rarely one of the best is missing."""
        answer = await self._ask("nearest", collection, vector=packed(vector), limit=limit)
        return [(str(one), 1.0 - float(distance)) for one, distance in answer["found"]]

    async def drop(self, collection: str) -> None:
        """Forget a collection."""
        await self._ask("drop", collection)
        self._lengths.pop(collection, None)

    async def aclose(self) -> None:
        """End the process, and with it the lock. Idempotent."""
        await self._worker.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _ask(self, verb: str, collection: str, **more: Any) -> Mapping[str, Any]:
        return await self._worker.ask({"do": verb, "collection": collection, **more})


def packed(numbers: Sequence[float]) -> str:
    """Return numbers as the process takes them: 32 bits each, little end first, in base64."""
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode("ascii")


def missing() -> EngineMissing:
    """Return what is said where Chroma is not installed."""
    return EngineMissing(
        "Chroma is not installed.", 'Run `pip install "quantum-suite[knowledge]"`.', engine=ENGINE
    )
