"""Remembers the vectors of the latest queries: an assistant asks the same in other words, and the same again."""

from collections import OrderedDict
from collections.abc import Sequence

from quantum_suite.services.knowledge.interface import Embedder


class QueryCache:
    """An embedder that keeps the vectors of the last `size` queries of the one behind it."""

    def __init__(self, embedder: Embedder, size: int = 512) -> None:
        self._embedder = embedder
        self._size = size
        self._kept: OrderedDict[str, list[float]] = OrderedDict()

    @property
    def model(self) -> str:
        """That of the embedder behind it."""
        return self._embedder.model

    @property
    def dimensions(self) -> int:
        """Those of the embedder behind it."""
        return self._embedder.dimensions

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        """Return a vector a text, in order; documents are handed through. Raises what the one behind it raises."""
        if not query:
            return await self._embedder.embed(texts)
        unknown = [text for text in dict.fromkeys(texts) if text not in self._kept]
        found = dict(zip(unknown, await self._embedder.embed(unknown, query=True), strict=True)) if unknown else {}
        vectors = [found[text] if text in found else self._kept[text] for text in texts]
        for text, vector in zip(texts, vectors, strict=True):
            self._kept[text] = vector
            self._kept.move_to_end(text)
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)
        return vectors

    async def rest(self) -> None:
        """As the embedder behind it."""
        await self._embedder.rest()
