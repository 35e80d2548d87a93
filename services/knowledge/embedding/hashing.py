"""The in-memory twin: a vector of the words a text holds. It knows which words are the same, and no meanings."""

import hashlib
import math
import re
from collections.abc import Sequence

_WORD = re.compile(r"[a-z]+|\d+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class HashingEmbedder:
    """Counts words, each at a place its hash gives; the same text gives the same vector on every machine."""

    def __init__(self, dimensions: int = 256) -> None:
        self._dimensions = dimensions

    @property
    def model(self) -> str:
        """Its name, with its size."""
        return f"hashing-{self._dimensions}"

    @property
    def dimensions(self) -> int:
        """The vectors' length."""
        return self._dimensions

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        """Return a vector a text, in order, normalised."""
        return [self._vector(text) for text in texts]

    async def rest(self) -> None:
        """Do nothing: nothing is held here."""

    def _vector(self, text: str) -> list[float]:
        vector = [0.0] * self._dimensions
        for word in _WORD.findall(_CAMEL.sub(" ", text).lower()):
            digest = hashlib.blake2b(word.encode(), digest_size=8).digest()
            vector[int.from_bytes(digest[:7], "big") % self._dimensions] += 1.0 if digest[7] & 1 else -1.0
        length = math.sqrt(sum(value * value for value in vector))
        if not length:
            # A text without words is like no other, but has a vector all the same.
            vector[0] = length = 1.0
        return [value / length for value in vector]
