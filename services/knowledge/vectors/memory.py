"""The in-memory twin: exact, and gone with the process."""

import math
from collections.abc import Sequence

from quantum_suite.services.knowledge.interface import VectorRecord
from quantum_suite.services.knowledge.vectors.records import check_lengths


class MemoryVectorStore:
    """Keeps vectors in dictionaries."""

    def __init__(self) -> None:
        self._collections: dict[str, dict[str, tuple[float, ...]]] = {}

    async def put(self, collection: str, records: Sequence[VectorRecord]) -> None:
        """Insert or replace by id. Raises CallerError for a vector of another length than the collection's."""
        kept = self._collections.get(collection, {})
        known = len(next(iter(kept.values()))) if kept else None
        check_lengths(collection, records, known)
        if records:
            self._collections.setdefault(collection, {}).update((r.id, tuple(r.vector)) for r in records)

    async def delete(self, collection: str, ids: Sequence[str]) -> None:
        """Forget these; unknown ids are ignored."""
        for one in ids:
            self._collections.get(collection, {}).pop(one, None)

    async def ids(self, collection: str) -> set[str]:
        """Return every id, empty for a collection that does not exist."""
        return set(self._collections.get(collection, {}))

    async def nearest(self, collection: str, vector: Sequence[float], limit: int) -> list[tuple[str, float]]:
        """Return (id, cosine similarity), best first."""
        kept = self._collections.get(collection, {})
        scored = [(one, _cosine(vector, other)) for one, other in kept.items()]
        return sorted(scored, key=lambda item: (-item[1], item[0]))[:limit]

    async def drop(self, collection: str) -> None:
        """Forget a collection."""
        self._collections.pop(collection, None)


def _cosine(first: Sequence[float], second: Sequence[float]) -> float:
    product = sum(a * b for a, b in zip(first, second, strict=True))
    return product / (math.hypot(*first) * math.hypot(*second) or 1.0)
